"""The networks as PyTorch modules, built from the graph that `inception info NET --json` writes.

    net = torch_net.Net(torch_net.info("inception_v4", img_size=96, width=0.25))
    net.formula()                   # the weights of formula.py, as crates/inception/src/weights/formula.rs computes them
    logits = net(x)                 # x: [n, 3, side, side]

Every box is a module that has the box's name, so `mixed_5b/b1/0.weight` is our `mixed_5b/b1/0/weight`. Kernels are as
PyTorch has them, [out, in, kh, kw]. In-place ReLUs, and values that nobody reads any more leave memory, as in networks
that are written by hand.
"""
import json
import pathlib
import subprocess

import numpy
import torch
import torch.nn.functional as F

import formula

INCEPTION = pathlib.Path(__file__).resolve().parent.parent / "target/release/inception"


def info(net, inception=INCEPTION, **flags):
    """What `inception info` says about a network; flags are `img_size`, `width`, `classes`."""
    more = [text for flag, value in flags.items() for text in (f"--{flag.replace('_', '-')}", str(value))]
    return json.loads(subprocess.run([inception, "info", net, "--json", *more], check=True, capture_output=True).stdout)


class Box(torch.nn.Module):
    def __init__(self, net, node):
        super().__init__()
        self.net, self.node = net, node
        for param in node["params"]:
            role, shape = param["role"], param["shape"]
            tensor = torch.zeros([shape[i] for i in torch_axes(len(shape))])
            if role in ("mean", "variance"):
                self.register_buffer(role, tensor)
            else:
                self.register_parameter(role, torch.nn.Parameter(tensor))

    def extra_repr(self):
        return " ".join(f"{key}={value}" for key, value in self.node.items() if key not in ("name", "inputs", "params"))


class Conv(Box):
    def forward(self, x):
        after, bias = self.node["after"], getattr(self, "bias", None)
        y = F.conv2d(x, self.weight, bias, self.node["stride"], self.node["padding"])
        if after == "bias":
            return y
        momentum, epsilon = 1 - self.net["bn_decay"], self.net["bn_epsilon"]
        y = F.batch_norm(y, self.mean, self.variance, self.gamma, self.beta, self.training, momentum, epsilon)
        return F.relu_(y) if after == "bn_relu" else y


class MaxPool(Box):
    def forward(self, x):
        return F.max_pool2d(x, self.node["size"], self.node["stride"], self.node["padding"])


class AvgPool(Box):
    def forward(self, x):
        node = self.node
        counted = node["count_padding"]
        return F.avg_pool2d(x, node["size"], node["stride"], node["padding"], count_include_pad=counted)


class Concat(Box):
    def forward(self, *parts):
        return torch.cat(parts, 1)


class Residual(Box):
    def forward(self, x, f):
        y = torch.add(x, f, alpha=self.node["scale"])
        return F.relu_(y) if self.node["relu"] else y


class GlobalAvgPool(Box):
    def forward(self, x):
        return x.mean((2, 3))


class Dropout(Box):
    """`mask`, where it is set, holds the factors of all values."""
    mask = None

    def forward(self, x):
        if self.training and self.mask is not None:
            return x * self.mask
        return F.dropout(x, 1 - self.node["keep"], self.training)


class Linear(Box):
    def forward(self, x):
        return F.linear(x, self.weight, self.bias)


KINDS = {"conv": Conv, "max_pool": MaxPool, "avg_pool": AvgPool, "concat": Concat, "residual": Residual,
         "global_avg_pool": GlobalAvgPool, "dropout": Dropout, "linear": Linear}


class Net(torch.nn.Module):
    """The network up to its output `logits`."""

    def __init__(self, info, bn_decay=0.9):
        super().__init__()
        shared = {"bn_epsilon": info["bn_epsilon"], "bn_decay": bn_decay}
        self.nodes = info["nodes"]
        self.steps = []
        last_read = {source: node["name"] for node in self.nodes for source in node["inputs"]}
        for node in self.nodes[1:]:
            name, inputs = node["name"], node["inputs"]
            self.add_module(name, KINDS[node["op"]](shared, node))
            self.steps.append((name, inputs, [source for source in set(inputs) if last_read[source] == name]))
        assert name == "logits", f"{info['net']} has no classifier at its end"

    def forward(self, x):
        values = {self.nodes[0]["name"]: x}
        for name, inputs, done in self.steps:
            values[name] = self._modules[name](*[values[source] for source in inputs])
            for source in done:
                del values[source]
        return values["logits"]

    def params(self):
        """Trained tensors and running statistics under their canonical names."""
        return {name.replace(".", "/"): tensor for name, tensor in self.state_dict().items()}

    def formula(self, seed=0):
        """Fills in the weights of formula.py."""
        tensors = self.params()
        for param in (param for node in self.nodes for param in node["params"]):
            value = formula.weight(param["name"], param["shape"], seed)
            axes = torch_axes(value.ndim)
            tensors[param["name"]].copy_(torch.from_numpy(numpy.ascontiguousarray(value.transpose(axes))))
        return self


def torch_axes(rank):
    """Our axes in PyTorch's order: [kh, kw, in, out] is [out, in, kh, kw] there, [in, out] is [out, in]."""
    return {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}[rank]
