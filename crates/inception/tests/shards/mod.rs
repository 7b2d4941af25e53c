//! Writes archives of pictures as other programs do.

// Every test file uses its own part of this.
#![allow(dead_code)]

/// A tar file of these members.
pub(crate) fn tar(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, &bytes[..]).expect("appended");
    }
    archive.into_inner().expect("written")
}

/// A varint, a field of bytes, and a record, as TensorFlow's protocol has them.
pub(crate) fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 128 {
        bytes.push(value as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

pub(crate) fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

pub(crate) fn feature(key: &str, list: u64, values: &[u8]) -> Vec<u8> {
    field(1, &[field(1, key.as_bytes()), field(2, &field(list, values))].concat())
}

pub(crate) fn bytes(key: &str, value: &[u8]) -> Vec<u8> {
    feature(key, 1, &field(1, value))
}

pub(crate) fn record(features: &[Vec<u8>]) -> Vec<u8> {
    let data = field(1, &features.concat());
    let masked =
        |bytes: &[u8]| crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes();
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), &data, &masked(&data)].concat()
}
