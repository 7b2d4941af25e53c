"""Records how PyTorch trains the paper's networks: crates/inception/tests/fixtures/torch_curve.json.

Run by hand: pip install torch==2.15.0; cargo build --release; python reference/train_torch.py

Loss and gradient norm of every step in float64, and how far PyTorch's own float32 departs from them, which says how far
another program may. Nothing that went in is stored: weights and pictures are formula.py's, dropout's factors are drawn
here as crates/graph/src/rng.rs draws them, the update rules are written out after TensorFlow's definitions
(crates/cpu/src/optimizer.rs has the same). What comes out of it all, running statistics and the moving average
included, is the loss at the end of a network that has the averages for its weights.
"""
import argparse
import itertools
import json
import pathlib

import numpy
import torch
import torch.nn.functional as F

import formula
import torch_net

OUT = pathlib.Path(__file__).parent.parent / "crates/inception/tests/fixtures/torch_curve.json"
NETS = ["inception_v3", "inception_v4", "inception_resnet_v1", "inception_resnet_v2"]
SIZE = {"img_size": 75, "width": 0.25, "classes": 10}
STEPS, BATCH, SEED = 20, 8, 1
SHARED = {"label_smoothing": 0.1, "bn_decay": 0.9, "ema_decay": 0.9}
# A ReLU at its kink takes one side in float32 and another in float64, and the next gradient differs by 1e-4 instead of 1e-7:
# within 20 steps the two part by tens of per cent. Shifts that are so far above zero leave the ReLUs one value in 700 to
# cut, and rates a tenth of the usual keep what is left small.
BETA = 3.0
# The paper's rule with Google's constants, and the other rule with a decay that is felt and a limit that some norms exceed.
RECIPES = {
    "rmsprop-tf": {"decay": 0.9, "momentum": 0.9, "epsilon": 1.0, "lr": 0.0045, "weight_decay": 4e-5, "clip_grad": 2.0},
    "nesterov": {"momentum": 0.9, "lr": 0.00005, "weight_decay": 0.05, "clip_grad": 50.0},
}
MASK = {bits: (1 << bits) - 1 for bits in (32, 64, 128)}


def mixed(h, key):
    """SplitMix64's finaliser."""
    z = (h ^ key) + 0x9E3779B97F4A7C15 & MASK[64]
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK[64]
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK[64]
    return z ^ z >> 31


def rotated(x, by, bits):
    return (x >> by | x << (bits - by)) & MASK[bits]


def stream(*key):
    """32-bit numbers of the random stream of `key`: PCG XSL 128/64, seeded from 64 bits by PCG XSH 64/32."""
    seed, state = len(key), 0
    for part in key:
        seed = mixed(seed, part)
    for place in range(0, 128, 32):
        seed = seed * 6364136223846793005 + 11634580027462260723 & MASK[64]
        state |= rotated((seed >> 18 ^ seed) >> 27 & MASK[32], seed >> 59, 32) << place
    state |= 1
    while True:
        state = state * 0x2360ED051FC65DA44385DF649FCCF645 & MASK[128]
        yield rotated((state >> 64 ^ state) & MASK[64], state >> 122, 64) & MASK[32]


def kept(step, node, shape, keep):
    """Factors of a dropout: 1 / keep for the share `keep` of all values."""
    count = shape[0] * shape[1]
    uniform = numpy.fromiter(itertools.islice(stream(SEED, step, node), count), numpy.uint32) >> 8
    return numpy.where(uniform * numpy.float32(2.0**-24) < numpy.float32(keep), 1 / numpy.float32(keep), 0).reshape(shape)


def batch(step):
    pictures = [formula.network_input(SIZE["img_size"], step * BATCH + i) for i in range(BATCH)]
    labels = [(step + 3 * i) % SIZE["classes"] for i in range(BATCH)]
    return torch.from_numpy(numpy.stack(pictures)).permute(0, 3, 1, 2), torch.tensor(labels)


class Training:
    def __init__(self, info, options, dtype):
        self.options, self.dtype = options, dtype
        self.net = torch_net.Net(info, options["bn_decay"]).formula()
        for name, value in self.net.params().items():
            value += BETA if name.endswith("/beta") else 0
        self.net.to(dtype).train()
        self.trained = list(self.net.named_parameters())
        self.momentum = [torch.zeros_like(w) for _, w in self.trained]
        self.mean_square = [torch.ones_like(w) for _, w in self.trained]
        self.average = {name: value.clone() for name, value in self.net.state_dict().items()}
        self.dropouts = [(i, node) for i, node in enumerate(info["nodes"]) if node["op"] == "dropout"]

    def step(self, number):
        options = self.options
        x, labels = batch(number)
        for i, node in self.dropouts:
            mask = kept(number, i, (BATCH, node["shape"][2]), node["keep"])
            self.net.get_submodule(node["name"]).mask = torch.from_numpy(mask).to(self.dtype)
        before = {name: value.clone() for name, value in self.net.named_buffers()}
        logits = self.net(x.to(self.dtype))
        loss = F.cross_entropy(logits, labels, label_smoothing=options["label_smoothing"])
        gradient = torch.autograd.grad(loss, [weight for _, weight in self.trained])
        with torch.no_grad():
            gradient = [g + options["weight_decay"] * w if name.endswith(".weight") else g
                        for g, (name, w) in zip(gradient, self.trained)]
            norm = torch.sqrt(sum(g.double().square().sum() for g in gradient)).item()
            clip = min(1.0, options["clip_grad"] / norm)
            for (_, w), g, m, ms in zip(self.trained, gradient, self.momentum, self.mean_square):
                self.update(w, g * clip, m, ms)
            self.unbias(before)
            for name, value in self.net.state_dict().items():
                self.average[name].lerp_(value, 1 - options["ema_decay"])
        return loss.item(), norm

    def update(self, w, g, m, ms):
        lr, momentum = self.options["lr"], self.options["momentum"]
        if "decay" in self.options:
            decay, epsilon = self.options["decay"], self.options["epsilon"]
            ms.copy_(decay * ms + (1 - decay) * g * g)
            m.copy_(momentum * m + lr * g / torch.sqrt(ms + epsilon))
            w -= m
        else:
            m.copy_(momentum * m + g)
            w -= lr * (g + momentum * m)

    def unbias(self, before):
        """PyTorch's running variance follows n / (n - 1) times the variance of n values; TensorFlow's and ours, the variance."""
        decay = self.options["bn_decay"]
        for node in self.net.nodes:
            if any(param["role"] == "variance" for param in node["params"]):
                n = BATCH * node["shape"][0] * node["shape"][1]
                running = self.net.get_submodule(node["name"]).variance
                old = decay * before[f"{node['name']}.variance"]
                running.copy_(old + (running - old) * (n - 1) / n)

    def average_loss(self):
        x, labels = batch(STEPS)
        self.net.load_state_dict(self.average)
        with torch.no_grad():
            return F.cross_entropy(self.net.eval()(x.to(self.dtype)), labels).item()


def run(net, options, inception):
    info = torch_net.info(net, inception, **SIZE)
    found = {}
    for name, dtype in [("f64", torch.float64), ("f32", torch.float32)]:
        training = Training(info, options, dtype)
        losses, norms = zip(*(training.step(number) for number in range(STEPS)))
        found[name] = {"loss": losses, "grad_norm": norms, "average_loss": training.average_loss()}
    return found


def departure(found, of):
    both = zip(found["f64"][of], found["f32"][of])
    return max(abs(single / double - 1) for double, single in both)


def rounded(value):
    if isinstance(value, float):
        return float(f"{value:.10g}")
    return {k: rounded(v) for k, v in value.items()} if isinstance(value, dict) else [rounded(v) for v in value]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inception", type=pathlib.Path, default=torch_net.INCEPTION)
    parser.add_argument("--nets", nargs="+", default=NETS)
    parser.add_argument("--out", type=pathlib.Path, default=OUT)
    args = parser.parse_args()
    runs = []
    for net, (recipe, constants) in itertools.product(args.nets, RECIPES.items()):
        options = constants | SHARED
        found = run(net, options, args.inception)
        print(net, recipe, *(f"{of} departs by {departure(found, of):.1e}" for of in ("loss", "grad_norm")),
              *(f"{value:.3f}" for value in found["f64"]["loss"]), "norms",
              *(f"{value:.1f}" for value in found["f64"]["grad_norm"]), flush=True)
        runs.append({"net": net, "recipe": recipe, "options": options} | {k: rounded(v) for k, v in found.items()})
    record = SIZE | {"batch": BATCH, "steps": STEPS, "seed": SEED, "beta": BETA, "framework": f"PyTorch {torch.__version__.split('+')[0]}"}
    args.out.write_text(json.dumps(record)[:-1] + ', "runs": [\n' + ",\n".join(map(json.dumps, runs)) + "\n]}\n")
