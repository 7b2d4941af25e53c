"""Records how TensorFlow's RMSPropOptimizer moves one weight: crates/cpu/tests/fixtures/rmsprop_tf.csv.

Run by hand: pip install tensorflow-cpu==2.21.0; python reference/rmsprop_tf.py

A line a step: setting (decay, momentum, epsilon), the gradient and the rate that went in, the weight that came out.
Gradients and rates are multiples of 1/64 and of 2^-10, so that the text is exact.
"""
import pathlib
import random

import tensorflow as tf

OUT = pathlib.Path(__file__).parent.parent / "crates/cpu/tests/fixtures/rmsprop_tf.csv"
OUT.parent.mkdir(parents=True, exist_ok=True)

SETTINGS = [(0.9, 0.9, 1.0), (0.9, 0.9, 1e-3), (0.99, 0.0, 0.1)]
STEPS = 100

lines = ["decay,momentum,epsilon,gradient,rate,weight"]
for decay, momentum, epsilon in SETTINGS:
    rng = random.Random(7)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        weight = tf.compat.v1.Variable(1.0, dtype=tf.float32)
        gradient, rate = tf.compat.v1.placeholder(tf.float32, []), tf.compat.v1.placeholder(tf.float32, [])
        optimizer = tf.compat.v1.train.RMSPropOptimizer(rate, decay=decay, momentum=momentum, epsilon=epsilon)
        step = optimizer.apply_gradients([(gradient, weight)])
        session.run(tf.compat.v1.global_variables_initializer())
        for i in range(STEPS):
            g, lr = rng.randint(-256, 256) / 64, (64 >> (i // 25)) / 1024
            session.run(step, {gradient: g, rate: lr})
            lines.append(f"{decay},{momentum},{epsilon},{g},{lr},{session.run(weight):.9g}")
OUT.write_text("\n".join(lines) + "\n")
