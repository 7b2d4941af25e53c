"""Writes a small `meta.mat` in the form of ImageNet's devkit, as the test of data/mat_file.rs reads it, and one of all classes.

scipy 1.17.1; run by hand:

    pip install scipy==1.17.1
    python reference/devkit_meta.py     # crates/inception/tests/fixtures/meta.mat, meta_plain.mat, meta_1000.mat

The devkit's struct array `synsets` with its eight fields: here three classes, numbered as neither their synsets nor their rows are, and
behind them two inner nodes of the tree, which are no classes. The second file is the same uncompressed, with numbers as bytes
and another variable in front. The third has all 1000 synsets with the fields that are read, the class i by ascending synset with the number
1 + (7 i + 3) mod 1000 and in the row of that number.
"""
import pathlib

import numpy as np
from scipy.io import savemat

OUT = pathlib.Path(__file__).parent.parent / "crates/inception/tests/fixtures"

# ILSVRC2012_ID, WNID, words, gloss, children, wordnet_height, num_train_images: tench is 2, cock 3, hen 1.
ROWS = [
    (3, "n01514668", "cock", "adult male chicken", [], 0, 1300),
    (1, "n01514859", "hen", "adult female chicken", [], 0, 1300),
    (2, "n01440764", "tench, Tinca tinca", "freshwater dace-like game fish of Europe", [], 0, 1300),
    (1001, "n01503061", "bird", "warm-blooded egg-laying vertebrates", [1, 3], 2, 0),
    (1002, "n00001740", "entity", "that which is perceived", [2, 1001], 3, 0),
]


def synsets(number):
    fields = ["ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "wordnet_height", "num_train_images"]
    array = np.zeros((len(ROWS), 1), dtype=[(field, object) for field in fields])
    for row, (key, wnid, words, gloss, children, height, images) in zip(array[:, 0], ROWS):
        values = [number(key), wnid, words, gloss, number(len(children)), np.array(children, np.float64), number(height), number(images)]
        for field, value in zip(fields, values):
            row[field] = value
    return array


def numbered():
    lines = (OUT.parent.parent / "src/weights/imagenet.tsv").read_text().splitlines()
    array = np.zeros((len(lines), 1), dtype=[(field, object) for field in ["ILSVRC2012_ID", "WNID", "num_children"]])
    for i, line in enumerate(lines):
        number = 1 + (7 * i + 3) % 1000
        array[number - 1, 0] = (float(number), line.split("\t")[0], 0.0)
    return array


if __name__ == "__main__":
    savemat(OUT / "meta_1000.mat", {"synsets": numbered()}, do_compression=True)
    savemat(OUT / "meta.mat", {"synsets": synsets(float)}, do_compression=True)
    savemat(OUT / "meta_plain.mat", {"about": np.arange(6.0).reshape(2, 3), "synsets": synsets(np.uint16)}, do_compression=False)
