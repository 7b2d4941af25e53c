"""Makes the goldens of crates/pictures: small files and the pixels that Pillow, TensorFlow and PyTorch read from them.

Pillow 13.0.0 (libjpeg-turbo 3.2.0), torch 2.15.0, torchvision 0.29.2, tensorflow 2.21.0; run by hand, in two parts, since
the frameworks need not share an environment:

    pip install pillow==13.0.0 torch==2.15.0 torchvision==0.29.2
    python reference/pictures.py pillow     # files, decode.csv, resize.csv, half_pixel.csv, geometry.csv
    pip install tensorflow-cpu==2.21.0
    python reference/pictures.py tensorflow # decode_tensorflow.csv, tf1.csv, central_crop.csv; needs the files of the first

decode.csv: file, width, height, SHA-256 of the bytes of convert("RGB"), the same after ImageOps.exif_transpose.
decode_tensorflow.csv: file, width, height, SHA-256 of the bytes of tf.io.decode_jpeg(channels=3), which reads PNG too.
resize.csv: source size, filter, box (empty: none), target size, SHA-256 as of Pillow 12.0 and of Pillow 13. The sources' bytes are `noise`, below.
tf1.csv, half_pixel.csv: source size, target size, values.
"""
import hashlib
import io
import pathlib
import random
import struct
import sys
import zlib

import numpy as np

OUT = pathlib.Path(__file__).parent.parent / "crates/pictures/tests/fixtures"


def noise(width, height, channels=3):
    """Bytes that a few instructions make on both sides: of the index i, i * 0x9e3779b1, xor 15 right, * 0x85ebca77, top 8 bits."""
    i = np.arange(width * height * channels, dtype=np.uint32) * np.uint32(0x9E3779B1)
    i ^= i >> np.uint32(15)
    return (i * np.uint32(0x85EBCA77) >> np.uint32(24)).astype(np.uint8).reshape(height, width, channels)


def sha(data):
    return hashlib.sha256(data).hexdigest()


def table(name, head, rows):
    (OUT / name).write_text("\n".join([head, *(",".join(map(str, row)) for row in rows)]) + "\n")


def smooth(width, height, channels=3):
    y, x = np.mgrid[0:height, 0:width]
    waves = [128 + 90 * np.sin(x / (3 + c)) + 50 * np.cos(y / (4 - c / 2)) + (x * 5 + y * 3) % 7 for c in range(channels)]
    return np.clip(np.stack(waves, -1), 0, 255).astype(np.uint8).squeeze()


def exif(orientation, order="<", extra=()):
    """A TIFF block with the orientation, and other entries (tag, kind, count, value) before it."""
    entries = [*extra, (0x112, 3, 1, orientation if order == "<" else orientation << 16)]
    tiff = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(entries))
    return tiff + b"".join(struct.pack(order + "HHII", *e) for e in entries) + bytes(4)


def jpegs():
    import jpeg_writer
    from PIL import Image

    files = {}

    def save(name, image, **how):
        file = io.BytesIO()
        image.save(file, "JPEG", **how)
        files[name] = file.getvalue()

    rgb, grey = Image.fromarray(smooth(43, 31)), Image.fromarray(smooth(43, 31, 1))
    cmyk = Image.fromarray(smooth(43, 31, 4), "CMYK")
    for sampling in ["4:4:4", "4:2:2", "4:2:0"]:
        short = sampling.replace(":", "")
        for progressive in [False, True]:
            kind = "progressive" if progressive else "baseline"
            save(f"{kind}_{short}.jpg", rgb, subsampling=sampling, progressive=progressive, quality=85)
    save("progressive_grey.jpg", grey, progressive=True)
    save("progressive_cmyk.jpg", cmyk, progressive=True)
    save("progressive_noise.jpg", Image.fromarray(noise(50, 37)), progressive=True, quality=95)
    save("noise_100.jpg", Image.fromarray(noise(50, 37)), quality=100, subsampling="4:2:0")
    save("noise_1.jpg", Image.fromarray(noise(50, 37)), quality=1)
    save("grey.jpg", grey)
    save("cmyk.jpg", cmyk, quality=90)
    save("restart_progressive.jpg", rgb, progressive=True, restart_marker_blocks=2)
    save("restart_rows.jpg", rgb, subsampling="4:2:0", restart_marker_rows=1)
    for width, height in [(1, 1), (1, 40), (40, 1), (2, 2), (3, 3), (5, 8), (8, 8), (9, 9), (15, 17), (16, 16), (17, 16), (31, 33)]:
        save(f"size_{width}x{height}.jpg", Image.fromarray(smooth(width, height).reshape(height, width, 3)), subsampling="4:2:0")
    for value in range(1, 9):
        save(f"orientation_{value}.jpg", Image.fromarray(smooth(24, 16)), exif=b"Exif\0\0" + exif(value))
    save("orientation_6_big_endian.jpg", rgb, exif=b"Exif\0\0" + exif(6, ">", [(0x100, 3, 1, 43 << 16)]))
    save("orientation_9.jpg", rgb, exif=b"Exif\0\0" + exif(9))
    cut = files["progressive_420.jpg"]
    scans = [i for i in range(len(cut) - 1) if cut[i : i + 2] == b"\xff\xda"]
    for n in [1, 3, 6]:
        files[f"progressive_first_{n}.jpg"] = cut[: scans[n]] + b"\xff\xd9"

    write = jpeg_writer.write
    adobe = lambda transform: (0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, transform))
    jfif = (0xE0, b"JFIF\0" + bytes([1, 1, 0, 0, 1, 0, 1, 0, 0]))
    for name, sampling in {
        "440": [(1, 2), (1, 1), (1, 1)], "411": [(4, 1), (1, 1), (1, 1)], "410": [(4, 2), (1, 1), (1, 1)],
        "441": [(1, 4), (1, 1), (1, 1)], "422": [(2, 1), (1, 1), (1, 1)], "420": [(2, 2), (1, 1), (1, 1)],
        "2x2_2x1": [(2, 2), (2, 1), (2, 1)], "2x2_1x2": [(2, 2), (1, 2), (1, 2)], "mixed": [(2, 2), (2, 1), (1, 2)],
"3x1": [(3, 1), (1, 1), (1, 1)],
    }.items():
        files[f"sampling_{name}.jpg"] = write(45, 35, sampling, [jfif])
    files["restart_420.jpg"] = write(45, 35, [(2, 2), (1, 1), (1, 1)], [jfif], restart=2)
    files["scans_420.jpg"] = write(45, 35, [(2, 2), (1, 1), (1, 1)], [jfif], interleaved=False)
    files["scans_restart_422.jpg"] = write(45, 35, [(2, 1), (1, 1), (1, 1)], [jfif], interleaved=False, restart=3)
    files["grey_2x2.jpg"] = write(21, 19, [(2, 2)])
    files["rgb_adobe.jpg"] = write(21, 19, [(1, 1)] * 3, [adobe(0)])
    files["rgb_ids.jpg"] = write(21, 19, [(1, 1)] * 3, ids=list(b"RGB"))
    files["ids_odd.jpg"] = write(21, 19, [(1, 1)] * 3, ids=[7, 8, 9])
    files["ids_zero.jpg"] = write(21, 19, [(1, 1)] * 3, ids=[0, 1, 2])
    files["adobe_1.jpg"] = write(21, 19, [(2, 1), (1, 1), (1, 1)], [adobe(1)])
    files["jfif_and_adobe_0.jpg"] = write(21, 19, [(1, 1)] * 3, [jfif, adobe(0)])
    files["cmyk_no_adobe.jpg"] = write(21, 19, [(1, 1)] * 4)
    files["cmyk_adobe.jpg"] = write(21, 19, [(1, 1)] * 4, [adobe(0)])
    files["ycck.jpg"] = write(21, 19, [(1, 1)] * 4, [adobe(2)])
    files["ycck_420.jpg"] = write(37, 35, [(2, 2), (1, 1), (1, 1), (2, 2)], [adobe(2)])
    files["cmyk_420.jpg"] = write(37, 35, [(2, 2), (1, 1), (1, 1), (2, 2)], [adobe(0)])
    files["extraneous.jpg"] = write(21, 19, [(1, 1)] * 3, [jfif], before_end=b"\0\0what\xff\xff\xff")
    files["comment.jpg"] = write(21, 19, [(1, 1)] * 3, [(0xFE, b"\xff\xd9\xff\xda no end")])
    files["appended.jpg"] = write(21, 19, [(1, 1)] * 3) + b"what a camera appends"
    files["refused_12_bits.jpg"] = write(21, 19, [(1, 1)] * 3, precision=12)
    files["refused_chroma_finer.jpg"] = write(21, 19, [(1, 1), (2, 2), (2, 2)], [jfif])
    files["refused_two.jpg"] = write(21, 19, [(1, 1)] * 2)
    files["jpeg_named.png"] = files["rgb_ids.jpg"]
    return files


def png(width, height, depth, kind, rows, chunks=(), interlace=0, after=()):
    """A PNG of raw rows, each without its filter byte; chunks stand before and after the pixels."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlace))
    data = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    return (b"\x89PNG\r\n\x1a\n" + head + b"".join(chunk(*c) for c in chunks) + chunk(b"IDAT", data)
            + b"".join(chunk(*c) for c in after) + chunk(b"IEND", b""))


def pngs():
    from PIL import Image

    files = {}
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
    for kind, depths in {0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16]}.items():
        for depth in depths:
            row = -(-13 * channels[kind] * depth // 8)
            rows = [r.tobytes() for r in noise(row, 9, 1)]
            if (kind, depth) == (0, 16):  # values below 256 too, which a clip and a shift treat differently
                rows = [bytes(b if i % 2 or j % 2 else 0 for i, b in enumerate(r)) for j, r in enumerate(rows)]
            palette = [(b"PLTE", noise(1 << depth, 1).tobytes())] if kind == 3 else []
            files[f"kind{kind}_{depth}.png"] = png(13, 9, depth, kind, rows, palette)
            transparent = {0: b"\0\1", 2: b"\0\1\0\2\0\3", 3: bytes(range(0, 1 << min(depth, 4), 1))}.get(kind)
            if transparent:
                files[f"kind{kind}_{depth}_transparent.png"] = png(13, 9, depth, kind, rows, [*palette, (b"tRNS", transparent)])
    # A palette shorter than its indices go.
    files["palette_short.png"] = png(4, 1, 8, 3, [bytes([0, 1, 2, 200])], [(b"PLTE", bytes(range(100, 109)))])
    # The transparent colour appears.
    files["rgb_transparent_hit.png"] = png(3, 1, 8, 2, [bytes([1, 2, 3, 9, 9, 9, 1, 2, 4])], [(b"tRNS", bytes([0, 1, 0, 2, 0, 3]))])
    files["profile.png"] = png(2, 1, 8, 2, [bytes([10, 20, 30, 200, 100, 50])], [(b"gAMA", struct.pack(">I", 100000))])
    for value in [1, 3, 6]:
        files[f"exif_{value}.png"] = png(5, 3, 8, 2, [r.tobytes() for r in noise(5, 3)], [(b"eXIf", exif(value, ">"))])
    files["exif_after.png"] = png(5, 3, 8, 2, [r.tobytes() for r in noise(5, 3)], after=[(b"eXIf", exif(8))])
    file = io.BytesIO()
    frames = [Image.fromarray(noise(9, 7)), Image.fromarray(255 - noise(9, 7))]
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:])
    files["animated.png"] = file.getvalue()
    # Adam7: seven passes of a 5x5 picture; the rows of each pass, those without pixels left out.
    pixels, rows = noise(5, 5), []
    for x0, y0, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
        part = pixels[y0::dy, x0::dx]
        rows += [r.tobytes() for r in part if r.size]
    files["interlaced.png"] = png(5, 5, 8, 2, rows, interlace=1)
    files["png_named.JPEG"] = files["kind2_8.png"]
    return files


def decode():
    from PIL import Image, ImageOps

    rows = []
    for name, data in sorted({**jpegs(), **pngs()}.items()):
        (OUT / name).write_bytes(data)
        if name.startswith("refused"):
            continue
        try:
            image = Image.open(io.BytesIO(data))
            upright = ImageOps.exif_transpose(image).convert("RGB")
        except (OSError, SyntaxError) as problem:
            sys.exit(f"Pillow does not read {name}: {problem}")
        rgb = image.convert("RGB")
        rows.append([name, *rgb.size, sha(rgb.tobytes()), *upright.size, sha(upright.tobytes())])
    table("decode.csv", "file,width,height,sha256,upright_width,upright_height,upright_sha256", rows)


def resize():
    from PIL import Image

    rng, cases = random.Random(5), []
    filters = {"nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    fixed = [
        (1, 1, 7, 5), (1, 1, 1, 1), (1, 9, 4, 4), (9, 1, 4, 4), (5, 7, 5, 7), (5, 7, 5, 3), (5, 7, 3, 7), (5, 7, 1, 1), (2, 2, 3, 3),
        (4000, 3, 300, 3), (3, 4000, 3, 300), (4000, 2, 1, 1), (2, 4000, 1, 1), (1, 4000, 299, 299), (4000, 1, 299, 299),
        (4000, 3000, 454, 341), (500, 375, 454, 341), (500, 375, 456, 342), (500, 375, 444, 333), (375, 500, 299, 299), (32, 32, 299, 299),
        (640, 480, 139, 75), (299, 299, 299, 299), (300, 299, 299, 299), (299, 300, 299, 299), (3, 2, 1000, 2), (2, 3, 2, 1000), (64, 64, 63, 65),
    ]
    for sw, sh, tw, th in fixed:
        for name in filters:
            cases.append((sw, sh, name, None, tw, th))
    while len(cases) < 420:
        sw, sh, tw, th = (max(1, round(2 ** rng.uniform(0, 8))) for _ in range(4))
        box = None
        kind = rng.randrange(4)
        if kind:
            # Whole pixels, quarters, or any fraction.
            part = {1: lambda v: float(round(v)), 2: lambda v: round(v * 4) / 4, 3: lambda v: float(np.float32(v))}[kind]
            left, right = sorted(part(rng.uniform(0, sw)) for _ in range(2))
            top, bottom = sorted(part(rng.uniform(0, sh)) for _ in range(2))
            box = [left, top, min(right, sw), min(bottom, sh)]
            if kind == 1 and rng.random() < 0.3:
                tw, th = max(1, int(right - left)), max(1, int(bottom - top))
            if right - left < 0.2 or bottom - top < 0.2:
                continue
        cases.append((sw, sh, rng.choice(list(filters)), box, tw, th))
    rows, sources = [], {}
    for sw, sh, name, box, tw, th in cases:
        if (sw, sh) not in sources:
            sources = {(sw, sh): Image.fromarray(noise(sw, sh))}
        out = sources[sw, sh].resize((tw, th), filters[name], box=box)
        # What Pillow 12.0 makes in one call: rows first, whatever the sizes.
        left, top, right, bottom = box or (0, 0, sw, sh)
        rows_first = sources[sw, sh].resize((tw, sh), filters[name], box=(left, 0, right, sh))
        rows_first = rows_first.resize((tw, th), filters[name], box=(0, top, tw, bottom))
        rows.append([sw, sh, name, " ".join(map(repr, box)) if box else "", tw, th, sha(rows_first.tobytes()), sha(out.tobytes())])
    table("resize.csv", "width,height,filter,box,to_width,to_height,rows_first_sha256,pillow_13_sha256", rows)


UNFILTERED = [
    (1, 1, 3, 2), (2, 1, 5, 1), (4, 4, 4, 4), (4, 1, 8, 1), (7, 5, 3, 4), (5, 7, 9, 3), (13, 11, 5, 9), (40, 30, 6, 7), (329, 438, 6, 5),
    (3, 3, 10, 10), (299, 200, 9, 5), (6, 5, 11, 7), (1000, 3, 9, 2), (17, 1, 4, 5), (1, 17, 5, 4), (8, 8, 7, 7), (150, 100, 8, 6),
]


def values(rows, name):
    table(name, "width,height,to_width,to_height,values", [[*case, " ".join(f"{v:.9g}" for v in a.flatten())] for case, a in rows])


def half_pixel():
    import torch

    rows = []
    for w, h, tw, th in UNFILTERED:
        source = torch.from_numpy(noise(w, h).astype(np.float32)).permute(2, 0, 1)[None]
        out = torch.nn.functional.interpolate(source, (th, tw), mode="bilinear", align_corners=False)
        rows.append(((w, h, tw, th), out[0].permute(1, 2, 0).numpy()))
    values(rows, "half_pixel.csv")


def geometry():
    """What torchvision makes of a picture whose pixels tell where they are: size and offset of each step."""
    from PIL import Image
    from torchvision.transforms import functional as F

    rng, rows = random.Random(3), []
    sizes = [(500, 375), (375, 500), (299, 299), (1, 1), (1, 700), (700, 1), (342, 341), (341, 342), (300, 301), (33, 65)]
    for width, height in sizes + [(rng.randint(1, 900), rng.randint(1, 900)) for _ in range(60)]:
        for short, crop in [(342, 299), (341, 299), (333, 299), (299, 299), (256, 224), (100, 299), (299, 300), (60, 61), (61, 60), (235, 230)]:
            # Sizes only: the crop of a picture of row and column numbers follows from the size that resizing gives.
            to_height, to_width = F._compute_resized_output_size((height, width), [short])
            if to_width * to_height > 4_000_000:
                continue
            y, x = np.mgrid[1 : to_height + 1, 1 : to_width + 1]
            cropped = [np.asarray(F.center_crop(Image.fromarray(a.astype(np.int32), "I"), [crop, crop])) for a in (x, y)]
            inside = cropped[0] > 0
            top, left = (int(v) for v in np.argwhere(inside)[0])
            bottom, right = (int(v) for v in np.argwhere(inside)[-1])
            rows.append([width, height, short, crop, to_width, to_height, int(cropped[0][top, left]) - 1, int(cropped[1][top, left]) - 1,
                         left, top, right - left + 1, bottom - top + 1])
    table("geometry.csv", "width,height,short,crop,to_width,to_height,left,top,pad_left,pad_top,visible_width,visible_height", rows)


def tensorflow():
    import tensorflow as tf

    rows = []
    for path in sorted(path for path in OUT.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png")):
        # Where scans are missing, its libjpeg-turbo guesses the blocks' edges otherwise than Pillow's newer one.
        if path.name.startswith(("refused", "progressive_first")):
            continue
        pixels = tf.io.decode_jpeg(path.read_bytes(), channels=3).numpy()
        rows.append([path.name, pixels.shape[1], pixels.shape[0], sha(pixels.tobytes())])
    table("decode_tensorflow.csv", "file,width,height,sha256", rows)

    rows = []
    for w, h, tw, th in UNFILTERED:
        out = tf.compat.v1.image.resize_bilinear(noise(w, h)[None].astype(np.float32), (th, tw))
        rows.append(((w, h, tw, th), out[0].numpy()))
    values(rows, "tf1.csv")

    rows = []
    for fraction in [0.875, 0.5, 1.0, 0.8, 0.33]:
        for size in [1, 2, 3, 299, 375, 376, 500, 501, 640]:
            height = size + 7
            picture = np.stack(np.mgrid[0:height, 0:size], -1)
            out = tf.image.central_crop(picture, fraction).numpy()
            rows.append([size, height, fraction, out[0, 0, 1], out[0, 0, 0], out.shape[1], out.shape[0]])
    table("central_crop.csv", "width,height,fraction,left,top,to_width,to_height", rows)


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    for part in {"pillow": [decode, resize, half_pixel, geometry], "tensorflow": [tensorflow]}[sys.argv[1]]:
        part()
