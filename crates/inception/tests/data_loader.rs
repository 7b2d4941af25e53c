//! Batches: what is in them, in which order, and what a bad picture does to them.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use inception::data::{
    Batch, Cache, Colour, Dataset, Eval, Interpolation, Loader, OnBad, Picture, Preprocessing, RandAugment,
    Request, Resize, Rgb, Sample, Source, Train, Transform, shuffled,
};

const EVAL: Eval = Eval { crop_pct: 1.0, interpolation: Interpolation::Bilinear, resize: Resize::Shorter };
const TRAIN: Train = Train {
    scale: [0.3, 1.0],
    ratio: [0.75, 1.33],
    flip: 0.5,
    rand_augment: RandAugment { ops: 1, magnitude: 9.0 },
    brightness: 0.2,
    contrast: 0.2,
    saturation: 0.2,
    hue: 0.05,
    colour: Colour::Jitter,
    erase: 0.0,
};

fn picture(path: &Path, seed: u32) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("created");
    let pixel = |x, y| image::Rgb([x * seed, y * (seed + 3), x + y].map(|v: u32| (v % 256) as u8));
    image::RgbImage::from_fn(20, 14, pixel).save(path).expect("saved");
}

fn dataset(dir: &Path, count: u32) -> Arc<Dataset> {
    let samples = (0..count).map(|i| {
        let path = dir.join(format!("{i}.png"));
        picture(&path, i + 1);
        Sample { picture: Picture::File(path), label: i % 3 }
    });
    let samples = samples.collect();
    Arc::new(Dataset { root: dir.into(), classes: vec![], samples, ignored: vec![], groups: vec![] })
}

fn request(dataset: &Arc<Dataset>, workers: usize) -> Request {
    Request {
        dataset: dataset.clone(),
        order: shuffled(dataset.samples.len(), 1, 2),
        transform: Transform::Train(TRAIN, [1, 2]),
        preprocessing: EVAL.into(),
        side: 16,
        batch_size: 4,
        drop_last: false,
        keep_empty: false,
        on_bad: OnBad::Error,
        workers,
        cache: Cache::new(1 << 20),
    }
}

#[test]
fn batches_do_not_depend_on_the_number_of_workers() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let data = dataset(dir.path(), 30);
    let run =
        |workers| Loader::new(request(&data, workers)).map(|b| b.expect("readable")).collect::<Vec<Batch>>();
    let one = run(1);
    assert_eq!(one.iter().map(Batch::len).collect::<Vec<_>>(), [4, 4, 4, 4, 4, 4, 4, 2]);
    assert!([2, 5, 64].iter().all(|&workers| run(workers) == one));
    let mut seen: Vec<usize> = one.iter().flat_map(|b| b.indices.clone()).collect();
    assert!(one.iter().all(|b| b.indices.iter().zip(&b.labels).all(|(&i, &label)| i as u32 % 3 == label)));
    seen.sort();
    assert_eq!(seen, (0..30).collect::<Vec<_>>(), "each picture once");
    let dropped = Loader::new(Request { drop_last: true, ..request(&data, 2) });
    assert_eq!(dropped.count(), 7);
    assert_ne!(shuffled(30, 1, 2), shuffled(30, 1, 3));
    // A loader that is left early stops its workers and returns.
    let mut early = Loader::new(request(&data, 3));
    assert!(early.next().is_some());
}

#[test]
fn a_cached_picture_is_the_same() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let data = dataset(dir.path(), 6);
    let cache = Cache::new(1 << 20);
    let run =
        || Loader::new(Request { cache: cache.clone(), ..request(&data, 2) }).map(|b| b.expect("readable"));
    let first: Vec<Batch> = run().collect();
    (0..6).for_each(|i| fs::remove_file(dir.path().join(format!("{i}.png"))).expect("removed"));
    assert_eq!(run().collect::<Vec<_>>(), first);
}

/// Photos of which some are shrunk while they are decoded, some decoded in part: what a batch holds must not depend on what the cache
/// happened to keep, or a run that goes on would not be the one that was stopped.
#[test]
fn photos_are_the_same_with_any_cache() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let samples = (0..12).map(|i| {
        let (path, side) = (dir.path().join(format!("{i}.jpg")), 24 + 13 * i);
        let pixel = |x: u32, y: u32| image::Rgb([x * 2, y * 2, x + y].map(|v| (v % 256) as u8));
        image::RgbImage::from_fn(side + 9, side, pixel).save(&path).expect("saved");
        Sample { picture: Picture::File(path), label: 0 }
    });
    let (samples, root) = (samples.collect(), dir.path().into());
    let data = Arc::new(Dataset { root, classes: vec![], samples, ignored: vec![], groups: vec![] });
    let batches = |cache: &Cache, transform| {
        let request = Request { transform, cache: cache.clone(), ..request(&data, 2) };
        Loader::new(request).map(|batch| batch.expect("a batch")).collect::<Vec<_>>()
    };
    let train = Transform::Train(TRAIN, [1, 2]);
    let uncached = batches(&Cache::new(0), train);
    for budget in [20_000, 100_000, 1 << 30] {
        let cache = Cache::new(budget);
        for epoch in 0..3 {
            assert_eq!(batches(&cache, train), uncached, "{budget} bytes, epoch {epoch}");
            batches(&cache, Transform::Eval);
        }
    }
}

#[test]
fn a_bad_picture_stops_or_is_left_out_and_reported() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let data = dataset(dir.path(), 9);
    fs::write(dir.path().join("4.png"), "no picture").expect("written");
    let text = Loader::new(request(&data, 3)).find_map(Result::err).expect("stops").to_string();
    assert!(text.contains("4.png") && text.contains("text"), "{text}");

    let mut skipping = Loader::new(Request {
        on_bad: OnBad::Skip,
        order: (0..9).collect(),
        transform: Transform::Eval,
        ..request(&data, 3)
    });
    let batches: Vec<Batch> = skipping.by_ref().map(|b| b.expect("skips")).collect();
    let indices: Vec<usize> = batches.iter().flat_map(|b| b.indices.clone()).collect();
    assert_eq!(indices, [0, 1, 2, 3, 5, 6, 7, 8], "left out, not replaced");
    assert_eq!(skipping.skipped().len(), 1);
    assert!(skipping.skipped()[0].name.ends_with("4.png"));
}

/// A skipped picture once pulled the next one forward, so that an epoch with bad pictures had fewer steps than planned.
#[test]
fn a_skipped_picture_moves_no_other_to_another_batch() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let data = dataset(dir.path(), 14);
    for i in [1, 3, 4, 5, 6, 7] {
        fs::write(dir.path().join(format!("{i}.png")), "").expect("written");
    }
    for workers in [1, 2, 5] {
        let mut loader = Loader::new(Request {
            on_bad: OnBad::Skip,
            order: (0..14).collect(),
            transform: Transform::Eval,
            drop_last: true,
            keep_empty: false,
            ..request(&data, workers)
        });
        let batches: Vec<_> = loader.by_ref().map(|b| b.expect("skips").indices).collect();
        // Nothing is left of 4 to 7; 12 and 13 are no full batch.
        assert_eq!(batches, [vec![0, 2], vec![8, 9, 10, 11]]);
        let skipped: Vec<_> =
            loader.skipped().iter().map(|s| s.name.rsplit('/').next().expect("a name")).collect();
        assert_eq!(skipped, ["1.png", "3.png", "4.png", "5.png", "6.png", "7.png"]);
        assert!(loader.skipped()[0].reason.contains("an empty file"));
    }
}

/// A picture with fewer pixels than its size says once made a worker panic and the consumer wait for ever.
#[test]
fn a_picture_that_contradicts_itself_is_an_error_and_no_hang() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut data = Dataset::clone(&dataset(dir.path(), 40));
    let rgb = Arc::new(Rgb { width: 9, height: 9, pixels: vec![0; 5] });
    data.samples[20].picture = Picture::Memory { name: "the culprit".into(), rgb };
    let mut loader = Loader::new(request(&Arc::new(data), 3));
    let error = loader.find_map(Result::err).expect("stops").to_string();
    assert!(error.contains("the culprit"), "{error}");
    assert!(loader.next().is_none());
}

#[test]
fn the_cache_keeps_what_fits_and_no_more() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let data = dataset(dir.path(), 6);
    let cache = Cache::new(2 * 20 * 14 * 3 + 1);
    for _ in 0..2 {
        let loader = Loader::new(Request { cache: cache.clone(), ..request(&data, 3) });
        assert!(loader.map(|b| b.expect("readable").len()).sum::<usize>() == 6);
        assert_eq!(cache.bytes(), 2 * 20 * 14 * 3);
    }
}

#[test]
fn waiting_is_measured_and_nothing_to_load_is_no_batch() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let data = dataset(dir.path(), 5);
    let mut loader = Loader::new(request(&data, 1));
    assert_eq!(loader.waited(), Duration::ZERO);
    assert!(loader.by_ref().all(|b| b.is_ok()));
    assert!(loader.waited() > Duration::ZERO);
    assert_eq!(Loader::new(Request { order: vec![], ..request(&data, 2) }).count(), 0);
    // Less than a batch, and whatever is less than a batch is left out.
    assert_eq!(Loader::new(Request { drop_last: true, batch_size: 6, ..request(&data, 2) }).count(), 0);
}

#[test]
fn pixels_are_those_of_the_picture_and_its_key() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let data = dataset(dir.path(), 5);
    let how = Preprocessing::from(EVAL);
    let rgb = |i: usize| {
        inception::data::decode::decode(&data.samples[i].picture, how.decoding()).expect("readable")
    };
    for batch in Loader::new(Request { workers: 2, ..request(&data, 2) }).map(|b| b.expect("readable")) {
        for (&index, pixels) in batch.indices.iter().zip(batch.pixels.chunks_exact(16 * 16 * 3)) {
            let bytes =
                TRAIN.apply(&Source::Decoded(&rgb(index)), 16, &[1, 2, index as u64]).expect("a square");
            assert_eq!(pixels, how.range.of_bytes(&bytes));
        }
    }
    let eval = Request { transform: Transform::Eval, order: vec![3, 0], ..request(&data, 2) };
    let batch = Loader::new(eval).next().expect("one batch").expect("readable");
    let square = |i: usize| how.apply(&rgb(i), 16).expect("a square");
    assert_eq!(batch.pixels, [square(3), square(0)].concat());
}
