"""Runs the original TensorFlow and Keras networks with the weights of formula.py and records what they compute.

    pip install tensorflow-cpu==2.21.0 tf_slim==1.1.0 tf_keras==2.21.0 keras==3.15.1 pillow
    python reference/published_tf.py --nets DIR                            # crates/inception/src/weights/recorded/*.json
    python reference/published_tf.py --nets DIR --save DIR2 [--pictures DIR3]   # real files, logits of real pictures

DIR holds the networks' own sources, unchanged but for their imports (`import tf_slim as slim`, `tensorflow.compat.v1`):
inception_{v3,v4,resnet_v2,utils}.py of github.com/tensorflow/models at d4eedbb9, research/slim/nets, and
inception_resnet_v1.py of github.com/davidsandberg/facenet at 096ed77, src/models, in a package called `nets`.
"""
import argparse
import importlib
import json
import os
import pathlib
import sys

os.environ["CUDA_VISIBLE_DEVICES"] = ""
args = argparse.ArgumentParser()
args.add_argument("--nets", type=pathlib.Path, required=True)
args.add_argument("--only")
args.add_argument("--seed", type=int, default=0)
args.add_argument("--save", type=pathlib.Path)
args.add_argument("--pictures", type=pathlib.Path)
args = args.parse_args()
sys.path.insert(0, str(args.nets))
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import numpy as np

import formula

OUT = pathlib.Path(__file__).parent.parent / "crates/inception/src/weights/recorded"


def legacy_layers():
    """tf_slim builds on layers that TensorFlow 2.21 has only inside tf_keras."""
    import tf_keras.src.legacy_tf_layers as layers
    sys.modules["tf_keras.legacy_tf_layers"] = layers
    for name in ("normalization", "core", "convolutional", "pooling", "base"):
        sys.modules[f"tf_keras.legacy_tf_layers.{name}"] = importlib.import_module(f"tf_keras.src.legacy_tf_layers.{name}")
    import tensorflow.compat.v1 as tf
    from tensorflow.python.framework import ops
    ops.Tensor = tf.Tensor
    return tf


def endpoint(name):
    """Canonical name of a slim endpoint, None where it is none of ours."""
    kind, _, rest = name.partition("_")
    known = {"Conv2d": "conv", "MaxPool": "pool", "Mixed": "mixed"}
    if kind not in known:
        return {"PreAuxLogits": "block17_20"}.get(name)
    return f"{known[kind]}_{rest.split('_')[0]}"


def picture_files():
    return sorted(args.pictures.iterdir()) if args.pictures else []


def write(source, framework, side, endpoints, logits):
    record = {"framework": framework, "img_size": side,
              "endpoints": {n: formula.sample(v) for n, v in endpoints.items()},
              "logits": [float(v) for v in logits]}
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{source}.json").write_text(json.dumps(record) + "\n")
    print(source, len(endpoints), np.shape(logits), np.std(logits), flush=True)


def dump_pictures(source, inputs, run):
    with open(args.save / f"{source}.jsonl", "w") as out:
        for path in picture_files():
            x = inputs(path)
            np.save(args.save / f"{source}.{path.name}.npy", x)
            out.write(json.dumps({"filename": path.name, "logits": [float(v) for v in run(x)]}) + "\n")


def slim(source, module, function, side, classes):
    tf = legacy_layers()
    import tf_slim
    tf.disable_v2_behavior()
    net = importlib.import_module(f"nets.{module}")
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, [1, side, side, 3])
        if source == "facenet":
            bottleneck, ends = net.inference(x, 0.8, phase_train=False, bottleneck_layer_size=512)
            logits = tf.nn.l2_normalize(bottleneck, 1, 1e-10)
            # 5a, 6b and 8a are this code's words for the ends of the repeats.
            ends = {"conv_1a": ends["Conv2d_1a_3x3"], "conv_4b": ends["Conv2d_4b_3x3"], "block35_5": ends["Mixed_5a"],
                    "mixed_6a": ends["Mixed_6a"], "block17_10": ends["Mixed_6b"], "mixed_7a": ends["Mixed_7a"],
                    "block8_5": ends["Mixed_8a"], "block8_6": ends["Mixed_8b"]}
        else:
            with tf_slim.arg_scope(getattr(net, f"{function}_arg_scope")()):
                logits, ends = getattr(net, function)(x, num_classes=classes, is_training=False)
            ends = {endpoint(n): t for n, t in ends.items() if endpoint(n)}
        variables = {v.op.name: v for v in tf.global_variables()}
        for name, v in variables.items():
            v.load(formula.weight(name, tuple(v.shape.as_list()), args.seed), session)
        if args.save:
            args.save.mkdir(parents=True, exist_ok=True)
            from tensorflow.core.protobuf import saver_pb2
            tf.train.Saver(write_version=saver_pb2.SaverDef.V1).save(session, str(args.save / f"{source}.v1.ckpt"), write_meta_graph=False)
            tf.train.Saver().save(session, str(args.save / f"{source}.v2.ckpt"), write_meta_graph=False)
            if source == "facenet":
                tf.identity(logits, "embeddings")
                frozen = tf.graph_util.convert_variables_to_constants(session, session.graph.as_graph_def(), ["embeddings"])
                (args.save / "facenet.pb").write_bytes(frozen.SerializeToString())
            raw = tf.placeholder(tf.string)
            decoded = tf.image.decode_image(raw, channels=3, expand_animations=False)
            decoded.set_shape([None, None, 3])
            if source == "facenet":
                def inputs(path):
                    from PIL import Image
                    x = np.asarray(Image.open(path).convert("RGB").resize((160, 160), Image.BILINEAR), np.float32)
                    return ((x - 127.5) / 128.0).astype(np.float32)
            else:
                # slim's preprocess_for_eval.
                image = tf.image.convert_image_dtype(decoded, tf.float32)
                image = tf.image.central_crop(image, 0.875)
                image = tf.image.resize_bilinear(image[None], [side, side], align_corners=False)
                image = tf.multiply(tf.subtract(image, 0.5), 2.0)[0]
                inputs = lambda path: session.run(image, {raw: path.read_bytes()})
            dump_pictures(source, inputs, lambda p: session.run(logits, {x: p[None]})[0])
            return
        values, ends = session.run([logits, ends], {x: formula.network_input(side, args.seed)[None]})
        write(source, f"TensorFlow {tf.__version__}, {source}", side, {n: v[0] for n, v in ends.items()}, values[0])


def created(layers, cls):
    return [layer for layer in layers if type(layer).__name__ == cls]


def keras_names(model):
    """Every weight with its name in a published file: automatic numbers from one, in the order of creation."""
    number = lambda layer: (layer.name.rpartition("_")[2]).isdigit() and int(layer.name.rpartition("_")[2]) or 0
    auto = lambda prefix: sorted((l for l in model.layers if l.name == prefix or l.name.startswith(prefix + "_") and l.name[len(prefix) + 1:].isdigit()), key=number)
    rename = {l.name: f"conv2d_{i + 1}" for i, l in enumerate(auto("conv2d"))}
    rename |= {l.name: f"batch_normalization_{i + 1}" for i, l in enumerate(auto("batch_normalization"))}
    for layer in model.layers:
        name = rename.get(layer.name, layer.name)
        for v in layer.weights:
            yield f"{name}/{name}/{v.path.rpartition('/')[2]}:0", layer, v


def keras(source, function):
    import keras
    model = getattr(keras.applications, function)(weights=None, classifier_activation=None)
    for name, _, v in keras_names(model):
        v.assign(formula.weight(name, tuple(v.shape), args.seed))
    if args.save:
        args.save.mkdir(parents=True, exist_ok=True)
        model.save_weights(args.save / f"{source}.weights.h5")
        model.save(args.save / f"{source}.keras")
        model.save(args.save / f"{source}.h5")
        preprocess = lambda path: keras.utils.img_to_array(keras.utils.load_img(path, target_size=(299, 299))) / 127.5 - 1.0
        dump_pictures(source, lambda p: preprocess(p).astype(np.float32), lambda x: np.asarray(model(x[None], training=False))[0])
        return
    value = np.asarray(model(formula.network_input(299, args.seed)[None], training=False))[0]
    write(source, f"Keras {keras.__version__}, {function}", 299, {}, value)
    # What model.layers calls first: the numbers of .weights.h5.
    placed = [[l.name for l in created(model.layers, cls)] for cls in ("Conv2D", "BatchNormalization")]
    names = {layer.name: name.split("/")[0] for name, layer, _ in keras_names(model)}
    order = {cls: [names[n] for n in layers] for cls, layers in zip(("conv2d", "batch_normalization"), placed)}
    (OUT / f"{source}.order.json").write_text(json.dumps(order) + "\n")


SOURCES = {
    "slim-v3": lambda: slim("slim-v3", "inception_v3", "inception_v3", 299, 1001),
    "slim-v4": lambda: slim("slim-v4", "inception_v4", "inception_v4", 299, 1001),
    "slim-resnet-v2": lambda: slim("slim-resnet-v2", "inception_resnet_v2", "inception_resnet_v2", 299, 1001),
    "facenet": lambda: slim("facenet", "inception_resnet_v1", None, 160, None),
    "keras-v3": lambda: keras("keras-v3", "InceptionV3"),
    "keras-resnet-v2": lambda: keras("keras-resnet-v2", "InceptionResNetV2"),
}

if args.only:
    SOURCES[args.only]()
else:
    # One process each: TensorFlow 1 behaviour cannot be undone.
    import subprocess
    for source in SOURCES:
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--only", source], check=True)
