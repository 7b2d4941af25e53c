"""Weights and an input that every side computes by itself, so that none are stored.

`values(name, count)` are uniform in [-1, 1): a 32-bit FNV-1a hash of the tensor's name, mixed with the index of the value
by the finaliser of MurmurHash3. `weight(name, shape)` scales them so that activations keep their spread through the
network and batch norm's statistics are not trivial. The Rust side is crates/inception/src/weights/formula.rs.
"""
import numpy as np


def fnv1a(text):
    h = 0x811C9DC5
    for byte in text.encode():
        h = (h ^ byte) * 0x01000193 & 0xFFFFFFFF
    return np.uint32(h)


def bits(name, count):
    with np.errstate(over="ignore"):
        x = fnv1a(name) ^ np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B1)
        x = (x ^ x >> np.uint32(16)) * np.uint32(0x85EBCA6B)
        x = (x ^ x >> np.uint32(13)) * np.uint32(0xC2B2AE35)
        return x ^ x >> np.uint32(16)


def values(name, count):
    return bits(name, count) * 2.0**-31 - 1.0


def weight(name, shape, seed=0):
    """Values of the tensor that the framework calls `name`. Kernels: 4 or 2 extents, ours and TensorFlow's with the outputs
    last, PyTorch's (names with dots) with the outputs first."""
    u = values(f"{seed}/{name}", int(np.prod(shape)))
    if len(shape) > 1:
        torch = "/" not in name
        fan_in = np.prod(shape[1:]) if torch else np.prod(shape[:-1])
        u = u * np.sqrt((6.0 if len(shape) == 4 else 3.0) / fan_in)
    elif name.endswith(("variance", "variance:0", "running_var")):
        u = 1.0 + 0.5 * u
    elif name.endswith(("gamma", "bn.weight")):
        u = 1.0 + 0.25 * u
    else:
        u = 0.1 * u
    return u.astype(np.float32).reshape(shape)


def picture(side, seed=0):
    """Bytes [side, side, 3]: coloured squares of 23 pixels under noise."""
    y, x, c = np.meshgrid(np.arange(side), np.arange(side), np.arange(3), indexing="ij")
    squares = (bits(f"{seed}/squares", 100 * 100 * 3) >> np.uint32(24)).astype(np.int64)
    noise = (bits(f"{seed}/noise", side * side * 3) >> np.uint32(24)).astype(np.int64).reshape(side, side, 3)
    return ((3 * squares[(y // 23 * 100 + x // 23) * 3 + c] + noise) // 4).astype(np.uint8)


def network_input(side, seed=0):
    """The picture as a network sees it, [-1, 1]."""
    return ((picture(side, seed).astype(np.float32) - 127.5) / 127.5).astype(np.float32)


def sample(array):
    """What is recorded of an activation [h, w, c]: its root mean square and 16 of its values."""
    flat = np.asarray(array, np.float64).ravel()
    at = (bits("sample", 16).astype(np.int64)) % flat.size
    return {"size": int(flat.size), "rms": float(np.sqrt((flat**2).mean())), "values": [float(np.float32(flat[i])) for i in at]}
