"""Kills a training run again and again, lets it go on each time, and compares what it leaves with an undisturbed run's.

Run by hand, after `cargo build --release`, with what `inception train` takes behind `--`:
  python reference/kill_and_resume.py --kills 20 -- cifar10 -m inception_resnet_v1 --img-size 75 --width 0.1 -b 64 --epochs 2

Moments are drawn evenly over the time that the undisturbed run took. A small --save-interval lets the killed run get ahead.
"""
import argparse
import pathlib
import random
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SAME = ["last.safetensors", "best.safetensors", "summary.csv"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--inception", type=pathlib.Path, default=ROOT / "target/release/inception")
    parser.add_argument("train", nargs="+")
    options = parser.parse_args()
    moments = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:

        def start(name, *more):
            command = [options.inception, "train", *options.train, "--output", folder, "--experiment", name, *more]
            return subprocess.Popen(command, stderr=subprocess.DEVNULL)

        begun = time.monotonic()
        assert start("whole").wait() == 0, "the undisturbed run failed"
        whole = time.monotonic() - begun
        print(f"undisturbed: {whole:.0f} s", flush=True)
        kills = 0
        while True:
            run = start("killed", "--resume", "auto", "--save-interval", str(whole / 60 / 100))
            try:
                code = run.wait(moments.uniform(0, 2 * whole / options.kills) if kills < options.kills else None)
            except subprocess.TimeoutExpired:
                run.kill()
                run.wait()
                kills += 1
                continue
            assert code == 0, f"the run ended with {code}"
            break
        states = [(pathlib.Path(folder) / run / name).read_bytes() for name in SAME for run in ("whole", "killed")]
        for i, name in enumerate(SAME):
            assert states[2 * i] == states[2 * i + 1], f"{name} differs"
        print(f"killed {kills} times: {', '.join(SAME)} are the same, byte by byte")


if __name__ == "__main__":
    main()
