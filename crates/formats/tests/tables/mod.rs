//! Writes the containers of TensorFlow's files, so that tests can make hostile ones with checksums in order.
//!
//! Shares no code with the crate: the checksum is computed bit by bit.

/// CRC-32C, masked.
pub(crate) fn masked_crc(bytes: &[u8]) -> u32 {
    let crc = bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 })
    });
    (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
}

pub(crate) fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A field of a message that is a number.
pub(crate) fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

/// A field of a message that is a text, bytes or a message itself.
pub(crate) fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [&varint(field << 3 | 2), &varint(value.len() as u64), value].concat()
}

/// Fields of a shape.
pub(crate) fn shape(extents: &[u64]) -> Vec<u8> {
    extents.iter().flat_map(|&n| bytes(2, &number(1, n))).collect()
}

/// Entries of a block, no key sharing anything with the one before.
pub(crate) fn block(entries: &[(&[u8], Vec<u8>)]) -> Vec<u8> {
    let entry = |(key, value): &(&[u8], Vec<u8>)| {
        [&[0], &varint(key.len() as u64)[..], &varint(value.len() as u64), key, value].concat()
    };
    let mut block: Vec<u8> = entries.iter().flat_map(entry).collect();
    block.extend([0, 0, 0, 0, 1, 0, 0, 0]);
    block
}

/// A table of these blocks, each with its kind of compression, already applied.
pub(crate) fn table(blocks: &[(&[u8], u8, Vec<u8>)]) -> Vec<u8> {
    let (mut file, mut index) = (Vec::new(), Vec::new());
    for (last_key, kind, block) in blocks {
        index.push((*last_key, push_block(&mut file, *kind, block)));
    }
    let index = push_block(&mut file, 0, &block(&index));
    let mut footer = [vec![0, 0], index].concat();
    footer.resize(40, 0);
    file.extend(footer);
    file.extend(0xdb47_7524_8b80_fb57_u64.to_le_bytes());
    file
}

fn push_block(file: &mut Vec<u8>, kind: u8, block: &[u8]) -> Vec<u8> {
    let handle = [varint(file.len() as u64), varint(block.len() as u64)].concat();
    file.extend(block);
    file.push(kind);
    let crc = masked_crc(&[block, &[kind]].concat());
    file.extend(crc.to_le_bytes());
    handle
}
