"""Makes the small PyTorch files of crates/formats/tests/fixtures/pytorch and, as JSON, what PyTorch reads in them.

Run by hand: pip install torch==2.15.0 numpy; python reference/pytorch_files.py

A file NAME.pth has its tensors, in order, in NAME.json: name, dtype, shape, values as f32. A file without a JSON is one
that must be refused.
"""
import argparse
import collections
import json
import os
import pathlib
import pickle

import numpy as np
import torch

OUT = pathlib.Path(__file__).parent.parent / "crates/formats/tests/fixtures/pytorch"
OUT.mkdir(parents=True, exist_ok=True)
DTYPES = {
    torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.bfloat16: "BF16", torch.int8: "I8",
    torch.uint8: "U8", torch.int16: "I16", torch.int32: "I32", torch.int64: "I64", torch.bool: "BOOL",
}


def save(name, value, weights, **options):
    torch.save(value, OUT / f"{name}.pth", **options)
    tensors = [
        {"name": key, "dtype": DTYPES[t.dtype], "shape": list(t.shape), "values": t.detach().float().flatten().tolist()}
        for key, t in weights.items()
    ]
    (OUT / f"{name}.json").write_text(json.dumps(tensors) + "\n")


def network():
    """Layers are added so that their order is not that of their names."""
    torch.manual_seed(7)
    return torch.nn.Sequential(collections.OrderedDict([
        ("stem", torch.nn.Conv2d(2, 3, (1, 3), bias=False)),
        ("bn", torch.nn.BatchNorm2d(3, eps=0.001)),
        ("fc", torch.nn.Linear(3, 2)),
        ("aux", torch.nn.Linear(2, 1)),
    ]))


net = network()
state = net.state_dict()
assert hasattr(state, "_metadata")
save("state", state, state)
save("legacy", state, state, _use_new_zipfile_serialization=False)

optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
net.fc(torch.ones(1, 3)).sum().backward()
optimizer.step()
parallel = collections.OrderedDict((f"module.{key}", value) for key, value in net.state_dict().items())
average = {key: value + 1 for key, value in parallel.items()}
checkpoint = {
    "epoch": 90, "arch": "inception_v3", "best_acc1": torch.tensor(77.5), "optimizer": optimizer.state_dict(),
    "state_dict_ema": average, "state_dict": parallel, "lr": 0.045, "done": True, "history": [1, 2.5, None, {3}],
    "big": 1 << 80, "size": torch.Size([1, 2]), "device": torch.device("cpu"),
}
# The averages, as timm evaluates.
save("checkpoint", checkpoint, average)
save("checkpoint_legacy", checkpoint, average, _use_new_zipfile_serialization=False)
save("only_ema", {"ema": average, "optimizer": optimizer.state_dict()}, average)
# An average of some of the weights is no network.
save("partial_ema", {"model": parallel, "model_ema": dict(list(average.items())[:2])}, parallel)

# What torchvision's, timm's and Lightning's training programs keep beside the weights.
arguments = {
    "args": argparse.Namespace(data=pathlib.PurePosixPath("/data"), lr=0.1, resume=None), "metric": np.float64(77.5),
    "losses": np.arange(3), "type": np.dtype("float32"), "seen": collections.defaultdict(dict, a={"b": 1}),
    "lists": collections.defaultdict(list, a=[2]), "counts": collections.Counter({"a": 2}), "raw": b"raw",
    "numbers": [1 + 2j, bytearray(b"x"), {1, 2}], "model": state,
}
save("arguments", arguments, state)
save("arguments_legacy", arguments, state, _use_new_zipfile_serialization=False)

base = torch.arange(24, dtype=torch.float32)
views = {
    "whole": base.view(2, 3, 4), "permuted": base.view(2, 3, 4).permute(2, 0, 1), "transposed": base.view(4, 6).t(),
    "offset": base[5:11], "strided": base.view(4, 6)[1:, ::2], "expanded": base[3:5].view(2, 1).expand(2, 3),
    "scalar": base[7], "nothing": base[:0].view(0, 3), "channels_last": torch.arange(24.0).view(1, 2, 3, 4).contiguous(
        memory_format=torch.channels_last),
}
assert views["permuted"].data_ptr() == views["whole"].data_ptr()
save("views", views, views)
save("views_legacy", views, views, _use_new_zipfile_serialization=False)

types = {
    name.lower(): torch.tensor([[1, 0, 3], [1, 1, 0]]).to(dtype) if dtype == torch.bool else
    (torch.tensor([[1, -2, 3], [100, 0, 7]]).abs() if dtype == torch.uint8 else torch.tensor([[1, -2, 3], [100, 0, 7]])).to(dtype)
    for dtype, name in DTYPES.items()
}
types["half_fraction"] = torch.tensor([0.333251953125, 65504.0, 5.960464477539063e-08]).half()
types["num_batches_tracked"] = torch.tensor(12345, dtype=torch.int64)
types["parameter"] = torch.nn.Parameter(torch.tensor([[1.5, -2.5]]))
types["frozen"] = torch.nn.Parameter(torch.tensor([0.25]), requires_grad=False)
save("types", types, types)
save("types_legacy", types, types, _use_new_zipfile_serialization=False)
save("protocol4", types, types, pickle_protocol=4)

torch.save(net, OUT / "model.pth")
torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 1), torch.ones(1, 2)), str(OUT / "torchscript.pth"))


class Evil:
    def __reduce__(self):
        return os.system, ("echo the pickle ran code",)


torch.save({"state_dict": state, "x": Evil()}, OUT / "evil.pth")
torch.save({"state_dict": state, "x": Evil()}, OUT / "evil_legacy.pth", _use_new_zipfile_serialization=False)
(OUT / "evil.pkl").write_bytes(pickle.dumps({"x": Evil()}, protocol=4))
torch.save(torch.arange(3.0), OUT / "tensor.pth")
torch.save({"w": base[:1].expand(1 << 14, 1 << 14)}, OUT / "repeated.pth")
