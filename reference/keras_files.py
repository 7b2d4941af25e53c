"""Makes the small Keras files of crates/formats/tests/fixtures/keras and, as JSON, what h5py and Keras read in them.

Run by hand: pip install tensorflow-cpu==2.21.0 keras==3.15.1 tf_keras==2.21.0 h5py; python reference/keras_files.py

A file has its tensors, in order, in FILE.json: name, shape, values. For the legacy layout the order is that of the lists
of layers and weights, and every value is compared with the model's own. For the new layout the JSON is in the order of
the classes' names, then of the numbers.
"""
import json
import pathlib
import re
import zipfile

import h5py
import keras
import numpy
import tf_keras

OUT = pathlib.Path(__file__).parent.parent / "crates/formats/tests/fixtures/keras"
OUT.mkdir(parents=True, exist_ok=True)
UNITS = 11


def model(k):
    """Two convolutions a unit are made in one order and used in another, so that names, layers and alphabet all differ."""
    k.backend.clear_session()
    x = image = k.Input((4, 4, 2))
    for i in range(UNITS):
        convs = [k.layers.Conv2D(2, (1, 1), use_bias=False) for _ in range(2 if i % 4 == 0 else 1)]
        for conv in reversed(convs):
            x = conv(x)
        if i % 5 == 0:
            x = k.layers.BatchNormalization(scale=False)(x)
        x = k.layers.Activation("relu")(x)
    x = k.layers.GlobalAveragePooling2D()(x)
    made = k.Model(image, k.layers.Dense(3, name="predictions")(x))
    n = 0
    for variable in made.weights:
        count = int(numpy.prod(variable.shape))
        variable.assign(numpy.arange(n, n + count, dtype="float32").reshape(variable.shape) / 4)
        n += count
    return made


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def legacy(file, weights):
    with h5py.File(OUT / file) as f:
        root = f["model_weights"] if "model_weights" in f else f
        tensors = []
        for layer in map(text, root.attrs["layer_names"]):
            for weight in map(text, root[layer].attrs["weight_names"]):
                values = root[layer][weight][()]
                tensors.append({"name": f"{layer}/{weight}", "shape": list(values.shape), "values": values.flatten().tolist()})
    assert [t["values"] for t in tensors] == [numpy.array(w).flatten().tolist() for w in weights], file
    write(file, tensors)


def natural(path):
    return [(re.sub(r"_?\d+$", "", p), int((re.findall(r"\d+$", p) or [0])[0])) for p in path.split("/")]


def new(file, source, expected):
    with h5py.File(source) as f:
        tensors = []

        def visit(name, item):
            if isinstance(item, h5py.Dataset) and not name.startswith(("optimizer", "metrics")):
                values = item[()]
                tensors.append({"name": name, "shape": list(values.shape), "values": values.astype("float64").flatten().tolist()})

        f.visititems(visit)
    tensors.sort(key=lambda t: natural(t["name"]))
    assert sorted(v for t in tensors for v in t["values"]) == sorted(v for w in expected for v in numpy.array(w).flatten().tolist())
    write(file, tensors)


def write(file, tensors):
    (OUT / f"{file}.json").write_text(json.dumps(tensors) + "\n")


old = model(tf_keras)
old.compile("sgd", "mse")
old.save(OUT / "model_2.h5")
legacy("model_2.h5", old.get_weights())
old.save_weights(OUT / "weights_2.h5")
legacy("weights_2.h5", old.get_weights())
old.save_weights(OUT / "new_2.weights.h5")
new("new_2.weights.h5", OUT / "new_2.weights.h5", old.get_weights())

now = model(keras)
now.compile(keras.optimizers.SGD(momentum=0.5), "mse")
now.optimizer.build(now.trainable_variables)
now.save(OUT / "model_3.h5")
legacy("model_3.h5", now.get_weights())
now.save_weights(OUT / "new_3.weights.h5")
new("new_3.weights.h5", OUT / "new_3.weights.h5", now.get_weights())
now.save(OUT / "archive_3.keras")
with zipfile.ZipFile(OUT / "archive_3.keras") as archive:
    members = {name: archive.read(name) for name in archive.namelist()}
(OUT / "plain.h5").write_bytes(members["model.weights.h5"])
new("archive_3.keras", OUT / "plain.h5", now.get_weights())
with zipfile.ZipFile(OUT / "deflated_3.keras", "w", zipfile.ZIP_DEFLATED) as archive:
    for name, data in members.items():
        archive.writestr(name, data)
(OUT / "deflated_3.keras.json").write_text((OUT / "archive_3.keras.json").read_text())
(OUT / "plain.h5").unlink()
(OUT / "archive_3.keras.layers.json").write_text(json.dumps([layer.name for layer in now.layers if layer.weights]) + "\n")

# Layouts that Keras reads and writes only for large models or by hand: lists in parts, strings of fixed and of variable
# length, chunks with filters, all types.
rng = numpy.random.default_rng(7)
with h5py.File(OUT / "by_hand.h5", "w") as f:
    f.attrs["layer_names0"] = [b"b", b"a_10"]
    f.attrs["layer_names1"] = [b"a_2", b"empty"]
    f.attrs["backend"] = numpy.bytes_("tensorflow")
    f.attrs["keras_version"] = "2.3.1"
    for layer in ["b", "a_10", "a_2", "empty"]:
        f.create_group(layer)
    f["empty"].attrs["weight_names"] = numpy.array([], dtype="S1")
    f["b"].attrs.create("weight_names", ["b/kernel:0", "b/bias:0"], dtype=h5py.string_dtype())
    f["b"].create_dataset("b/kernel:0", data=rng.integers(-9, 9, (7, 5, 3)).astype("f4"), chunks=(2, 3, 2), compression="gzip", shuffle=True)
    f["b"].create_dataset("b/bias:0", data=rng.integers(-9, 9, 11).astype("f8"), chunks=(4,), fletcher32=True)
    f["a_10"].attrs["weight_names"] = numpy.array([b"half", b"big", b"i64"])
    f["a_10"].create_dataset("half", data=rng.integers(-9, 9, (3, 4)).astype("f2"))
    f["a_10"].create_dataset("big", data=rng.integers(-9, 9, (3, 4)).astype(">f4"))
    f["a_10"].create_dataset("i64", data=numpy.int64(-5))
    f["a_2"].attrs["weight_names"] = [b"u8", b"bool", b"i32", b"many"]
    f["a_2"].create_dataset("u8", data=numpy.arange(5, dtype="u1"), chunks=(5,))
    f["a_2"].create_dataset("bool", data=numpy.array([True, False, True]))
    f["a_2"].create_dataset("i32", data=numpy.arange(-3, 3, dtype="i4").reshape(2, 3))
    f["a_2"].create_dataset("many", data=numpy.arange(300, dtype="f4"), chunks=(2,), compression="gzip")
    tensors = []
    for layer, names in [("b", ["b/kernel:0", "b/bias:0"]), ("a_10", ["half", "big", "i64"]), ("a_2", ["u8", "bool", "i32", "many"])]:
        for name in names:
            values = f[layer][name][()]
            tensors.append({"name": f"{layer}/{name}", "shape": list(values.shape), "values": values.astype("f8").flatten().tolist()})
write("by_hand.h5", tensors)

# What is refused.
with h5py.File(OUT / "latest.h5", "w", libver="latest") as f:
    f.create_group("layers/dense/vars").create_dataset("0", data=numpy.ones(3, "f4"))
with h5py.File(OUT / "no_weights.h5", "w") as f:
    f.attrs["keras_version"] = "3.15.1"
with h5py.File(OUT / "nested_type.h5", "w") as f:
    kind = h5py.h5t.IEEE_F32LE
    for _ in range(7000):
        kind = h5py.h5t.vlen_create(kind)
    h5py.h5d.create(f.id, b"x", kind, h5py.h5s.create_simple((1,)))
with zipfile.ZipFile(OUT / "other.zip", "w") as archive:
    archive.writestr("readme.txt", "nothing")
