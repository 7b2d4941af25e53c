//! Types of values.

/// Type of a tensor's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the usual names")]
pub enum Dtype {
    F32,
    F64,
    F16,
    Bf16,
    I8,
    U8,
    I16,
    I32,
    I64,
    Bool,
}

impl Dtype {
    /// All types.
    pub const ALL: [Dtype; 10] = [
        Dtype::F32,
        Dtype::F64,
        Dtype::F16,
        Dtype::Bf16,
        Dtype::I8,
        Dtype::U8,
        Dtype::I16,
        Dtype::I32,
        Dtype::I64,
        Dtype::Bool,
    ];
    /// Those whose values are fractions.
    pub const FLOATS: [Dtype; 4] = [Dtype::F32, Dtype::F64, Dtype::F16, Dtype::Bf16];

    /// The type called `name`.
    pub fn find(name: &str) -> Option<Dtype> {
        Dtype::ALL.into_iter().find(|dtype| dtype.name() == name)
    }

    /// Bytes of one value.
    pub fn size(self) -> usize {
        match self {
            Dtype::I8 | Dtype::U8 | Dtype::Bool => 1,
            Dtype::F16 | Dtype::Bf16 | Dtype::I16 => 2,
            Dtype::F32 | Dtype::I32 => 4,
            Dtype::F64 | Dtype::I64 => 8,
        }
    }

    /// The name that safetensors has for it, also for messages.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "F32",
            Dtype::F64 => "F64",
            Dtype::F16 => "F16",
            Dtype::Bf16 => "BF16",
            Dtype::I8 => "I8",
            Dtype::U8 => "U8",
            Dtype::I16 => "I16",
            Dtype::I32 => "I32",
            Dtype::I64 => "I64",
            Dtype::Bool => "BOOL",
        }
    }

    /// `values` become the nearest `f32` to those in `bytes`, which are little endian.
    pub fn to_f32(self, bytes: &[u8], values: &mut Vec<f32>) {
        fn each<const N: usize>(bytes: &[u8], values: &mut Vec<f32>, value: impl Fn([u8; N]) -> f32) {
            values.clear();
            values.extend(bytes.as_chunks::<N>().0.iter().map(|&b| value(b)));
        }
        match self {
            Dtype::F32 => each(bytes, values, f32::from_le_bytes),
            Dtype::F64 => each(bytes, values, |b| f64::from_le_bytes(b) as f32),
            Dtype::F16 => each(bytes, values, |b| half(u16::from_le_bytes(b))),
            Dtype::Bf16 => each(bytes, values, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)),
            Dtype::I8 => each(bytes, values, |b| f32::from(i8::from_le_bytes(b))),
            Dtype::U8 => each(bytes, values, |b: [u8; 1]| f32::from(b[0])),
            Dtype::Bool => each(bytes, values, |b: [u8; 1]| f32::from(u8::from(b[0] != 0))),
            Dtype::I16 => each(bytes, values, |b| f32::from(i16::from_le_bytes(b))),
            Dtype::I32 => each(bytes, values, |b| i32::from_le_bytes(b) as f32),
            Dtype::I64 => each(bytes, values, |b| i64::from_le_bytes(b) as f32),
        }
    }

    /// `values` little endian, `None` where this is no type of fractions or does not hold one of them exactly.
    pub fn exactly(self, values: &[f32]) -> Option<Vec<u8>> {
        fn each<const N: usize>(values: &[f32], bytes: impl Fn(f32) -> Option<[u8; N]>) -> Option<Vec<u8>> {
            values.iter().map(|&v| bytes(v)).collect::<Option<Vec<_>>>().map(Vec::into_flattened)
        }
        match self {
            Dtype::F32 => each(values, |v| Some(v.to_le_bytes())),
            Dtype::F64 => each(values, |v| Some(f64::from(v).to_le_bytes())),
            Dtype::F16 => each(values, |v| Some(to_half(v)?.to_le_bytes())),
            Dtype::Bf16 => each(values, |v| {
                let bits = v.to_bits();
                (bits & 0xffff == 0).then_some(((bits >> 16) as u16).to_le_bytes())
            }),
            Dtype::I8 | Dtype::U8 | Dtype::I16 | Dtype::I32 | Dtype::I64 | Dtype::Bool => None,
        }
    }
}

/// The binary16 that is `value`, where one is.
fn to_half(value: f32) -> Option<u16> {
    let sign = ((value.to_bits() >> 16) & 0x8000) as u16;
    let (bits, exponent) = (value.abs().to_bits(), (value.abs().to_bits() >> 23) as i32 - 127);
    let found = match exponent {
        -14..=15 => ((exponent + 15) as u16) << 10 | (bits >> 13 & 0x3ff) as u16,
        // Multiples of 2^-24, zero among them.
        ..-14 => (value.abs() * 2f32.powi(24)) as u16,
        16.. => return None,
    };
    (half(sign | found).to_bits() == value.to_bits()).then_some(sign | found)
}

/// IEEE 754 binary16.
fn half(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (bits >> 15, bits >> 10 & 0x1f, f32::from(bits & 0x3ff));
    let size = match exponent {
        0 => fraction * 2f32.powi(-24),
        0x1f if fraction == 0.0 => f32::INFINITY,
        0x1f => f32::NAN,
        _ => (1024.0 + fraction) * 2f32.powi(i32::from(exponent) - 25),
    };
    if sign == 1 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_the_numbers_they_stand_for() {
        for (bits, value) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 2f32.powi(-24)),
            (0x03ff, 1023.0 * 2f32.powi(-24)),
            (0x0400, 2f32.powi(-14)),
            (0x3555, 0.333_251_95),
            (0xfc00, f32::NEG_INFINITY),
        ] {
            assert_eq!(half(bits), value, "{bits:#06x}");
        }
        assert!(half(0x7e00).is_nan());
        for bits in (0..=u16::MAX).filter(|&bits| half(bits).is_finite()) {
            assert_eq!(to_half(half(bits)), Some(bits), "{bits:#06x}");
        }
        for value in [65536.0, 2f32.powi(-25), 1.0 + 2f32.powi(-11), 1.5 * 2f32.powi(-24), f32::NAN] {
            assert_eq!(Dtype::F16.exactly(&[1.0, value]), None, "{value}");
        }
        assert_eq!(Dtype::Bf16.exactly(&[1.0, -2.0]).unwrap(), [0x80, 0x3f, 0x00, 0xc0]);
        assert_eq!(Dtype::Bf16.exactly(&[0.1]), None);
        let mut values = vec![7.0; 3];
        Dtype::F64.to_f32(&Dtype::F64.exactly(&[0.1]).unwrap(), &mut values);
        assert_eq!(values, [0.1]);
        Dtype::Bf16.to_f32(&[0x80, 0x3f, 0x00, 0xc0], &mut values);
        assert_eq!(values, [1.0, -2.0]);
    }
}
