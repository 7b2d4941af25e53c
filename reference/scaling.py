"""Holds the forecast of `inception dist` against steps that ranks take here, over memory and over wires of reference/hosts.py.

Run by hand, as root, on a quiet machine, after `cargo build --release --features mpi`:
  python reference/scaling.py --csv docs/scaling.csv [--rounds 3] [--seconds 10]
  python reference/scaling.py --csv docs/scaling.csv --render      # the table of docs/scaling.md from the CSV

A point is one `inception dist doctor -m NET`: it measures sums of several sizes over the wire, the steps of each rank while none waits for
another, and, held against the forecast that follows from the two, steps of all together.
"""
import argparse
import csv
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys

import bench_peers

# Hosts, and the flags of reference/hosts.py; without hosts all ranks share the machine's memory.
WIRES = {
    "memory": None,
    "a wire as fast as it can be": [],
    "1 Gbit/s, 1 ms": ["--rate", "1000", "--delay", "1"],
    "200 Mbit/s, 5 ms": ["--rate", "200", "--delay", "5"],
    "100 Mbit/s, 20 ms": ["--rate", "100", "--delay", "20"],
}
# Network, side, width, pictures of each rank.
NETS = [("inception_resnet_v1", 75, 0.25, 32), ("inception_v4", 107, 0.25, 32), ("inception_v4", 299, 1, 4)]
# Ranks, of one thread each.
RANKS = [2, 4]
FIELDS = ["date", "machine", "commit", "wire", "ranks", "network", "side", "width", "batch", "round", "latency_us", "megabytes_per_second",
          "alone_ms", "measured_ms", "forecast_ms", "hidden"]


def doctor(options, wire, ranks, net, side, width, batch):
    command = [options.inception, "dist", "doctor", "-m", net, "--img-size", side, "--width", width, "-b", ranks * batch,
               "--threads", 1, "--seconds", options.seconds, "--json"]
    if WIRES[wire] is None:
        start = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", ranks]
    else:
        hosts = bench_peers.ROOT / "reference/hosts.py"
        start = [sys.executable, hosts, 2, *WIRES[wire], "--slots", ranks // 2, "--", "mpirun", "{mpi}", "-n", ranks]
    environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                       OMPI_MCA_btl_vader_single_copy_mechanism="none")
    # Four ranks share two cores here: the doctor says that this is wrong, and ends with 1.
    ended = subprocess.run([str(word) for word in start + command], capture_output=True, text=True, env=environment, check=False)
    if ended.returncode not in (0, 1) or not ended.stdout.startswith("{"):
        raise RuntimeError(f"{command} ended with {ended.returncode}: {ended.stderr}")
    found = json.loads(ended.stdout)
    together, link, forecast = found["steps"]["together"], found["link"], found["forecasts"][0]
    work = found["steps"]["work"]
    alone = work["sums"][-1][1] + work["update"]
    assert forecast["ranks"] == ranks, forecast
    return [f"{1e6 * link['latency']:.0f}", f"{link['bandwidth'] / 1e6:.0f}", f"{1e3 * alone:.1f}", f"{together['median_ms']:.1f}",
            f"{1e3 * forecast['total']:.1f}", f"{together['sums']['hidden']:.2f}"]


def measure(options):
    about = [datetime.date.today().isoformat(), bench_peers.machine(), bench_peers.commit()]
    for turn in range(1, options.rounds + 1):
        for wire in WIRES:
            for ranks in RANKS:
                for net, side, width, batch in NETS:
                    if ranks > 2 and side == 299:
                        continue
                    point = [wire, ranks, net, side, width, batch]
                    row = [*about, *point, turn, *doctor(options, *point)]
                    print(*row, flush=True)
                    yield row


def render(options):
    lines = ["| between ranks | ranks | network | side | width | pictures a rank | link, µs, MB/s | a rank alone, ms | together, ms | forecast, ms | off by | hidden |",
             "|---|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
    points = {}
    for row in csv.DictReader(options.csv.open()):
        points.setdefault(tuple(row[key] for key in FIELDS[3:9]), []).append(row)
    for key, rows in points.items():
        # The round whose forecast is off by the median.
        def off(row):
            return float(row["forecast_ms"]) / float(row["measured_ms"]) - 1
        row = sorted(rows, key=off)[(len(rows) - 1) // 2]
        wire, ranks, net, side, width, batch = key
        lines.append(f"| {wire} | {ranks} | {net} | {side} | {width} | {batch} | {row['latency_us']}, {row['megabytes_per_second']} "
                     f"| {row['alone_ms']} | {row['measured_ms']} | {row['forecast_ms']} | **{100 * off(row):+.0f} %** | {100 * float(row['hidden']):.0f} % |")
    worst = max(abs(statistics.median(float(row["forecast_ms"]) / float(row["measured_ms"]) - 1 for row in rows)) for rows in points.values())
    where = {(row["machine"], row["commit"]) for rows in points.values() for row in rows}
    lines += ["", f"Medians of {max(map(len, points.values()))} rounds; the largest is off by {100 * worst:.0f} %. " + "; ".join(f"{machine}, commit {commit}" for machine, commit in sorted(where)) + "."]
    bench_peers.insert(options.results, "scaling", pathlib.Path(__file__).name, lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=pathlib.Path, required=True)
    parser.add_argument("--render", action="store_true")
    parser.add_argument("--results", type=pathlib.Path, default=bench_peers.ROOT / "docs/scaling.md", help="where the table stands")
    parser.add_argument("--inception", type=pathlib.Path, default=bench_peers.ROOT / "target/release/inception")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    if not options.render:
        bench_peers.write(options.csv, FIELDS, measure(options))
    render(options)
