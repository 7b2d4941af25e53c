//! Files that are small and ask for much: how much memory they get.
//!
//! One test, as the system counts memory by process.

#![cfg(target_os = "linux")]

mod common;

use std::path::PathBuf;

/// Most memory that a file of a few megabytes may take.
const MOST: usize = 256 << 20;

/// Most memory that this process has had, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// Pickles whose opcodes make much of little: copies of long lists and texts, deep nesting, lengths of anything.
fn pickles() -> Vec<Vec<u8>> {
    let long = |opcodes: &[u8], times: usize| [&b"\x80\x04"[..], &opcodes.repeat(times)].concat();
    let list = [long(b"]", 1), b"q\x00(".to_vec(), b"N".repeat(100_000), b"e".to_vec()].concat();
    let pairs = [long(b"]", 1), b"q\x00(".to_vec(), b"NN\x86".repeat(100_000), b"e".to_vec()].concat();
    let text =
        [b"\x80\x02".to_vec(), b"X\x40\x42\x0f\x00".to_vec(), vec![b'k'; 1_000_000], b"q\x00".to_vec()]
            .concat();
    let storage = b"(X\x07\x00\x00\x00storageq\x01ctorch\nFloatStorage\nq\x02h\x00h\x00K\x01tq\x03".to_vec();
    vec![
        long(b"]\x94\x85", 5_000_000),
        [list, b"ccollections\nOrderedDict\nq\x01".to_vec(), b"h\x01h\x00\x85R".repeat(1_000_000)].concat(),
        [pairs, b"ccollections\nOrderedDict\nq\x01".to_vec(), b"h\x01h\x00\x85R".repeat(1_000_000)].concat(),
        [text, storage, b"h\x03Q".repeat(1_000_000)].concat(),
        long(b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f", 1),
        long(b"\x8d\xff\xff\xff\xff\x00\x00\x00\x00", 1),
        long(b"(", 16_000_000),
        long(b"N2", 8_000_000),
        b"\x80\x04}\x94h\x00h\x00s".to_vec(),
    ]
}

/// Archives whose directory claims more than there is.
fn archives() -> Vec<Vec<u8>> {
    let pytorch = std::fs::read(fixture("pytorch/state.pth")).unwrap();
    let keras = std::fs::read(fixture("keras/deflated_3.keras")).unwrap();
    let mut all = Vec::new();
    for archive in [pytorch, keras] {
        for at in archive.windows(4).enumerate().filter(|(_, w)| w == b"PK\x01\x02").map(|(at, _)| at) {
            for sizes in [[0xff, 0xff, 0xff, 0x7f], [0, 0, 0, 0x40]] {
                let mut claims = archive.clone();
                claims[at + 24..at + 28].copy_from_slice(&sizes);
                all.push(claims.clone());
                claims[at + 20..at + 24].copy_from_slice(&sizes);
                all.push(claims);
            }
        }
    }
    all
}

/// An archive of Keras's whose weights are zeros: three megabytes that unpack to a thousand times as much.
fn bomb() -> Vec<u8> {
    let (name, size) = ("model.weights.h5", 1usize << 30);
    let packed = miniz_oxide::deflate::compress_to_vec(&vec![0; 32 << 20], 9).repeat(32);
    let sizes = [(packed.len() as u32).to_le_bytes(), (size as u32).to_le_bytes()].concat();
    let lengths = [(name.len() as u16).to_le_bytes(), [0; 2]].concat();
    let common = [&[20, 0, 0, 0, 8, 0][..], &[0; 8], &sizes, &lengths].concat();
    let local = [b"PK\x03\x04", &common[..], name.as_bytes(), &packed].concat();
    let central = [b"PK\x01\x02\x14\x00", &common[..], &[0; 14], name.as_bytes()].concat();
    let places = [(central.len() as u32).to_le_bytes(), (local.len() as u32).to_le_bytes()].concat();
    let end = [b"PK\x05\x06", &[0; 4][..], &[1, 0, 1, 0], &places, &[0; 2]].concat();
    [local, central, end].concat()
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

#[test]
fn memory_is_bounded_by_what_is_in_the_file() {
    for (i, bytes) in pickles().into_iter().enumerate() {
        assert!(inception_formats::open_bytes([bytes, b".".to_vec()].concat()).is_err(), "{i}");
        assert!(peak() < MOST, "pickle {i} took {} bytes", peak());
    }
    let error = inception_formats::open_bytes(bomb()).err().expect("refused").to_string();
    assert!(error.contains("claims to unpack from") && error.contains("1073741824"), "{error}");
    assert!(peak() < MOST, "an archive took {} bytes", peak());
    let before = peak();
    archives().into_iter().for_each(common::read_all);
    for name in ["views.pth", "checkpoint_legacy.pth"] {
        common::damage(&std::fs::read(fixture("pytorch").join(name)).unwrap(), 3_000, name);
    }
    for name in ["by_hand.h5", "new_3.weights.h5", "deflated_3.keras"] {
        common::damage(&std::fs::read(fixture("keras").join(name)).unwrap(), 3_000, name);
    }
    let more = peak() - before;
    assert!(more < 64 << 20, "small files took {more} bytes more");
}
