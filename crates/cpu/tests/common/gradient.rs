//! Gradients of a whole network in naive `f64`: what the trainer's are held against, themselves held against differences
//! of the loss.
//!
//! ```text
//! d[logits] = gradient of the cross-entropy, in the share of its loss
//! nodes in reverse: d[input] += (∂node/∂input)ᵀ · d[node];  gradient of a parameter = (∂node/∂parameter)ᵀ · d[node]
//! ```
//! Every activation has a gradient of its own and every one is added up from zero: neither places inside a concat nor an
//! order of readers, as the trainer has them, can be wrong here.

use inception_cpu::reference::dropout_mask;
use inception_graph::{After, BN_EPSILON, Graph, NodeId, Op, Role};
use inception_kernels::reference::{
    Window, avg_pool, batch_norm_grad, conv, conv_grad, cross_entropy, max_pool,
};

/// Gradient of [`super::loss`] in the layout of `params`, zero for what is not trainable;
/// `values` are [`super::forward`]'s in training,
/// with so many pictures of the batch `before` these.
pub(crate) fn gradient(
    graph: &Graph,
    params: &[Vec<f64>],
    values: &[Vec<f64>],
    labels: &[u32],
    smoothing: f64,
    before: usize,
) -> Vec<Vec<f64>> {
    let zeros = |of: &[Vec<f64>]| -> Vec<Vec<f64>> { of.iter().map(|v| vec![0.0; v.len()]).collect() };
    let (mut d, mut result) = (zeros(values), zeros(params));
    let described = graph.params();
    let find = |id: NodeId, role: Role| {
        described.iter().position(|p| p.node == id && p.role == role).expect("has this parameter")
    };
    for (id, factor) in super::answers(graph) {
        d[id.0] = cross_entropy(&values[id.0], labels, smoothing).1;
        d[id.0].iter_mut().for_each(|g| *g *= factor);
    }
    for id in graph.ids().rev() {
        let node = graph.node(id);
        let (out, mut dout) = (&values[id.0], std::mem::take(&mut d[id.0]));
        let Some(&input) = node.inputs.first() else { continue };
        let (x, c) = (&values[input.0], node.shape.c);
        let shape = graph.input_shape(id);
        let window = |size: [usize; 2], stride, pad| Window {
            batch: labels.len(),
            input: [shape.h, shape.w],
            size,
            stride,
            pad,
        };
        match node.op {
            Op::Input => {}
            Op::Conv { kernel, stride, pad, after, .. } => {
                let window = window(kernel, stride, kernel.map(|k| pad.amount(k)));
                let weight = find(id, Role::Weight);
                if after == After::BnRelu {
                    rectify(&mut dout, out);
                }
                match after {
                    After::Bias => result[find(id, Role::Bias)] = sums(&dout, c),
                    After::Bn | After::BnRelu => {
                        let (gamma, beta) = (find(id, Role::Gamma), find(id, Role::Beta));
                        let y = conv(&window, [shape.c, c], x, &params[weight]);
                        let epsilon = f64::from(BN_EPSILON);
                        [dout, result[gamma], result[beta]] =
                            batch_norm_grad(&y, &params[gamma], &dout, epsilon);
                    }
                }
                let [dx, dw] = conv_grad(&window, [shape.c, c], x, &params[weight], &dout);
                add(&mut d[input.0], &dx);
                result[weight] = dw;
            }
            Op::MaxPool { size, stride, pad } => {
                let window = window([size; 2], stride, [pad.amount(size); 2]);
                add(&mut d[input.0], &max_pool(&window, c, x, &dout)[1]);
            }
            Op::AvgPool { size, stride, pad, count_padding } => {
                let window = window([size; 2], stride, [pad.amount(size); 2]);
                add(&mut d[input.0], &avg_pool(&window, c, count_padding, x, &dout)[1]);
            }
            Op::Concat => {
                let mut first = 0;
                for &input in &node.inputs {
                    let part = graph.node(input).shape.c;
                    let slice = |pixel: &[f64]| pixel[first..first + part].to_vec();
                    add(&mut d[input.0], &dout.chunks(c).flat_map(slice).collect::<Vec<f64>>());
                    first += part;
                }
            }
            Op::Residual { scale, relu } => {
                if relu {
                    rectify(&mut dout, out);
                }
                add(&mut d[input.0], &dout);
                dout.iter_mut().for_each(|g| *g *= f64::from(scale));
                add(&mut d[node.inputs[1].0], &dout);
            }
            Op::GlobalAvgPool => {
                let area = shape.pixels();
                let mean = |picture: &[f64]| {
                    picture.iter().map(|g| g / area as f64).collect::<Vec<_>>().repeat(area)
                };
                add(&mut d[input.0], &dout.chunks(c).flat_map(mean).collect::<Vec<f64>>());
            }
            Op::Dropout { keep } => {
                dout.iter_mut()
                    .zip(dropout_mask(id, keep).skip(before * node.shape.len()))
                    .for_each(|(g, factor)| *g *= factor);
                add(&mut d[input.0], &dout);
            }
            // A 1×1 convolution of one pixel.
            Op::Linear { .. } => {
                let weight = find(id, Role::Weight);
                let window = window([1, 1], 1, [0, 0]);
                let [dx, dw] = conv_grad(&window, [shape.c, c], x, &params[weight], &dout);
                add(&mut d[input.0], &dx);
                result[weight] = dw;
                result[find(id, Role::Bias)] = sums(&dout, c);
            }
            Op::L2Norm => assert!(dout.iter().all(|g| *g == 0.0), "no classifier reads an embedding's norm"),
        }
    }
    result
}

/// `dout` where the ReLU's output is positive, zero elsewhere.
fn rectify(dout: &mut [f64], out: &[f64]) {
    dout.iter_mut().zip(out).for_each(|(g, v)| *g = if *v > 0.0 { *g } else { 0.0 });
}

fn add(sum: &mut [f64], part: &[f64]) {
    assert_eq!(sum.len(), part.len());
    sum.iter_mut().zip(part).for_each(|(s, p)| *s += p);
}

/// Sum over all pixels, channel by channel.
fn sums(values: &[f64], c: usize) -> Vec<f64> {
    (0..c).map(|j| values.iter().skip(j).step_by(c).sum()).collect()
}
