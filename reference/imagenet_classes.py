"""Writes crates/inception/src/weights/imagenet.tsv (synset, name) and the second source that its test holds it against.

    pip install timm==1.0.31 torchvision==0.29.2; python reference/imagenet_classes.py

Names are torchvision's, synsets timm's list. The second source is WordNet's lemmas of each synset
(crates/inception/tests/fixtures/imagenet_lemmas.tsv), by synset and not by place.
"""
import pathlib

import timm.data
from torchvision.models._meta import _IMAGENET_CATEGORIES as names

ROOT = pathlib.Path(__file__).parent.parent
info = pathlib.Path(timm.data.__file__).parent / "_info"
synsets = (info / "imagenet_synsets.txt").read_text().split()
lemmas = dict(line.rstrip("\n").split("\t") for line in open(info / "imagenet_synset_to_lemma.txt"))
assert len(synsets) == len(names) == 1000
(ROOT / "crates/inception/src/weights/imagenet.tsv").write_text("".join(f"{s}\t{n}\n" for s, n in zip(synsets, names)))
(ROOT / "crates/inception/tests/fixtures/imagenet_lemmas.tsv").write_text("".join(f"{s}\t{lemmas[s]}\n" for s in sorted(synsets)))
for s, n in zip(synsets, names):
    if n.lower() not in [x.lower() for x in lemmas[s].split(", ")]:
        print(s, n, "|", lemmas[s])
