"""Errors of trained networks by one view, 12 and 144 crops, alone and together, as in the paper's tables 3 to 5.

Run by hand, after `cargo build --release`:
  python reference/crops_and_ensembles.py DATA CHECKPOINT ... --csv docs/experiments/crops.csv
  python reference/crops_and_ensembles.py --csv docs/experiments/crops.csv --render      # the table of docs/results.md from the CSV

Each network is asked once a protocol: the ensemble takes the logits that `inception eval` has kept.
"""
import argparse
import csv
import datetime
import json
import pathlib
import subprocess
import time

import bench_peers

CROPS = [1, 12, 144]
NUMBERS = ["eval_top1_error", "eval_top1_error_interval", "eval_top5_error", "eval_top5_error_interval", "eval_loss", "calibration_error"]
FIELDS = ["date", "machine", "commit", "networks", "crops", "pictures", "seconds", "top1", "top1_from", "top1_to", "top5", "top5_from",
          "top5_to", "loss", "calibration"]


def evaluate(options, checkpoints, crops):
    command = [options.inception, "eval", "-w", checkpoints[0], options.data, "--crops", str(crops), "--json", "-b", "64",
               "--logits-cache", options.cache]
    for other in checkpoints[1:]:
        command += ["--ensemble", other]
    start = time.time()
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    top1, (from1, to1), top5, (from5, to5), loss, calibration = (found[key] for key in NUMBERS)
    return [found["count"], f"{time.time() - start:.0f}", top1, from1, to1, top5, from5, to5, loss, calibration]


def measure(options):
    date, where, commit = datetime.date.today().isoformat(), bench_peers.machine(), bench_peers.commit()
    names = [json.loads(subprocess.run([options.inception, "info", file, "--json"], check=True, capture_output=True, text=True).stdout)
             for file in options.checkpoints]
    names = [info["net"] if "net" in info else info["metadata"]["net"] for info in names]
    groups = [([name], [file]) for name, file in zip(names, options.checkpoints)] + [(names, options.checkpoints)]
    for networks, files in groups:
        for crops in CROPS:
            row = [date, where, commit, " + ".join(networks), crops, *evaluate(options, files, crops)]
            print(*row, flush=True)
            yield row


def render(options):
    lines = ["| networks | crops | top-1 error, % (95 %) | top-5 error, % (95 %) | loss | calibration error, % |", "|---|--:|--:|--:|--:|--:|"]
    for row in csv.DictReader(options.csv.open()):
        error = {key: [f"{100 * float(row[key + end]):.2f}" for end in ("", "_from", "_to")] for key in ("top1", "top5")}
        cells = [f"**{value}** ({low}–{high})" for value, low, high in error.values()]
        lines.append(f"| {row['networks']} | {row['crops']} | {cells[0]} | {cells[1]} | {float(row['loss']):.3f} "
                     f"| {100 * float(row['calibration']):.2f} |")
    bench_peers.insert(options.results, "crops", pathlib.Path(__file__).name, lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="labelled pictures")
    parser.add_argument("checkpoints", nargs="*")
    parser.add_argument("--csv", type=pathlib.Path, required=True)
    parser.add_argument("--render", action="store_true")
    parser.add_argument("--results", type=pathlib.Path, default=bench_peers.RESULTS, help="where the table stands")
    parser.add_argument("--inception", type=pathlib.Path, default=bench_peers.ROOT / "target/release/inception")
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path("output/eval/logits"))
    options = parser.parse_args()
    if not options.render:
        bench_peers.write(options.csv, FIELDS, measure(options))
    render(options)
