"""Writes small JPEGs that no common program writes: any sampling factors, markers and scan order.

    write(components, ...) -> bytes: planes of samples -> 8x8 blocks -> DCT -> / quantiser -> zigzag -> Huffman code

Baseline, 8 bits, with the Huffman tables of a file that Pillow wrote. Used by pictures.py.
"""
import io
import struct

import numpy as np
from PIL import Image

ZIGZAG = sorted(range(64), key=lambda i: (i // 8 + i % 8, (i // 8 if (i // 8 + i % 8) % 2 else i % 8)))
QUANTISER = [3 + (i // 8 + i % 8) * 2 for i in ZIGZAG]
COSINES = np.array([[np.cos((2 * x + 1) * u * np.pi / 16) * (0.5 if u else 0.125**0.5) for x in range(8)] for u in range(8)])


def segment(marker, data):
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def segments_of(jpeg, marker):
    """The data of every segment of this marker before the first scan."""
    at, found = 2, []
    while jpeg[at + 1] != 0xDA:
        length = struct.unpack(">H", jpeg[at + 2 : at + 4])[0]
        if jpeg[at + 1] == marker:
            found.append(jpeg[at + 4 : at + 2 + length])
        at += 2 + length
    return found


def huffman_tables():
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG")
    data = b"".join(segments_of(file.getvalue(), 0xC4))
    tables, at = {}, 0
    while at < len(data):
        counts, code, symbols = data[at + 1 : at + 17], 0, {}
        values = iter(data[at + 17 : at + 17 + sum(counts)])
        for length, count in enumerate(counts, 1):
            for _ in range(count):
                symbols[next(values)] = (code, length)
                code += 1
            code <<= 1
        tables[data[at]] = symbols
        at += 17 + sum(counts)
    return data, tables


DHT, TABLES = huffman_tables()


class Bits:
    def __init__(self):
        self.value, self.count, self.out = 0, 0, bytearray()

    def put(self, value, count):
        self.value, self.count = (self.value << count) | value, self.count + count
        while self.count >= 8:
            byte = (self.value >> (self.count - 8)) & 255
            self.out += bytes([byte, 0]) if byte == 255 else bytes([byte])
            self.count -= 8
        self.value &= (1 << self.count) - 1

    def signed(self, table, run, value):
        size = abs(value).bit_length()
        self.put(*table[run << 4 | size])
        self.put(value if value >= 0 else value + (1 << size) - 1, size)

    def flush(self):
        if self.count:
            self.put((1 << (8 - self.count)) - 1, 8 - self.count)
        out, self.out = bytes(self.out), bytearray()
        return out


def put_block(bits, block, previous, kind):
    """One block's code; returns its DC value."""
    values = [round(v / q) for v, q in zip((COSINES @ (block - 128.0) @ COSINES.T).flatten()[ZIGZAG], QUANTISER)]
    bits.signed(TABLES[kind], 0, values[0] - previous)
    run = 0
    for value in values[1:]:
        if value == 0:
            run += 1
            continue
        while run > 15:
            bits.put(*TABLES[0x10 | kind][0xF0])
            run -= 16
        bits.signed(TABLES[0x10 | kind], run, value)
        run = 0
    if run:
        bits.put(*TABLES[0x10 | kind][0])
    return values[0]


def plane(width, height, seed):
    """Samples that are neither flat nor noise: two waves and a little roughness."""
    y, x = np.mgrid[0:height, 0:width]
    return np.clip(128 + 80 * np.sin(x / (2.0 + seed)) + 60 * np.cos(y / (3.0 - seed / 2)) + (x * 7 + y * 13 + seed * 5) % 11, 0, 255)


def write(width, height, sampling, markers=(), ids=None, restart=0, interleaved=True, before_end=b"", precision=8):
    """A JPEG of `sampling` [(h, v), one a component] with these segments [(marker, data)] after its start."""
    ids = ids or list(range(1, len(sampling) + 1))
    hs, vs = max(h for h, _ in sampling), max(v for _, v in sampling)
    columns, rows = -(-width // (8 * hs)), -(-height // (8 * vs))
    planes = [plane(columns * 8 * h, rows * 8 * v, i) for i, (h, v) in enumerate(sampling)]
    out = b"\xff\xd8" + b"".join(segment(*m) for m in markers)
    out += segment(0xDB, bytes([0]) + bytes(QUANTISER)) + segment(0xC4, DHT)
    out += segment(0xC0, struct.pack(">BHHB", precision, height, width, len(ids))
                   + b"".join(bytes([c, h << 4 | v, 0]) for c, (h, v) in zip(ids, sampling)))
    if restart:
        out += segment(0xDD, struct.pack(">H", restart))
    scans = [range(len(ids))] if interleaved else [[i] for i in range(len(ids))]
    for scan in scans:
        kinds = {i: min(i, 1) for i in scan}
        out += segment(0xDA, bytes([len(scan)]) + b"".join(bytes([ids[i], kinds[i] * 17]) for i in scan) + bytes([0, 63, 0]))
        if len(scan) == 1:
            # A scan of one component has its own blocks only, in rows, none of the padding of an MCU.
            (h, v), = [sampling[i] for i in scan]
            wide, high = -(-(-(-width * h // hs)) // 8), -(-(-(-height * v // vs)) // 8)
            units = [[(scan[0], x, y)] for y in range(high) for x in range(wide)]
        else:
            units = [[(i, mx * sampling[i][0] + x, my * sampling[i][1] + y)
                      for i in scan for y in range(sampling[i][1]) for x in range(sampling[i][0])]
                     for my in range(rows) for mx in range(columns)]
        bits, previous = Bits(), dict.fromkeys(scan, 0)
        for n, unit in enumerate(units):
            if restart and n and n % restart == 0:
                out += bits.flush() + bytes([0xFF, 0xD0 + (n // restart - 1) % 8])
                bits, previous = Bits(), dict.fromkeys(scan, 0)
            for i, x, y in unit:
                previous[i] = put_block(bits, planes[i][y * 8 : y * 8 + 8, x * 8 : x * 8 + 8], previous[i], kinds[i])
        out += bits.flush()
    return out + before_end + b"\xff\xd9"
