"""Times `inception bench` against ONNX Runtime, OpenVINO and PyTorch on the same networks, threads and picture sizes.

Run by hand, on a quiet machine, after `cargo build --release`:
  pip install torch==2.15.0 timm==1.0.31 onnx onnxruntime openvino
  python reference/bench_peers.py --csv docs/inference.csv [--rounds 15] [--nets inception_v4] [--batches 1 8]
  python reference/bench_peers.py --csv docs/inference.csv --render     # the table of docs/results.md from the CSV
  python reference/bench_peers.py --csv docs/files.csv --images DIR [--rounds 5] [--seconds 4] [--nets …] [--batches …]
  python reference/bench_peers.py --csv docs/files.csv --render

With --images it goes from files to labels, on the pictures in a folder: `inception bench --images` against ONNX Runtime
with Pillow and torchvision's arithmetic in Python, decoding between the runs or ahead on threads of its own. Both give
the images a second of all batches after the first.

In every round each program runs once: ours as a process of its own, the others in processes that stay alive, asleep
while they are not asked. A round's number is the median of its runs; a ratio is taken inside a round, and its median
over all rounds is what is reported, so that a change of the machine's speed meets both sides.
"""
import argparse
import collections
import concurrent.futures
import csv
import datetime
import itertools
import json
import multiprocessing
import pathlib
import platform
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs/results.md"
SIDE = 299
# The names of timm, and ours.
NETS = {
    "inception_v3": "inception_v3.torchvision",
    "inception_v4": "inception_v4",
    "inception_resnet_v2": "inception_resnet_v2.slim",
}
RUN = ["date", "machine", "commit", "network", "batch", "threads", "precision", "peer", "round"]
FIELDS = RUN + ["ours_ms", "peer_ms"]
FILES = RUN + ["ours_images_per_second", "peer_images_per_second"]


def model(net):
    import timm

    return timm.create_model(net, pretrained=False).eval()


def export(net, folder):
    import torch

    path = f"{folder}/{net}.onnx"
    torch.onnx.export(model(net), torch.zeros(1, 3, SIDE, SIDE), path, input_names=["x"], output_names=["y"],
                      dynamic_axes={"x": {0: "n"}, "y": {0: "n"}}, dynamo=False)


def onnx_session(net, threads, folder):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Workers that spin after a run would take the cores of the next program.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(f"{folder}/{net}.onnx", options, providers=["CPUExecutionProvider"])


def onnxruntime(net, batch, threads, folder):
    import numpy

    session = onnx_session(net, threads, folder)
    x = numpy.random.default_rng(0).standard_normal((batch, 3, SIDE, SIDE), dtype=numpy.float32)
    return lambda: session.run(None, {"x": x})


def openvino(net, batch, threads, folder):
    import numpy
    import openvino

    core = openvino.Core()
    graph = core.read_model(f"{folder}/{net}.onnx")
    graph.reshape([batch, 3, SIDE, SIDE])
    hints = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(graph, "CPU", hints).create_infer_request()
    x = numpy.random.default_rng(0).standard_normal((batch, 3, SIDE, SIDE), dtype=numpy.float32)
    return lambda: request.infer({0: x})


def torch_eager(net, batch, threads, folder, compiled=False):
    import torch

    torch.set_num_threads(threads)
    network = model(net).to(memory_format=torch.channels_last)
    if compiled:
        network = torch.compile(network)
    x = torch.randn(batch, 3, SIDE, SIDE).to(memory_format=torch.channels_last)

    def run():
        with torch.inference_mode():
            network(x)

    return run


def torch_compiled(*args):
    return torch_eager(*args, compiled=True)


PEERS = {"onnxruntime": onnxruntime, "openvino": openvino, "torch": torch_eager, "torch-compiled": torch_compiled}


def serve(pipe, peer, *args):
    """Runs the peer for as many seconds as it is asked, and answers with the median in milliseconds."""
    run = PEERS[peer](*args)
    for _ in range(3):
        run()
    pipe.send("ready")
    while (seconds := pipe.recv()) is not None:
        times, start = [], time.perf_counter()
        run()
        while len(times) < 2 or time.perf_counter() - start < seconds:
            before = time.perf_counter()
            run()
            times.append(time.perf_counter() - before)
        pipe.send(statistics.median(times) * 1e3)


def square(path):
    """torchvision's Resize(341, bicubic), CenterCrop(299), ToTensor and Normalize(0.5, 0.5), without torch."""
    import numpy
    from PIL import Image

    picture = Image.open(path).convert("RGB")
    short, (width, height) = int(SIDE / 0.875), picture.size
    size = (short, int(short * height / width)) if width <= height else (int(short * width / height), short)
    picture = picture.resize(size, Image.Resampling.BICUBIC)
    left, top = (round((side - SIDE) / 2) for side in size)
    pixels = numpy.asarray(picture.crop((left, top, left + SIDE, top + SIDE)), dtype=numpy.float32)
    return (pixels.transpose(2, 0, 1) / 255 - 0.5) / 0.5


def from_files(net, batch, threads, folder, images, workers):
    """A function that answers pictures for so many seconds and returns how many a second."""
    import numpy

    session = onnx_session(net, threads, folder)
    endings = (".jpg", ".jpeg", ".png")
    paths = sorted(path for path in pathlib.Path(images).rglob("*") if path.suffix.lower() in endings)
    endless = itertools.cycle(paths)
    pool = concurrent.futures.ThreadPoolExecutor(workers) if workers else None
    ahead = collections.deque()

    def squares():
        if not pool:
            return [square(next(endless)) for _ in range(batch)]
        while len(ahead) < 2 * batch:
            ahead.append(pool.submit(square, next(endless)))
        now = [ahead.popleft().result() for _ in range(batch)]
        ahead.extend(pool.submit(square, next(endless)) for _ in range(batch))
        return now

    def answer():
        logits = session.run(None, {"x": numpy.stack(squares())})[0]
        return logits.argmax(axis=1)

    def run(seconds):
        answer()
        count, start = 0, time.perf_counter()
        while count < 2 * batch or time.perf_counter() - start < seconds:
            count += len(answer())
        rate = count / (time.perf_counter() - start)
        # What is still being decoded would take the cores of the next program.
        concurrent.futures.wait(ahead)
        return rate

    return run


# Decoding threads of the peer.
FILE_PEERS = {"onnxruntime+pillow": 0, "onnxruntime+pillow, 2 threads ahead": 2}


def serve_files(pipe, peer, net, batch, threads, folder, images):
    run = from_files(net, batch, threads, folder, images, FILE_PEERS[peer])
    pipe.send("ready")
    while (seconds := pipe.recv()) is not None:
        pipe.send(run(seconds))


def ours(net, batch, options):
    command = [options.inception, "bench", NETS[net], "-b", str(batch), "--threads", str(options.threads)]
    command += ["--precision", options.precision, "--seconds", str(options.seconds), "--json"]
    command += ["--images", options.images] if options.images else []
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return report["images"]["images_per_second"] if options.images else report["inference"]["median_ms"]


def machine():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    found = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    vectors = [isa for isa in ("avx512f", "avx2") if isa in found.get("flags", "").split()]
    return f"{found.get('model name', platform.machine())} family {found.get('cpu family')}, {(vectors or ['no AVX2'])[0]}"


def commit():
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()


def measure(options):
    context = multiprocessing.get_context("spawn")
    fresh = not options.csv.exists()
    fields, target, more = (FILES, serve_files, [options.images]) if options.images else (FIELDS, serve, [])
    peers = FILE_PEERS if options.images else options.peers
    with tempfile.TemporaryDirectory() as folder, options.csv.open("a", newline="") as file:
        table = csv.DictWriter(file, fields)
        if fresh:
            table.writeheader()
        for net in options.nets:
            if options.onnx:
                pathlib.Path(folder, f"{net}.onnx").symlink_to((options.onnx / f"{net}.onnx").resolve())
            else:
                context.Process(target=export, args=(net, folder)).run()
            for batch in options.batches:
                pipes = {}
                for peer in peers:
                    pipe, other = context.Pipe()
                    args = (other, peer, net, batch, options.threads, folder, *more)
                    context.Process(target=target, args=args, daemon=True).start()
                    pipe.recv()
                    pipes[peer] = pipe
                for number in range(options.rounds):
                    mine = ours(net, batch, options)
                    for peer, pipe in pipes.items():
                        time.sleep(0.15)
                        pipe.send(options.seconds)
                        row = [datetime.date.today(), machine(), commit(), net, batch, options.threads, options.precision]
                        row += [peer, number, f"{mine:.2f}", f"{pipe.recv():.2f}"]
                        table.writerow(dict(zip(fields, row)))
                        print(*row, flush=True)
                    file.flush()
                for pipe in pipes.values():
                    pipe.send(None)


def ratios(values):
    """Median and quartiles."""
    values = sorted(values)
    low, high = values[len(values) // 4], values[(3 * len(values)) // 4]
    return f"**{statistics.median(values):.2f}** ({low:.2f}–{high:.2f})"


def write(path, fields, rows):
    """A CSV of rows, each of which is there as soon as it is measured."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(fields)
        for row in rows:
            writer.writerow(row)
            file.flush()


def insert(path, name, script, lines):
    """Puts the lines of a table between its marks."""
    text = path.read_text()
    start, end = f"<!-- {name}: made by reference/{script} --render -->\n", f"<!-- end of {name} -->"
    before, rest = text.split(start)
    path.write_text(before + start + "\n".join(lines) + "\n" + end + rest.split(end)[1])


def render(options):
    groups, rows = {}, list(csv.DictReader(options.csv.open()))
    # Times and rates: the larger the better or the worse.
    rates = FILES[-2] in rows[0]
    name, unit = ("files", "images/s") if rates else ("inference", "ms")
    for row in rows:
        key = tuple(row[field] for field in ("machine", "commit", "network", "batch", "threads", "precision"))
        pair = tuple(float(row[field]) for field in (FILES if rates else FIELDS)[-2:])
        groups.setdefault(key, {}).setdefault(row["peer"], []).append(pair)
    lines = [f"| network | batch | threads | precision | ours, {unit} | against | its {unit} | times as fast (quartiles) | rounds | machine, commit |",
             "|---|--:|--:|---|--:|---|--:|--:|--:|---|"]
    for (where, commit, net, batch, threads, precision), peers in groups.items():
        for peer, pairs in peers.items():
            times = ratios(mine / peer if rates else peer / mine for mine, peer in pairs)
            mine, theirs = (statistics.median(side) for side in zip(*pairs))
            lines.append(f"| {net} | {batch} | {threads} | {precision} | {mine:.1f} | {peer} | {theirs:.1f} "
                         f"| {times} | {len(pairs)} | {where}, {commit} |")
    insert(RESULTS, name, "bench_peers.py", lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=pathlib.Path, required=True)
    parser.add_argument("--render", action="store_true")
    parser.add_argument("--nets", nargs="+", default=list(NETS), choices=list(NETS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--images", metavar="DIR", help="from files to labels, on the pictures in this folder")
    parser.add_argument("--onnx", type=pathlib.Path, metavar="DIR", help="NET.onnx, exported before")
    parser.add_argument("--inception", type=pathlib.Path, default=ROOT / "target/release/inception")
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="default")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each program in each round")
    options = parser.parse_args()
    render(options) if options.render else measure(options)
