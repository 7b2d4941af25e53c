"""Whether training with Winograd's and Strassen's products (`--precision default`) goes as with sums of products (`exact`).

Run by hand, after `cargo build --release`, on a folder with train/ and val/:
  python reference/precision_curves.py flowers12 [--net inception_resnet_v1] [--steps 200] [--csv docs/precision.csv]

Rounding alone makes two trainings drift apart, so three runs with the same seed and pictures are made: `exact`, `default`,
and `exact` with a learning rate that is larger by a millionth, less than what one rounding of an f32 weight can hide.
The losses of `default` may differ from those of `exact` as those of the third run do, and are printed beside them: for
each stretch of 20 steps the mean losses and the root mean square of the differences.
"""
import argparse
import csv
import json
import pathlib
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
STRETCH = 20


def losses(options, precision, lr):
    """The loss of every step."""
    with tempfile.TemporaryDirectory() as folder:
        command = [options.inception, "train", options.data, "-m", options.net, "--img-size", "128", "--width", "0.25", "--seed", "1"]
        command += ["--epochs", str(options.epochs), "--set", f"schedule.lr={lr}", "--precision", precision]
        command += ["--log-interval", "1", "--progress", "none", "--output", folder, "--experiment", "run"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        lines = (pathlib.Path(folder) / "run" / "log.jsonl").read_text().splitlines()
    steps = [entry for entry in map(json.loads, lines) if "loss" in entry and "step" in entry]
    return [entry["loss"] for entry in steps][: options.steps]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--net", default="inception_resnet_v1")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=10, help="enough for the steps")
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--csv", type=pathlib.Path)
    parser.add_argument("--inception", type=pathlib.Path, default=ROOT / "target/release/inception")
    options = parser.parse_args()
    exact, default = (losses(options, precision, options.lr) for precision in ("exact", "default"))
    nudged = losses(options, "exact", options.lr * (1 + 1e-6))
    assert len(exact) == len(default) == len(nudged) == options.steps, "fewer steps than asked for: more --epochs"
    if options.csv:
        with options.csv.open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["step", "exact", "default", "exact_nudged"])
            table.writerows(zip(range(1, options.steps + 1), exact, default, nudged))
    print(f"{options.net}\nsteps       exact  default  nudged   rms default−exact  rms nudged−exact")
    for first in range(0, options.steps, STRETCH):
        part = slice(first, first + STRETCH)
        mean = [sum(run[part]) / len(run[part]) for run in (exact, default, nudged)]
        gap = [
            (sum((a - b) ** 2 for a, b in zip(run[part], exact[part])) / len(exact[part])) ** 0.5
            for run in (default, nudged)
        ]
        print(f"{first + 1:>4}–{first + len(exact[part]):<4}   {mean[0]:.4f}   {mean[1]:.4f}  {mean[2]:.4f}   {gap[0]:.5f}            {gap[1]:.5f}")
