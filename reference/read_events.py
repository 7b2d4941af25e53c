"""Reads a run's event files with TensorBoard's own reader and compares every scalar with the run's log.jsonl.

Run by hand, on the folder of a run, stopped and resumed or not:
  pip install tensorboard==2.21.0
  python reference/read_events.py output/train/RUN

TensorBoard must see what the log tells, each value once at its step: `train/…` of the records of kind "step", `eval/…` of
those of kind "eval". After --resume the log is cut, while in the event files a START says what no longer holds.
"""
import json
import pathlib
import sys

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

TRAIN = {f"train/{key}": key for key in ("loss", "top1_error", "lr", "grad_norm", "images_per_s", "data_wait")}
EVAL = {f"eval/{key}": f"eval_{key}" for key in ("loss", "top1_error", "top5_error")}


def main():
    folder = pathlib.Path(sys.argv[1])
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    reader = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    assert reader.file_version == 2.0, reader.file_version
    assert set(reader.Tags()["scalars"]) <= set(TRAIN | EVAL), reader.Tags()
    total = 0
    for tags, kind in ((TRAIN, "step"), (EVAL, "eval")):
        of_kind = [record for record in records if record["kind"] == kind]
        for tag, key in tags.items():
            # JSON has null for what is no number.
            expected = [(r["step"], np.float32("nan" if r[key] is None else r[key])) for r in of_kind]
            found = [(e.step, np.float32(e.value)) for e in reader.Scalars(tag)] if of_kind else []
            np.testing.assert_array_equal(np.array(found), np.array(expected), err_msg=tag)
            total += len(found)
    files = len(list(folder.glob("events.out.tfevents.*")))
    print(f"{total} scalars in {files} files are those of log.jsonl")


if __name__ == "__main__":
    main()
