"""Compares `inception predict` on real pictures with what published_torch.py and published_tf.py --save wrote for them.

    python reference/compare_predictions.py target/release/inception DIR PICTURES     # DIR as in --save DIR

For each file of weights and each kind of picture: the largest difference of an answer, as a share of its standard
deviation, how many pictures have the same five best, and the largest difference of the network's input.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

binary, folder, pictures = sys.argv[1:4]
folder = pathlib.Path(folder)
for logits in sorted(folder.glob("*.jsonl")):
    source = logits.stem
    expected = {row["filename"]: np.array(row["logits"]) for row in map(json.loads, open(logits))}
    for file in sorted(f for f in folder.glob(f"{source}.*") if f.suffix in (".pth", ".ckpt", ".index", ".h5", ".keras", ".pb")):
        with tempfile.TemporaryDirectory() as temp:
            dump = pathlib.Path(temp) / "x.npy"
            args = [binary, "predict", "-w", file, pictures, "--topk", "0", "--output-type", "logit", "--format", "jsonl",
                    "--dump-input", dump]
            run = subprocess.run(args, capture_output=True, text=True)
            if run.returncode:
                print(f"{file.name}: {run.stderr.strip()[:300]}")
                continue
            rows, seen = [json.loads(line) for line in run.stdout.splitlines()], np.load(dump)
        worst = {}
        for row, x in zip(rows, seen):
            name = pathlib.Path(row["filename"]).name
            found, want = np.array(row.get("logits") or row.get("embedding")), expected[name]
            other = np.load(folder / f"{source}.{name}.npy")
            kind = worst.setdefault(pathlib.Path(name).suffix, [0, 0, 0, 0])
            kind[0] = max(kind[0], np.abs(found - want).max() / want.std())
            kind[1] += set(found.argsort()[-5:]) == set(want.argsort()[-5:])
            kind[2] = max(kind[2], np.abs(x - other).max())
            kind[3] += 1
        for kind, (answer, same, pixel, count) in sorted(worst.items()):
            print(f"{file.name:32} {kind:6} answer {answer:.1e}  top-5 same {same}/{count}  input {pixel:.1e}", flush=True)
