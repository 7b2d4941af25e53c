"""Records what torchvision's RandAugment makes of a picture: crates/inception/tests/fixtures/rand_augment.csv.

Run by hand: pip install torch torchvision pillow; python reference/rand_augment.py

The first line is a picture of 8 x 8 RGB bytes; then a line an operation: its name, its magnitude, the bytes that come out.
"""
import pathlib
import random

from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.autoaugment import RandAugment, _apply_op

OUT = pathlib.Path(__file__).parent.parent / "crates/inception/tests/fixtures/rand_augment.csv"
SIDE = 8
LEVELS = (3, 9, 30)

rng = random.Random(5)
# A hill of colour with noise, not from 0 to 255, so that every operation has something to do.
pixels = bytes(
    min(255, 20 + 9 * x + (7 * y if c else 3 * y) + 11 * c + rng.randrange(40))
    for y in range(SIDE) for x in range(SIDE) for c in range(3)
)
picture = Image.frombytes("RGB", (SIDE, SIDE), pixels)
lines = ["operation,magnitude,pixels", f"Picture,0,{pixels.hex()}"]
for name, (magnitudes, signed) in RandAugment()._augmentation_space(31, (SIDE, SIDE)).items():
    levels = [float(magnitudes[level]) for level in LEVELS] if magnitudes.ndim else [0.0]
    for magnitude in levels:
        for sign in (1, -1) if signed else (1,):
            out = _apply_op(picture, name, sign * magnitude, InterpolationMode.NEAREST, None)
            lines.append(f"{name},{sign * magnitude!r},{out.tobytes().hex()}")
OUT.write_text("\n".join(lines) + "\n")
