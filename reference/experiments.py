"""Tables and figures of the experiments in docs/experiments, put into docs/results.md.

Run by hand, after `inception compare --redraw docs/experiments/NAME`:
  python reference/experiments.py --render
"""
import argparse

import bench_peers

FOLDER = bench_peers.ROOT / "docs/experiments"

# Figures that docs/results.md shows; the page of each experiment has all of them.
FIGURES = {
    "residual": ["inception_v3-inception_resnet_v1-top1", "inception_v4-inception_resnet_v2-top1", "all-top5", "all-average"],
    "scaling": ["inception_resnet_v1-dead", "inception_resnet_v1-spread", "inception_resnet_v1-loss", "inception_resnet_v1-top1"],
    "optimizer": ["inception_resnet_v1-top1"],
}


def section(name):
    """The lines of an experiment's page, with the figures that are shown and a link to it."""
    page = (FOLDER / name / "compare.md").read_text()
    for figure in FIGURES[name]:
        assert f"({figure}.svg)" in page, f"{name} has no figure {figure}"
    lines = [line for line in page.splitlines() if not line.startswith("![")]
    while lines[-1] == "":
        lines.pop()
    figures = [line for figure in FIGURES[name] for line in ["", f"![{figure}](experiments/{name}/{figure}.svg)"]]
    return lines + figures + ["", f"All figures: [experiments/{name}](experiments/{name}/compare.md)"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--render", action="store_true", required=True)
    parser.parse_args()
    for name in FIGURES:
        bench_peers.insert(bench_peers.RESULTS, name, "experiments.py", section(name))
