"""Times whole training steps of `inception bench --train` against PyTorch's, eager and compiled, and says what memory each took.

Run by hand, on a quiet machine, after `cargo build --release`:
  pip install torch==2.15.0
  python reference/bench_train_peers.py --csv docs/training.csv [--rounds 5] [--cases inception_v4/299 inception_v3/96]
  python reference/bench_train_peers.py --csv docs/training.csv --render     # the table of docs/results.md from the CSV

Both sides train the same graph (torch_net.py) on a batch that stays: forward, cross-entropy with smoothed labels,
backward, weight decay of kernels, clipping to a global norm, Nesterov momentum, running statistics, moving average of
weights and statistics. PyTorch's tensors are channels_last, its optimizer is fused, its average one call for all tensors;
it decays weights after clipping, we before, at the same cost.

A round is one sample of every program, as in bench_peers.py. Bytes are the largest resident memory of the process: ours
from start to end of a process that only trains or, where the report does not tell that apart, of one that has measured
inference before; PyTorch's since it warmed up, so that what compiling takes is left out. `peer_baseline_bytes` are
resident before there is a network: Python, PyTorch and nothing else.
"""
import argparse
import csv
import datetime
import json
import multiprocessing
import pathlib
import statistics
import subprocess
import time

import bench_peers

# Case: our network, side, width, batch.
CASES = {
    "inception_v3/299": ("inception_v3.torchvision", 299, 1.0, 8),
    "inception_v4/299": ("inception_v4", 299, 1.0, 8),
    "inception_resnet_v2/299": ("inception_resnet_v2.slim", 299, 1.0, 8),
    "inception_v3/96": ("inception_v3", 96, 0.25, 64),
    "inception_v4/96": ("inception_v4", 96, 0.25, 64),
    "inception_resnet_v1/96": ("inception_resnet_v1", 96, 0.25, 64),
    "inception_resnet_v2/96": ("inception_resnet_v2", 96, 0.25, 64),
}
PEERS = ["torch", "torch-compiled"]
FIELDS = ["date", "machine", "commit", "network", "side", "width", "batch", "threads", "checkpoint_activations", "peer",
          "round", "ours_ms", "peer_ms", "ours_peak_bytes", "peer_peak_bytes", "peer_baseline_bytes"]


def memory(field):
    """Bytes of this process: VmRSS are resident, VmHWM were at most."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def training(info, batch, compiled):
    """A function that makes one training step and returns its loss, which a trainer would show."""
    import torch
    import torch_net

    net = torch_net.Net(info).formula().to(memory_format=torch.channels_last).train()
    kernels = [weight for name, weight in net.named_parameters() if name.endswith(".weight")]
    others = [weight for name, weight in net.named_parameters() if not name.endswith(".weight")]
    groups = [{"params": kernels, "weight_decay": 1e-4}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=1e-6, momentum=0.9, nesterov=True, fused=True)
    state = list(net.state_dict().values())
    average = [value.clone() for value in state]
    side = info["img_size"]
    x = (torch.arange(batch * side * side * 3) * 7919 % 251 / 125 - 1).reshape(batch, side, side, 3).permute(0, 3, 1, 2)
    labels = torch.arange(batch) % info["classes"]

    def loss():
        return torch.nn.functional.cross_entropy(net(x), labels, label_smoothing=0.1)

    loss = torch.compile(loss) if compiled else loss

    def step():
        optimizer.zero_grad(set_to_none=True)
        value = loss()
        value.backward()
        torch.nn.utils.clip_grad_norm_(kernels + others, 1.0, foreach=True)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(average, state, 0.01)
        return value.item()

    return step


def serve(pipe, peer, info, batch, threads):
    """Trains for as many seconds as it is asked, and answers with the median in milliseconds and its memory."""
    import torch
    import torch_net  # here, so that its imports are below the baseline

    torch.set_num_threads(threads)
    baseline = memory("VmRSS")
    step = training(info, batch, peer == "torch-compiled")
    for _ in range(3):
        step()
    # From here on the largest is counted anew.
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    pipe.send("ready")
    while (seconds := pipe.recv()) is not None:
        times, start = [], time.perf_counter()
        while not times or time.perf_counter() - start < seconds:
            before = time.perf_counter()
            step()
            times.append(time.perf_counter() - before)
        pipe.send((statistics.median(times) * 1e3, memory("VmHWM"), baseline))


def ours(net, side, width, batch, options):
    command = [options.inception, "bench", net, "--train", "--json", "-b", str(batch), "--img-size", str(side)]
    command += ["--width", str(width), "--threads", str(options.threads), "--seconds", str(options.seconds)]
    command += ["--checkpoint-activations"] if options.checkpoint_activations else []
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    peak = report.get("training_peak_memory_bytes") or report["peak_memory_bytes"]
    return report["training"]["median_ms"], peak


def measure(options):
    import torch_net

    context = multiprocessing.get_context("spawn")
    fresh = not options.csv.exists()
    with options.csv.open("a", newline="") as file:
        table = csv.DictWriter(file, FIELDS)
        if fresh:
            table.writeheader()
        for case in options.cases:
            net, side, width, batch = CASES[case]
            batch = options.batch or batch
            info = torch_net.info(net, options.inception, img_size=side, width=width)
            pipes = {}
            for peer in options.peers:
                pipe, other = context.Pipe()
                args = (other, peer, info, batch, options.threads)
                context.Process(target=serve, args=args, daemon=True).start()
                pipe.recv()
                pipes[peer] = pipe
            for number in range(options.rounds):
                mine, peak = ours(net, side, width, batch, options)
                for peer, pipe in pipes.items():
                    time.sleep(0.15)
                    pipe.send(options.seconds)
                    theirs, *bytes = pipe.recv()
                    row = [datetime.date.today(), bench_peers.machine(), bench_peers.commit(), net, side, width, batch]
                    row += [options.threads, int(options.checkpoint_activations), peer, number]
                    row += [f"{mine:.2f}", f"{theirs:.2f}", peak, *bytes]
                    table.writerow(dict(zip(FIELDS, row)))
                    print(*row, flush=True)
                file.flush()
            for pipe in pipes.values():
                pipe.send(None)


def render(options):
    groups = {}
    for row in csv.DictReader(options.csv.open()):
        key = tuple(row[field] for field in FIELDS[1:FIELDS.index("peer") + 1])
        groups.setdefault(key, []).append([float(row[field]) for field in FIELDS[FIELDS.index("ours_ms"):]])
    lines = ["| network | side | width | batch | threads | ours, ms | against | its ms | times as fast (quartiles) | rounds "
             "| ours, GB | its GB (without PyTorch itself) | machine, commit |",
             "|---|--:|--:|--:|--:|--:|---|--:|--:|--:|--:|--:|---|"]
    for (where, commit, net, side, width, batch, threads, again, peer), rows in groups.items():
        mine, theirs, peak, its, baseline = (statistics.median(column) for column in zip(*rows))
        ratios = bench_peers.ratios([theirs / mine for mine, theirs, *_ in rows])
        net += ", activations computed again" if again == "1" else ""
        lines.append(f"| {net} | {side} | {float(width):g} | {batch} | {threads} | {mine:.0f} | {peer} | {theirs:.0f} | {ratios} "
                     f"| {len(rows)} | {peak / 1e9:.2f} | {its / 1e9:.2f} ({(its - baseline) / 1e9:.2f}) | {where}, {commit} |")
    bench_peers.insert(options.results, "training", pathlib.Path(__file__).name, lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=pathlib.Path, required=True)
    parser.add_argument("--render", action="store_true")
    parser.add_argument("--results", type=pathlib.Path, default=bench_peers.RESULTS, help="where the table stands")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--batch", type=int, help="another than the case's own")
    parser.add_argument("--checkpoint-activations", action="store_true", help="ours computes activations again in backward")
    parser.add_argument("--inception", type=pathlib.Path, default=bench_peers.ROOT / "target/release/inception")
    parser.add_argument("--peers", nargs="+", default=PEERS, choices=PEERS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of each program in each round; one step at least")
    options = parser.parse_args()
    render(options) if options.render else measure(options)
