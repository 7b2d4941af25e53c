"""Makes the small pictures of crates/inception/tests/fixtures and what Pillow reads in them.

Run by hand: pip install pillow; python reference/make_fixtures.py
"""
import json
import pathlib

from PIL import Image

OUT = pathlib.Path(__file__).parent.parent / "crates/inception/tests/fixtures"
OUT.mkdir(parents=True, exist_ok=True)

# 16x16: four flat quarters, so that chroma subsampling and the decoder's upsampling cannot matter at the centres.
COLOURS = [(200, 40, 30), (30, 160, 60), (40, 60, 190), (220, 210, 200)]
rgb = Image.new("RGB", (32, 32))
for i, colour in enumerate(COLOURS):
    rgb.paste(colour, (i % 2 * 16, i // 2 * 16, i % 2 * 16 + 16, i // 2 * 16 + 16))

# Pillow writes CMYK JPEGs with an Adobe marker and inverted values, as Photoshop does.
rgb.convert("CMYK").save(OUT / "cmyk.jpg", quality=95)
# Pillow cannot write YCCK, the other form Photoshop uses. Its file is a CMYK one whose first three inverted channels hold
# the YCbCr of the colours, with 2 instead of 0 at the end of the Adobe segment.
cmyk = rgb.convert("CMYK")
inverted = [channel.point(lambda v: 255 - v) for channel in Image.merge("RGB", cmyk.split()[:3]).convert("YCbCr").split()]
Image.merge("CMYK", [*inverted, cmyk.split()[3]]).save(OUT / "ycck.jpg", quality=95)
data = bytearray((OUT / "ycck.jpg").read_bytes())
transform = data.index(b"Adobe") + 11
assert data[transform] == 0
data[transform] = 2
(OUT / "ycck.jpg").write_bytes(data)
rgb.convert("L").save(OUT / "grey.jpg", quality=95)
rgb.save(OUT / "rgb.jpg", quality=95)
# Orientation 6: the camera was turned; upright needs a quarter turn clockwise.
exif = Image.Exif()
exif[0x0112] = 6
rgb.save(OUT / "rotated.jpg", quality=95, exif=exif)

expected = {}
for name in ["cmyk.jpg", "ycck.jpg", "grey.jpg", "rgb.jpg"]:
    picture = Image.open(OUT / name).convert("RGB")
    expected[name] = [picture.getpixel((x, y)) for x, y in [(8, 8), (24, 8), (8, 24), (24, 24)]]
(OUT / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
