"""Times `inception data bench` against PyTorch's DataLoader with torchvision on the same photographs.

Run by hand, on a quiet machine, after `cargo build --release`:
  pip install torch torchvision pillow
  python reference/bench_loader_peers.py PHOTOS --csv docs/loader.csv [--rounds 9] [--seconds 4]
  python reference/bench_loader_peers.py --csv docs/loader.csv --render      # the table of docs/results.md from the CSV

Both sides read each file in random order, decode it, crop 8 to 100 % of its area, resize that to 299 x 299 by an antialiased bilinear
filter, mirror half of them, distort colours (`colours`: brightness 0.125, contrast and saturation 0.5, hue 0.2; `crops`: not at all),
and make batches of 32 as floats. A round is one sample of each side; the peer's workers live through all rounds and stand still while
the other side runs. The loop that takes the batches does nothing else.
"""
import argparse
import csv
import datetime
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

import bench_peers

SIDE, BATCH = 299, 32
CASES = {"crops": (0.0, 0.0, 0.0, 0.0), "colours": (0.125, 0.5, 0.5, 0.2)}
FIELDS = ["date", "machine", "commit", "case", "workers", "round", "ours_images_per_second", "peer_images_per_second"]


def recipe(case):
    """Our recipe for a case: `paper` but for its colours."""
    brightness, contrast, saturation, hue = CASES[case]
    file = tempfile.NamedTemporaryFile("w", suffix=".toml", delete=False)
    with file:
        file.write(f"""[train]
scale = [0.08, 1.0]
colour = "{"tensorflow" if hue else "jitter"}"
brightness = {brightness}
contrast = {contrast}
saturation = {saturation}
hue = {hue}
""")
    return file.name


def loader(photos, case, workers):
    """Batches without end."""
    import torch
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms
    from torchvision.datasets.folder import default_loader

    steps = [transforms.RandomResizedCrop(SIDE), transforms.RandomHorizontalFlip()]
    if any(CASES[case]):
        steps.append(transforms.ColorJitter(*CASES[case]))
    steps += [transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
    transform = transforms.Compose(steps)
    endings = (".jpg", ".jpeg", ".png")
    paths = sorted(path for path in pathlib.Path(photos).rglob("*") if path.suffix.lower() in endings)

    class Photos(Dataset):
        def __len__(self):
            return len(paths) * 1000

        def __getitem__(self, i):
            return transform(default_loader(paths[i % len(paths)])), 0

    torch.manual_seed(0)
    return iter(DataLoader(Photos(), batch_size=BATCH, shuffle=True, num_workers=workers))


def peer(batches, seconds):
    """Pictures a second, after batches that were made ahead."""
    for _ in range(6):
        next(batches)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        count += len(next(batches)[0])
    rate = count / (time.perf_counter() - start)
    # The workers go on until they are as far ahead as they may be.
    time.sleep(1.0)
    return rate


def ours(options, file):
    command = [options.inception, "data", "bench", options.photos, "--recipe", file, "--img-size", str(SIDE), "-b", str(BATCH),
               "-j", str(options.workers), "--seconds", str(options.seconds), "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["images_per_second"]


def measure(options):
    rows = []
    for case in options.cases:
        batches, file = loader(options.photos, case, options.workers), recipe(case)
        for number in range(options.rounds):
            pair = ours(options, file), peer(batches, options.seconds)
            print(f"{case} {number}: ours {pair[0]:.0f}, peer {pair[1]:.0f} images/s, {pair[0] / pair[1]:.2f}", flush=True)
            rows.append([datetime.date.today().isoformat(), bench_peers.machine(), bench_peers.commit(), case, options.workers,
                         number, f"{pair[0]:.1f}", f"{pair[1]:.1f}"])
        del batches
    return rows


def render(options):
    groups = {}
    for row in csv.DictReader(options.csv.open()):
        key = tuple(row[field] for field in FIELDS[1:FIELDS.index("round")])
        groups.setdefault(key, []).append([float(row[field]) for field in FIELDS[-2:]])
    lines = ["| distortions | threads | ours, images/s | DataLoader and torchvision, images/s | times as fast (quartiles) | rounds "
             "| machine, commit |", "|---|--:|--:|--:|--:|--:|---|"]
    for (where, commit, case, workers), rows in groups.items():
        mine, theirs = (statistics.median(column) for column in zip(*rows))
        ratios = bench_peers.ratios([mine / theirs for mine, theirs in rows])
        lines.append(f"| {case} | {workers} | {mine:.0f} | {theirs:.0f} | {ratios} | {len(rows)} | {where}, {commit} |")
    bench_peers.insert(options.results, "loader", pathlib.Path(__file__).name, lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="?", help="folder of pictures")
    parser.add_argument("--csv", type=pathlib.Path, required=True)
    parser.add_argument("--render", action="store_true")
    parser.add_argument("--results", type=pathlib.Path, default=bench_peers.RESULTS, help="where the table stands")
    parser.add_argument("--inception", type=pathlib.Path, default=bench_peers.ROOT / "target/release/inception")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    options = parser.parse_args()
    if not options.render:
        rows = measure(options)
        with options.csv.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([FIELDS, *rows])
    render(options)
