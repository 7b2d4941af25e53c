//! Activations seen pixel by pixel.

use std::marker::PhantomData;
use std::ops::Range;

/// Pixels of `channels` values each, `stride` values apart.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    data: &'a [f32],
    channels: usize,
    stride: usize,
}

/// A [`View`] that may be written.
#[derive(Debug)]
pub struct ViewMut<'a> {
    data: &'a mut [f32],
    channels: usize,
    stride: usize,
}

fn check(len: usize, channels: usize, stride: usize) {
    assert!(channels > 0 && channels <= stride, "{channels} channels at a stride of {stride}");
    assert!(
        len.is_multiple_of(stride) || len % stride >= channels,
        "{len} values end inside a pixel of stride {stride}"
    );
}

fn pixels(len: usize, channels: usize, stride: usize) -> usize {
    if len < channels { 0 } else { (len - channels) / stride + 1 }
}

impl<'a> View<'a> {
    /// `data` from the first value of the first pixel on.
    pub fn new(data: &'a [f32], channels: usize, stride: usize) -> Self {
        check(data.len(), channels, stride);
        View { data, channels, stride }
    }
    /// Pixels without gaps.
    pub fn dense(data: &'a [f32], channels: usize) -> Self {
        View::new(data, channels, channels)
    }
    /// Channels of a pixel.
    pub fn channels(&self) -> usize {
        self.channels
    }
    /// Values between the starts of neighbouring pixels.
    pub fn stride(&self) -> usize {
        self.stride
    }
    /// Values of all pixels, one behind the other.
    pub fn to_vec(&self) -> Vec<f32> {
        (0..self.pixels()).flat_map(|p| self.pixel(p)).copied().collect()
    }

    /// Number of pixels.
    pub fn pixels(&self) -> usize {
        pixels(self.data.len(), self.channels, self.stride)
    }
    /// Values of pixel `p`.
    #[inline(always)]
    pub fn pixel(&self, p: usize) -> &'a [f32] {
        &self.data[p * self.stride..p * self.stride + self.channels]
    }
    pub(crate) fn as_ptr(&self) -> *const f32 {
        self.data.as_ptr()
    }
}

impl<'a> ViewMut<'a> {
    /// `data` from the first value of the first pixel on.
    pub fn new(data: &'a mut [f32], channels: usize, stride: usize) -> Self {
        check(data.len(), channels, stride);
        ViewMut { data, channels, stride }
    }
    /// Pixels without gaps.
    pub fn dense(data: &'a mut [f32], channels: usize) -> Self {
        ViewMut::new(data, channels, channels)
    }
    /// Channels of a pixel.
    pub fn channels(&self) -> usize {
        self.channels
    }
    /// Number of pixels.
    pub fn pixels(&self) -> usize {
        pixels(self.data.len(), self.channels, self.stride)
    }
    /// The same pixels, to be read.
    pub fn view(&self) -> View<'_> {
        View { data: self.data, channels: self.channels, stride: self.stride }
    }
    /// The same pixels, for a shorter time.
    pub fn reborrow(&mut self) -> ViewMut<'_> {
        ViewMut { data: self.data, channels: self.channels, stride: self.stride }
    }
    /// Hands the pixels out to several threads.
    pub(crate) fn share(self) -> Pixels<'a> {
        let pixels = self.pixels();
        let ptr = self.data.as_mut_ptr();
        Pixels { ptr, pixels, channels: self.channels, stride: self.stride, life: PhantomData }
    }
}

/// Pixels that several threads write, each its own.
#[derive(Clone, Copy)]
pub(crate) struct Pixels<'a> {
    ptr: *mut f32,
    pixels: usize,
    channels: usize,
    pub(crate) stride: usize,
    life: PhantomData<&'a mut [f32]>,
}

// SAFETY: the pointer comes from an exclusive borrow that lives for `'a`; `pixel` demands disjoint use.
unsafe impl Send for Pixels<'_> {}
// SAFETY: as above.
unsafe impl Sync for Pixels<'_> {}

impl Pixels<'_> {
    /// Values of pixel `p`.
    ///
    /// # Safety
    /// While the slice lives nobody else may use pixel `p`.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn pixel(&self, p: usize) -> &mut [f32] {
        assert!(p < self.pixels);
        // SAFETY: pixel `p` lies inside the borrowed slice (`pixels` was computed from its length).
        unsafe { std::slice::from_raw_parts_mut(self.ptr.add(p * self.stride), self.channels) }
    }
    /// Number of pixels.
    pub(crate) fn pixels(&self) -> usize {
        self.pixels
    }
    /// Channels of a pixel.
    pub(crate) fn channels(&self) -> usize {
        self.channels
    }
    /// First value of the first pixel.
    pub(crate) fn ptr(&self) -> *mut f32 {
        self.ptr
    }
}

/// A slice of which several threads write disjoint parts.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a, T> {
    ptr: *mut T,
    len: usize,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: the pointer comes from an exclusive borrow that lives for `'a`; `part` demands disjoint use.
unsafe impl<T: Send> Send for Parts<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Parts { ptr: slice.as_mut_ptr(), len: slice.len(), life: PhantomData }
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// The values of `range`.
    ///
    /// # Safety
    /// While the slice lives nobody else may use a value of `range`.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        // SAFETY: the range lies inside the borrowed slice.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(range.clone()), range.len()) }
    }
    /// Where `range` begins.
    #[inline(always)]
    pub(crate) fn pointer(&self, range: Range<usize>) -> *mut T {
        assert!(range.start <= range.end && range.end <= self.len);
        self.ptr.wrapping_add(range.start)
    }
}

/// Part `i` of `total` items that are dealt out in `parts` as equal as they can be.
#[inline(always)]
pub(crate) fn part(i: usize, parts: usize, total: usize) -> Range<usize> {
    total * i / parts..total * (i + 1) / parts
}

/// Range of task `i` when `total` items are dealt out in pieces of `piece`.
#[inline(always)]
pub(crate) fn piece(i: usize, piece: usize, total: usize) -> Range<usize> {
    i * piece..((i + 1) * piece).min(total)
}
