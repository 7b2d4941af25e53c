//! A whole network in naive `f64`: what the engine is held against. Of the engine it uses nothing, of the kernels their
//! reference alone.

use inception_graph::{After, BN_EPSILON, Graph, NodeId, Op, Role, Weights, stream};
use inception_kernels::reference::{Window, conv};
use rand::RngExt;

/// Whether batch norm uses the batch's statistics or the running ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The batch's. Dropout depends on a picture's place in the batch, of which so many pictures come `before` these.
    Training {
        /// Pictures before the first.
        before: usize,
    },
    /// The running ones.
    Inference,
}

/// Outputs of all nodes for `n` pictures, `input` being `[n, side, side, 3]`; parameters come in `f64`, one vector each, so
/// that they can be moved by little.
pub fn forward(graph: &Graph, params: &[Vec<f64>], input: &[f32], n: usize, mode: Mode) -> Vec<Vec<f64>> {
    let weights = Weights::zeros(graph);
    let find = |id: NodeId, role: Role| {
        let i =
            weights.params().iter().position(|p| p.node == id && p.role == role).expect("has this parameter");
        &params[i]
    };
    let mut values: Vec<Vec<f64>> = Vec::new();
    for id in graph.ids() {
        let node = graph.node(id);
        let x = |i: usize| &values[node.inputs[i].0];
        let c = node.shape.c;
        let value: Vec<f64> = match node.op {
            Op::Input => input.iter().map(|&v| f64::from(v)).collect(),
            Op::Conv { kernel, stride, pad, after, .. } => {
                let input = graph.input_shape(id);
                let pad = kernel.map(|k| pad.amount(k));
                let window = Window { batch: n, input: [input.h, input.w], size: kernel, stride, pad };
                let mut y = conv(&window, [input.c, c], x(0), find(id, Role::Weight));
                match after {
                    After::Bias => {
                        let bias = find(id, Role::Bias);
                        y.iter_mut().enumerate().for_each(|(i, v)| *v += bias[i % c]);
                    }
                    After::Bn | After::BnRelu => {
                        let m = (y.len() / c) as f64;
                        for j in 0..c {
                            let column = || y.iter().skip(j).step_by(c);
                            let (mean, variance) = if mode != Mode::Inference {
                                let mean = column().sum::<f64>() / m;
                                (mean, column().map(|v| (v - mean).powi(2)).sum::<f64>() / m)
                            } else {
                                (find(id, Role::Mean)[j], find(id, Role::Variance)[j])
                            };
                            let scale = find(id, Role::Gamma)[j] / (variance + f64::from(BN_EPSILON)).sqrt();
                            let beta = find(id, Role::Beta)[j];
                            y.iter_mut().skip(j).step_by(c).for_each(|v| *v = (*v - mean) * scale + beta);
                        }
                        if after == After::BnRelu {
                            y.iter_mut().for_each(|v| *v = v.max(0.0));
                        }
                    }
                }
                y
            }
            Op::MaxPool { size, stride, pad } => {
                pool(graph, id, n, x(0), size, stride, pad.amount(size), None)
            }
            Op::AvgPool { size, stride, pad, count_padding } => {
                pool(graph, id, n, x(0), size, stride, pad.amount(size), Some(count_padding))
            }
            Op::Concat => (0..n * node.shape.pixels())
                .flat_map(|p| {
                    node.inputs.iter().flat_map(move |&input| {
                        let c = graph.node(input).shape.c;
                        (0..c).map(move |j| (input, p * c + j))
                    })
                })
                .map(|(input, at)| values[input.0][at])
                .collect(),
            Op::Residual { scale, relu } => {
                let sum = x(0).iter().zip(x(1)).map(|(a, b)| a + f64::from(scale) * b);
                sum.map(|v| if relu { v.max(0.0) } else { v }).collect()
            }
            Op::GlobalAvgPool => {
                let area = graph.input_shape(id).pixels();
                let mean = |i: usize, j: usize| {
                    (0..area).map(|p| x(0)[(i * area + p) * c + j]).sum::<f64>() / area as f64
                };
                (0..n).flat_map(|i| (0..c).map(move |j| (i, j))).map(|(i, j)| mean(i, j)).collect()
            }
            Op::Dropout { keep } => match mode {
                Mode::Training { before } => {
                    let mask = dropout_mask(id, keep).skip(before * node.shape.len());
                    x(0).iter().zip(mask).map(|(v, factor)| v * factor).collect()
                }
                Mode::Inference => x(0).clone(),
            },
            Op::Linear { out } => {
                let (w, bias) = (find(id, Role::Weight), find(id, Role::Bias));
                let product = |row: &[f64], j: usize| {
                    bias[j] + row.iter().enumerate().map(|(k, v)| v * w[k * out + j]).sum::<f64>()
                };
                x(0).chunks(x(0).len() / n).flat_map(|row| (0..out).map(move |j| product(row, j))).collect()
            }
            Op::L2Norm => x(0)
                .chunks(c)
                .flat_map(|row| {
                    let norm = row.iter().map(|v| v * v).sum::<f64>().max(1e-10).sqrt();
                    row.iter().map(move |v| v / norm)
                })
                .collect(),
        };
        values.push(value);
    }
    values
}

/// Key of the dropout of [`Mode::Training`].
pub const RANDOM: [u64; 2] = [5, 9];

/// Factors of the values of the dropout `id` in [`Mode::Training`], one behind the other without end.
pub fn dropout_mask(id: NodeId, keep: f32) -> impl Iterator<Item = f64> {
    let mut random = stream(&[RANDOM[0], RANDOM[1], id.0 as u64]);
    std::iter::repeat_with(move || if random.random::<f32>() < keep { 1.0 / f64::from(keep) } else { 0.0 })
}

#[allow(clippy::too_many_arguments, reason = "a helper of one caller")]
fn pool(
    graph: &Graph,
    id: NodeId,
    n: usize,
    x: &[f64],
    size: usize,
    stride: usize,
    pad: usize,
    mean: Option<bool>,
) -> Vec<f64> {
    let (input, c) = (graph.input_shape(id), graph.node(id).shape.c);
    let window = Window { batch: n, input: [input.h, input.w], size: [size; 2], stride, pad: [pad; 2] };
    let [oh, ow] = window.output();
    let mut y = Vec::with_capacity(n * oh * ow * c);
    for i in 0..n {
        for (oy, ox) in (0..oh).flat_map(|oy| (0..ow).map(move |ox| (oy, ox))) {
            for j in 0..c {
                let cells: Vec<f64> = (0..size * size)
                    .filter_map(|k| {
                        let (iy, ix) = (oy * stride + k / size, ox * stride + k % size);
                        let (iy, ix) = (iy.checked_sub(pad)?, ix.checked_sub(pad)?);
                        (iy < input.h && ix < input.w).then(|| x[((i * input.h + iy) * input.w + ix) * c + j])
                    })
                    .collect();
                y.push(match mean {
                    None => cells.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b)),
                    Some(true) => cells.iter().sum::<f64>() / (size * size) as f64,
                    Some(false) => cells.iter().sum::<f64>() / cells.len() as f64,
                });
            }
        }
    }
    y
}

/// Parameters in `f64`, tensor by tensor.
pub fn in_f64(weights: &Weights) -> Vec<Vec<f64>> {
    (0..weights.params().len()).map(|i| weights.get(i).iter().map(|&v| f64::from(v)).collect()).collect()
}
