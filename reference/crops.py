"""The paper's 12 and 144 crops and an ensemble, in plain Python with Pillow and PyTorch, against `inception predict`.

    pip install torch==2.15.0 pillow==13.0.0
    python reference/crops.py record                          # crates/inception/tests/fixtures/crops.json
    python reference/crops.py compare PICTURES [PHOTOS SIDE WIDTH CROPS…]   # target/release/inception, or INCEPTION=…

`compare` takes two networks with the weights of formula.py, one that sees Pillow's bicubic, the other TensorFlow 1's bilinear of
another size, and the first photographs of a folder. It prints the largest differences of probabilities and of their logarithms.
"""
import hashlib
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).parent.parent
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC, "nearest": Image.Resampling.NEAREST}


def bilinear(pixels, width, height, place):
    """Four neighbours in float32 and in TensorFlow's order, not rounded; pictures.py records the same from the frameworks."""
    f = np.float32
    source = np.asarray(pixels, f)

    def along(source, target):
        at = np.maximum(place(np.arange(target, dtype=f), f(source) / f(target)), f(0))
        low = np.minimum(np.floor(at).astype(int), source - 1)
        return low, np.minimum(low + 1, source - 1), at - np.floor(at)

    (top, bottom, down), (left, right, across) = along(source.shape[0], height), along(source.shape[1], width)
    down, across = down[:, None, None], across[None, :, None]
    above = source[top][:, left] + (source[top][:, right] - source[top][:, left]) * across
    below = source[bottom][:, left] + (source[bottom][:, right] - source[bottom][:, left]) * across
    return above + (below - above) * down


PLACES = {
    "bilinear-tf1": lambda target, scale: target * scale,
    "bilinear-plain": lambda target, scale: (target + np.float32(0.5)) * scale - np.float32(0.5),
}


def resize(pixels, width, height, interpolation):
    if interpolation in FILTERS:
        return np.asarray(Image.fromarray(pixels).resize((width, height), FILTERS[interpolation]))
    return bilinear(pixels, width, height, PLACES[interpolation])


def rounded(a, b):
    return (2 * a + b) // (2 * b)


def views(pixels, side, interpolation, crops):
    """All views [side, side, 3] of [height, width, 3], in the order scale, square, crop, mirror."""
    height, width = pixels.shape[:2]
    found = []
    for scale in [256, 288, 320, 352][: 4 if crops == 144 else 1]:
        short = rounded(side * scale, 224)
        long = rounded(max(width, height) * short, min(width, height))
        w, h = (long, short) if width >= height else (short, long)
        resized = resize(pixels, w, h, interpolation)
        for square in [0, 1, 2] if crops == 144 else [1]:
            start = [0, (long - short) // 2, long - short][square]
            cut = resized[:, start : start + short] if width >= height else resized[start : start + short]
            d, c = short - side, (short - side) // 2
            boxes = [(0, 0), (d, 0), (0, d), (d, d), (c, c)]
            six = [cut[y : y + side, x : x + side] for x, y in boxes]
            if crops != 10:
                six.append(resize(np.ascontiguousarray(cut), side, side, interpolation))
            for view in six:
                found += [view, view[:, ::-1]]
    assert len(found) == crops
    return found


def waves(width, height):
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    return ((x * (3 + c) + y * (5 - c) + x * y // 7 + 40 * (x // 9 % 2)) % 256).astype(np.uint8)


def record():
    cases = []
    for width, height in [(50, 37), (37, 51), (40, 40), (1, 90), (300, 7)]:
        for interpolation in [*FILTERS, "bilinear-tf1", "bilinear-plain"]:
            for crops in [10, 12, 144]:
                all_views = views(waves(width, height), 33, interpolation, crops)
                squares = len(all_views) // (10 if crops == 10 else 12)
                # Squares that coincide are seen once.
                kept, seen = [], set()
                for square in range(squares):
                    n = len(all_views) // squares
                    short = rounded(33 * [256, 288, 320, 352][square // 3], 224)
                    long = rounded(max(width, height) * short, min(width, height))
                    start = [0, (long - short) // 2, long - short][square % 3 if crops == 144 else 1]
                    if (square // 3, start) not in seen:
                        kept += all_views[square * n : (square + 1) * n]
                        seen.add((square // 3, start))
                values = ((np.stack(kept).astype(np.float32) - 128) / 128).astype("<f4")
                cases.append({"width": width, "height": height, "side": 33, "interpolation": interpolation, "crops": crops,
                              "distinct": len(kept), "sha256": hashlib.sha256(values.tobytes()).hexdigest()})
    rows = ",\n".join(json.dumps(case) for case in cases)
    (ROOT / "crates/inception/tests/fixtures/crops.json").write_text(f"[\n{rows}\n]\n")


def checkpoint(path, info, preprocessing, classes):
    """A file of the formula's weights in our format."""
    import formula

    tensors, header, start = [], {}, 0
    for param in (param for node in info["nodes"] for param in node["params"]):
        values = formula.weight(param["name"], param["shape"]).astype("<f4")
        header[param["name"]] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [start, start + values.nbytes]}
        start += values.nbytes
        tensors.append(values.tobytes())
    texts = {"img_size": info["img_size"], "width": info["width"], "classes": classes, "preprocessing": preprocessing,
             "background": None, "provenance": {"tool": "formula.py", "recipe": None, "data": None}, "step": 0, "epoch": 0,
             "metrics": {}}
    header["__metadata__"] = {"format": "inception/1", "net": info["net"], **{k: json.dumps(v) for k, v in texts.items()}}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(tensors))


def compare(folder, photos=32, side=107, width=0.25, *crops):
    import torch
    import torch_net

    torch.set_grad_enabled(False)
    binary = os.environ.get("INCEPTION", torch_net.INCEPTION)
    pictures = sorted(pathlib.Path(folder).iterdir())[: int(photos)]
    classes = [f"class {i}" for i in range(20)]
    with tempfile.TemporaryDirectory() as temp:
        temp, members = pathlib.Path(temp), []
        for net, side, interpolation in [("inception_v4", int(side), "bicubic"), ("inception_resnet_v2", int(side) + 8, "bilinear-tf1")]:
            info = torch_net.info(net, binary, img_size=side, width=width, classes=len(classes))
            file = temp / f"{net}.safetensors"
            how = {"crop_pct": 0.875, "interpolation": interpolation, "resize": "shorter", "range": "[-1,1]", "channels": "RGB",
                   "exif": False, "alpha": "drop", "decoder": "pillow"}
            checkpoint(file, {**info, "width": float(width), "img_size": side}, how, classes)
            members.append((file, torch_net.Net(info).formula().double().eval(), side, interpolation))

        def expected(member, crops):
            _, net, side, interpolation = member
            rows = []
            for path in pictures:
                shown = np.stack(views(np.asarray(Image.open(path).convert("RGB")), side, interpolation, crops))
                x = torch.from_numpy((shown.astype(np.float32) - np.float32(127.5)) / np.float32(127.5)).permute(0, 3, 1, 2)
                rows.append(net(x.double()).softmax(1).mean(0).numpy())
            return np.stack(rows)

        def found(files, crops, output):
            more = [text for file in files[1:] for text in ("--ensemble", file)]
            args = [binary, "predict", "-w", files[0], *more, "--crops", str(crops), "-k", "0", "--format", "jsonl",
                    "--output-type", output, *pictures]
            run = subprocess.run(args, capture_output=True, text=True)
            if run.returncode:
                sys.exit(run.stderr)
            return np.array([json.loads(row)[output + "s"] for row in run.stdout.splitlines()])

        worst = 0.0
        for crops in map(int, crops or [12, 144]):
            alone = [expected(member, crops) for member in members]
            for name, files, want in [("v4", [members[0][0]], alone[0]), ("resnet-v2", [members[1][0]], alone[1]),
                                      ("ensemble", [member[0] for member in members], (alone[0] + alone[1]) / 2)]:
                prob = np.abs(found(files, crops, "prob") - want).max()
                log = np.abs(found(files, crops, "logit") - np.log(want)).max()
                spread = want.max(1).mean()
                print(f"{crops:3} crops  {name:10} {len(pictures)} pictures  probability {prob:.1e}  logarithm {log:.1e}"
                      f"  (mean of the largest probability {spread:.3f})", flush=True)
                worst = max(worst, prob, log)
        sys.exit(0 if worst <= 1e-5 else 1)


if __name__ == "__main__":
    {"record": record, "compare": compare}[sys.argv[1]](*sys.argv[2:])
