"""What scikit-learn and NumPy make of 600 answers given by a formula, as `crates/inception/tests/judge.rs` compares it.

numpy 2.4.6, scikit-learn 1.9.1; run by hand:

    pip install numpy scikit-learn
    python reference/judge.py     # crates/inception/tests/fixtures/judged.json

Intervals are percentiles of 20,000 resamples, so that what remains of chance is that of ours.
"""
import json
import pathlib

import numpy as np
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support, top_k_accuracy_score

OUT = pathlib.Path(__file__).parent.parent / "crates/inception/tests/fixtures/judged.json"
CLASSES, PICTURES, BINS, RESAMPLES = 7, 600, 15, 20_000


def answers():
    """Labels and logits, exact in f32, no two of a row equal."""
    i, j = np.arange(PICTURES)[:, None], np.arange(CLASSES)[None, :]
    labels = (3 * i * i + 5 * i + i // 7)[:, 0] % CLASSES
    logits = ((31 * i + 17 * j + 7 * i * j) % 41) / 8 + j / 64
    logits[np.arange(PICTURES), labels] += np.where(np.arange(PICTURES) % 3 == 0, 0.0, 2.5)
    return labels, logits


def calibration_error(gaps, bins, drawn):
    return sum(abs(gaps[drawn][bins[drawn] == b].sum()) for b in range(BINS)) / len(drawn)


if __name__ == "__main__":
    labels, logits = answers()
    probs = np.exp(logits - logits.max(1, keepdims=True))
    probs /= probs.sum(1, keepdims=True)
    answer, best, every = probs.argmax(1), probs.max(1), np.arange(CLASSES)
    edges = np.linspace(0, 1, BINS + 1)
    bins = np.digitize(best, edges, right=True) - 1
    gaps = (answer == labels) - best
    losses = -np.log(probs[np.arange(PICTURES), labels])
    wrong1 = answer != labels
    wrong5 = ~(np.argsort(-probs, 1)[:, :5] == labels[:, None]).any(1)
    precision, recall, f1, support = precision_recall_fscore_support(labels, answer, labels=every, zero_division=np.nan)
    random = np.random.default_rng(1)
    resamples = []
    for _ in range(RESAMPLES):
        drawn = random.integers(0, PICTURES, PICTURES)
        sums = np.bincount(bins[drawn], weights=gaps[drawn], minlength=BINS)
        resamples.append((losses[drawn].mean(), wrong1[drawn].mean(), wrong5[drawn].mean(), np.abs(sums).sum() / PICTURES))
    intervals = np.percentile(resamples, [2.5, 97.5], axis=0)
    found = {
        "loss": log_loss(labels, probs, labels=every),
        "top1_error": 1 - top_k_accuracy_score(labels, probs, k=1, labels=every),
        "top5_error": 1 - top_k_accuracy_score(labels, probs, k=5, labels=every),
        "calibration_error": calibration_error(gaps, bins, np.arange(PICTURES)),
        "bins": np.bincount(bins, minlength=BINS).tolist(),
        "intervals": dict(zip(["loss", "top1_error", "top5_error", "calibration_error"], intervals.T.tolist())),
        "precision": precision.tolist(),
        "recall": recall.tolist(),
        "f1": f1.tolist(),
        "confusion": confusion_matrix(labels, answer, labels=every).tolist(),
    }
    rows = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in found.items()]
    OUT.write_text("{\n" + ",\n".join(rows) + "\n}\n")
