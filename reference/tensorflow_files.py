"""Makes crates/formats/tests/fixtures/tf: small files of each kind that TensorFlow keeps weights in.

Run by hand: pip install tensorflow-cpu==2.21.0; python reference/tensorflow_files.py

v1/        a checkpoint of the first kind: whole and cut variables, one in all directions
v2/        a bundle: the same variables
v2_shards/ a bundle in two data files
v2_object/ an object-based one, with its graph of objects as a string
graph/     constants of a frozen graph: as bytes, as values, as one value for all
expected.csv has a line a tensor: file, name, type, shape, values. All values are exact as f32.
Two runs give the same bytes.
"""
import pathlib
import shutil

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saver_pb2
from tensorflow.python.training import py_checkpoint_reader

v1 = tf.compat.v1
v1.disable_resource_variables()
OUT = pathlib.Path(__file__).parent.parent / "crates/formats/tests/fixtures/tf"
shutil.rmtree(OUT, ignore_errors=True)

NAMES = {"float32": "F32", "float64": "F64", "float16": "F16", "bfloat16": "BF16", "int8": "I8", "uint8": "U8",
         "int16": "I16", "int32": "I32", "int64": "I64", "bool": "BOOL"}
lines = ["file,name,type,shape,values"]


def expect(file, name, array):
    values = " ".join(repr(float(v)) for v in np.asarray(array).astype(np.float64).flatten())
    shape = "x".join(map(str, array.shape))
    lines.append(f"{file},{name},{NAMES[np.asarray(array).dtype.name]},{shape},{values}")


def counting(shape, dtype=np.float32, start=-3):
    """Small numbers, all different within a period that no extent here divides."""
    n = int(np.prod(shape))
    values = start + np.arange(n) % 101 * (1 if np.issubdtype(dtype, np.integer) else 0.25)
    return values.reshape(shape).astype(dtype)


def variables(types):
    """The variables of the checkpoints, as (name, whole value, variables to save)."""
    made = []
    for name, value in [("global_step", np.asarray(1234567, np.int64)), ("a/weights", counting((1, 7, 2, 3))),
                        ("a/BatchNorm/moving_mean", counting((5,))), ("negative", counting((4,), np.int32, -2)),
                        ("empty", np.zeros((0, 3), np.float32)), ("same", np.full((2, 2), 5, np.float32))]:
        made.append((name, value, [v1.get_variable(name, initializer=value)]))
    for dtype in types:
        value = counting((2, 3), np.float32, 0).astype(dtype.as_numpy_dtype)
        made.append((f"typed/{dtype.name}", value, [v1.get_variable(f"typed/{dtype.name}", initializer=tf.constant(value))]))
    for name, shape, axis, shards in [("cut/rows", (7, 3), 0, 3), ("cut/columns", (2, 3, 70), 2, 2)]:
        value = counting(shape)

        def part(shape, dtype, partition_info):
            return value[tuple(slice(o, o + n) for o, n in zip(partition_info.var_offset, shape))]
        made.append((name, value, list(v1.get_variable(
            name, shape, initializer=part, partitioner=v1.fixed_size_partitioner(shards, axis=axis)))))
    return made


def cut_both_ways(name, value):
    """Four variables that are quarters of one."""
    full, rows, columns = value.shape, 2, 3
    for first in (slice(0, rows), slice(rows, None)):
        for second in (slice(0, columns), slice(columns, None)):
            part = value[first, second]
            variable = v1.Variable(part, name=f"part_{first.start}_{second.start}")
            variable._set_save_slice_info(v1.Variable.SaveSliceInfo(
                name, list(full), [first.start, second.start], list(part.shape)))
            yield variable


def checkpoint(folder, version, types):
    (OUT / folder).mkdir(parents=True)
    with tf.Graph().as_default(), v1.Session() as session:
        made = variables(types)
        quarters = counting((3, 5))
        made.append(("cut/quarters", quarters, list(cut_both_ways("cut/quarters", quarters))))
        session.run(v1.global_variables_initializer())
        flat = [v for _, _, parts in made for v in parts]
        saver = v1.train.Saver(flat, write_version=version)
        path = saver.save(session, str(OUT / folder / "model.ckpt"), write_meta_graph=False, write_state=False)
        reader = py_checkpoint_reader.NewCheckpointReader(path)
        shown = "v1/model.ckpt" if version == saver_pb2.SaverDef.V1 else "model.ckpt.index"
        shown = f"{folder}/{pathlib.Path(shown).name}"
        for name, value, _ in made:
            try:
                found = reader.get_tensor(name)
            except tf.errors.UnimplementedError:
                print(f"{shown}: TensorFlow itself cannot read {name}")
                found = value
            assert np.array_equal(found, value), (name, found, value)
            expect(shown, name, value)


# What the first kind can hold of the types here; TensorFlow refuses the others.
checkpoint("v1", saver_pb2.SaverDef.V1, [tf.float64, tf.float16, tf.uint8, tf.int8, tf.int16, tf.bool])
checkpoint("v2", saver_pb2.SaverDef.V2, [tf.float64, tf.float16, tf.bfloat16, tf.uint8, tf.int8, tf.int16, tf.bool])

(OUT / "v2_shards").mkdir()
with tf.Graph().as_default():
    parts = [str(OUT / "v2_shards" / f"part{i}") for i in range(2)]
    values = [{"first": counting((3, 2)), "second": counting((4,))}, {"third": counting((2, 2), np.float32, 9)}]
    saves = [tf.raw_ops.SaveV2(prefix=p, tensor_names=list(v), shape_and_slices=[""] * len(v),
                               tensors=[tf.constant(t) for t in v.values()]) for p, v in zip(parts, values)]
    with tf.control_dependencies(saves):
        merge = tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts,
                                              destination_prefix=str(OUT / "v2_shards/model.ckpt"))
    v1.Session().run(merge)
for part in values:
    for name, value in part.items():
        expect("v2_shards/model.ckpt.index", name, value)

with tf.init_scope():
    class Layer(tf.Module):
        def __init__(self):
            self.kernel = tf.Variable(counting((2, 3)), name="kernel")
            self.bias = tf.Variable(counting((3,)), name="bias")
    (OUT / "v2_object").mkdir()
    saved = tf.train.Checkpoint(layer=Layer())
    path = saved.write(str(OUT / "v2_object/model"))
    for name in ("kernel", "bias"):
        expect("v2_object/model.index", f"layer/{name}/.ATTRIBUTES/VARIABLE_VALUE", getattr(saved.layer, name).numpy())

(OUT / "graph").mkdir()
with tf.Graph().as_default() as graph:
    image = v1.placeholder(tf.float32, (None, 2), name="input")
    made = {"dense/weights": counting((2, 3)), "dense/biases": np.asarray([1, 2, 3], np.float32),
            "scalar": np.asarray(0.5, np.float32), "global_step": np.asarray(77, np.int64),
            "typed/float64": counting((2, 2), np.float64), "typed/float16": counting((4,), np.float16),
            "typed/bfloat16": counting((4,)).astype(tf.bfloat16.as_numpy_dtype),
            "typed/int32": counting((3,), np.int32), "typed/uint8": np.asarray([0, 200, 255], np.uint8),
            "typed/bool": np.asarray([True, False, True])}
    for name, value in made.items():
        tf.constant(value, name=name)
    tf.constant("not a number", name="label")
    graph.get_tensor_by_name("dense/weights:0")
    tf.matmul(image, graph.get_tensor_by_name("dense/weights:0"), name="product")
    definition = graph.as_graph_def()


def listed(name, dtype, shape, field, values):
    """A constant whose values are in the list `field`, the last one standing for the rest."""
    node = definition.node.add(name=name, op="Const")
    node.attr["dtype"].type = dtype.as_datatype_enum
    tensor = node.attr["value"].tensor
    tensor.dtype = dtype.as_datatype_enum
    tensor.tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
    getattr(tensor, field).extend(values)


bits = lambda values, dtype: [int(v) for v in np.asarray(values).astype(dtype.as_numpy_dtype).view(np.uint16)]
listed("one/float32", tf.float32, (2, 3), "float_val", [1.5])
listed("list/float32", tf.float32, (2, 3), "float_val", [1, 2, 3, 4, 5, 6])
listed("tail/float32", tf.float32, (5,), "float_val", [1, 2])
listed("none/float32", tf.float32, (2,), "float_val", [])
listed("list/float64", tf.float64, (2,), "double_val", [1.25, -8])
listed("list/int32", tf.int32, (3,), "int_val", [-1, 300, 70000])
listed("list/int64", tf.int64, (2,), "int64_val", [-1, 1 << 23])
listed("list/float16", tf.float16, (2,), "half_val", bits([1.5, -2], tf.float16))
listed("list/bfloat16", tf.bfloat16, (2,), "half_val", bits([1.5, -2], tf.bfloat16))
listed("list/uint8", tf.uint8, (2,), "int_val", [3, 255])
listed("list/int8", tf.int8, (2,), "int_val", [3, -128])
listed("list/bool", tf.bool, (4,), "bool_val", [True, False])
for node in definition.node:
    if node.op == "Const" and node.name != "label":
        made[node.name] = tf.make_ndarray(node.attr["value"].tensor)
for name, value in made.items():
    expect("graph/frozen.pb", name, value)
(OUT / "graph/frozen.pb").write_bytes(definition.SerializeToString(deterministic=True))
(OUT / "expected.csv").write_text("\n".join(lines) + "\n")
