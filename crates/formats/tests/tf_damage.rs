//! No change to a file makes a reader panic, or hold more than the file can justify.

mod tables;

use std::fs;
use std::path::Path;

use inception_formats::{Error, Problem, TensorFile, open_tensorflow_in_memory};
use tables::{block, bytes, number, shape, table, varint};

/// What a tensor may take at most, by what the files hold.
fn bound(held: usize) -> usize {
    (8 * held).max(1 << 24)
}

/// Reads all that a file has. Of large tensors one is enough: they are of one value.
fn read(file: Vec<u8>, shards: &[Vec<u8>]) -> Result<TensorFile, Error> {
    let bound = bound(file.len() + shards.iter().map(Vec::len).sum::<usize>());
    let mut file = open_tensorflow_in_memory(file, shards.to_vec())?;
    let mut large = 0;
    for (i, tensor) in file.tensors().to_vec().iter().enumerate() {
        let size = tensor.bytes().unwrap();
        assert!(size <= bound, "{tensor:?}");
        large += usize::from(size > 1 << 20);
        if size <= 1 << 20 || large == 1 {
            assert_eq!(file.bytes(i)?.len(), size);
        }
    }
    Ok(file)
}

/// Each fixture with its files of values.
fn fixtures() -> Vec<(String, Vec<u8>, Vec<Vec<u8>>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tf");
    let file = |name: &str| fs::read(root.join(name)).unwrap();
    let cases: [(&str, &[&str]); 5] = [
        ("v1/model.ckpt", &[]),
        ("v2/model.ckpt.index", &["v2/model.ckpt.data-00000-of-00001"]),
        (
            "v2_shards/model.ckpt.index",
            &["v2_shards/model.ckpt.data-00000-of-00002", "v2_shards/model.ckpt.data-00001-of-00002"],
        ),
        ("v2_object/model.index", &["v2_object/model.data-00000-of-00001"]),
        ("graph/frozen.pb", &[]),
    ];
    cases
        .map(|(name, shards)| (name.into(), file(name), shards.iter().map(|name| file(name)).collect()))
        .into()
}

/// Whether the last of its values are the ones that nobody reads.
fn ends_in_texts(name: &str) -> bool {
    name.starts_with("v2_object/")
}

/// Numbers that are the same in every run (Knuth's MMIX).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(4) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                2 => bytes.insert(at, self.below(256) as u8),
                _ if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => {}
            }
        }
    }
}

#[test]
fn every_beginning_of_every_file() {
    for (name, file, shards) in fixtures() {
        assert!(read(file.clone(), &shards).is_ok(), "{name}");
        for length in 0..file.len() {
            let read = read(file[..length].to_vec(), &shards);
            assert!(name.ends_with(".pb") || read.is_err(), "{name} cut to {length}");
        }
        for (i, shard) in shards.iter().enumerate() {
            for length in 0..shard.len() {
                let mut shards = shards.clone();
                shards[i].truncate(length);
                let read = read(file.clone(), &shards);
                assert!(ends_in_texts(&name) || read.is_err(), "{name}, data {i} cut to {length}");
            }
        }
    }
}

#[test]
fn thousands_of_changes() {
    let mut random = Random(1);
    for (name, file, shards) in fixtures() {
        for _ in 0..3000 {
            let mut file = file.clone();
            random.change(&mut file);
            drop(read(file, &shards));
        }
        for i in 0..if shards.is_empty() { 0 } else { 500 } {
            let mut changed = shards.clone();
            let n = changed.len();
            random.change(&mut changed[i % n]);
            if changed != shards && changed.iter().zip(&shards).all(|(a, b)| a.len() <= b.len()) {
                let read = read(file.clone(), &changed);
                assert!(ends_in_texts(&name) || read.is_err(), "{name}");
            }
        }
    }
}

/// The first kind of checkpoint with one tensor; whatever is in it, its checksums are right.
fn v1(meta: &[u8], data: &[u8]) -> Vec<u8> {
    let entries = [(&b""[..], bytes(1, meta)), (&b"\0a\0\x01\x01\x01\x80\x7f"[..], bytes(2, data))];
    table(&[(b"\0b", 0, block(&entries))])
}

fn v1_meta(extent: u64) -> Vec<u8> {
    let tensor =
        [bytes(1, b"a"), bytes(2, &shape(&[extent])), number(3, 1), bytes(4, &bytes(1, &[]))].concat();
    bytes(1, &tensor)
}

fn v1_data(values: &[f32]) -> Vec<u8> {
    let values: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    [bytes(1, b"a"), bytes(2, &bytes(1, &[])), bytes(3, &bytes(5, &values))].concat()
}

/// An index of a bundle with one tensor.
fn v2(extent: u64, offset: u64, size: u64) -> Vec<u8> {
    let entry = [number(1, 1), bytes(2, &shape(&[extent])), number(4, offset), number(5, size)].concat();
    table(&[(b"b", 0, block(&[(b"", number(1, 1)), (b"a", entry)]))])
}

fn graph(dtype: u64, extents: &[u64], values: &[u8]) -> Vec<u8> {
    let tensor = [&number(1, dtype), &bytes(2, &shape(extents)), values].concat();
    let attribute = [bytes(1, b"value"), bytes(2, &bytes(8, &tensor))].concat();
    bytes(1, &[bytes(1, b"a"), bytes(2, b"Const"), bytes(5, &attribute)].concat())
}

#[test]
fn changes_behind_the_checksums() {
    let mut random = Random(2);
    let (meta, data) = (v1_meta(3), v1_data(&[1.0, 2.0, 3.0]));
    let mut first = read(v1(&meta, &data), &[]).unwrap();
    assert_eq!(first.values(0).unwrap(), [1.0, 2.0, 3.0]);
    for _ in 0..5000 {
        let (mut meta, mut data) = (meta.clone(), data.clone());
        let changed = if random.below(2) == 0 { &mut meta } else { &mut data };
        random.change(changed);
        drop(read(v1(&meta, &data), &[]));
    }
    let entries = [(&b""[..], number(1, 1)), (&b"a"[..], number(1, 1))];
    let whole = block(&entries);
    for _ in 0..5000 {
        let mut block = whole.clone();
        random.change(&mut block);
        drop(read(table(&[(b"b", random.below(2) as u8, block)]), &[vec![0; 64]]));
    }
}

#[test]
fn one_value_for_a_whole_tensor() {
    let mut file = read(v1(&v1_meta(5), &v1_data(&[2.5])), &[]).unwrap();
    assert_eq!(file.values(0).unwrap(), [2.5; 5]);
}

#[test]
fn a_table_of_several_blocks_some_compressed() {
    let entries = [
        (&b""[..], bytes(1, &v1_meta(700))),
        (&b"\0a\0\x01\x01\x01\x80\x7f"[..], {
            let values: Vec<f32> = (0..700).map(|n| n as f32).collect();
            bytes(2, &v1_data(&values))
        }),
    ];
    let packed = snap::raw::Encoder::new().compress_vec(&block(&entries[1..])).unwrap();
    let blocks = [(&b""[..], 0, block(&entries[..1])), (&b"\0a\0\x02"[..], 1, packed)];
    let mut file = read(table(&blocks), &[]).unwrap();
    assert_eq!(file.values(0).unwrap()[699], 699.0);
}

fn problem(file: Vec<u8>, shards: &[Vec<u8>]) -> Problem {
    read(file, shards).err().expect("an error").problem
}

fn is_damaged(file: Vec<u8>, shards: &[Vec<u8>], what: &str) {
    let problem = problem(file, shards);
    assert!(matches!(&problem, Problem::Damaged(text) if text.contains(what)), "{what}: {problem:?}");
}

#[test]
fn claims_that_no_file_can_hold() {
    for extent in [1 << 23, 1 << 40, 1 << 62, u64::MAX >> 1] {
        is_damaged(v1(&v1_meta(extent), &v1_data(&[1.0])), &[], "claims a shape");
        is_damaged(graph(1, &[extent], &bytes(5, &1f32.to_le_bytes())), &[], "claims a shape");
        is_damaged(v2(extent, 0, 4), &[vec![0; 4]], "");
    }
    is_damaged(graph(1, &[u64::MAX], &[]), &[], "unknown extent");
    is_damaged(graph(1, &[1; 300], &[]), &[], "254 extents");
    is_damaged(v2(1, u64::MAX, 4), &[vec![0; 4]], "data file 0 has 4");
    is_damaged(v2(1, 1, 4), &[vec![0; 4]], "data file 0 has 4");
    is_damaged(v2(2, 0, 4), &[vec![0; 4]], "its shape asks for 8");
    let bomb = [varint(1 << 31), vec![0, 1]].concat();
    is_damaged(table(&[(b"b", 1, bomb)]), &[], "claims to be 2147483648 bytes");
}

#[test]
fn values_and_shapes_that_disagree() {
    let floats = |n: usize| [1f32.to_le_bytes(); 8][..n].concat();
    is_damaged(graph(1, &[2], &bytes(5, &floats(3))), &[], "12 bytes of values, its shape asks for 8");
    is_damaged(graph(1, &[2], &bytes(4, &floats(1))), &[], "4 bytes of values, its shape asks for 8");
    is_damaged(graph(1, &[2], &bytes(5, &floats(2)[..7])), &[], "7 bytes of values");
    is_damaged(graph(9, &[2], &bytes(10, &[1, 2, 3])), &[], "more values than its shape");
    is_damaged(v1(&v1_meta(2), &v1_data(&[1.0; 3])), &[], "`a`");
    // Values that are not packed are as good.
    let unpacked = [vec![5 << 3 | 5], floats(1), vec![5 << 3 | 5], floats(1)].concat();
    assert_eq!(read(graph(1, &[2], &unpacked), &[]).unwrap().values(0).unwrap(), [1.0, 1.0]);
}

#[test]
fn numbers_without_a_type_here_are_refused_by_name() {
    for dtype in [8, 11, 17, 22, 24] {
        let problem = problem(graph(dtype, &[2], &[]), &[]);
        assert!(matches!(&problem, Problem::Refused(what) if what.contains("`a`")), "{problem:?}");
    }
    is_damaged(graph(90, &[2], &[]), &[], "type 90");
}

#[test]
fn noise_is_of_no_known_format() {
    let mut random = Random(3);
    for _ in 0..2000 {
        let noise = (0..1 + random.below(300)).map(|_| random.below(256) as u8).collect();
        assert!(matches!(problem(noise, &[]), Problem::Unknown(_)));
    }
}

#[test]
fn two_tensors_of_one_name() {
    let one = graph(1, &[2], &[]);
    is_damaged([one.clone(), one].concat(), &[], "two tensors `a`");
}

#[test]
fn keys_out_of_order_in_a_block_and_between_two() {
    let entry = || (&b"a"[..], number(1, 7));
    is_damaged(table(&[(b"b", 0, block(&[(b"", number(1, 1)), entry(), entry()]))]), &[], "not in order");
    let blocks = [(&b"b"[..], 0, block(&[(b"", number(1, 1)), entry()])), (&b"c"[..], 0, block(&[entry()]))];
    is_damaged(table(&blocks), &[], "not in order");
}
