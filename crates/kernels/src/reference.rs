//! What every kernel must compute: naive loops in `f64` with their own geometry, sharing nothing with the kernels.
//!
//! Tensors are flat, NHWC; windows are described by plain numbers. Gradients are written as scatters of the forward
//! definition, so that they cannot share a mistake in index arithmetic with the gathers under test.

/// A window sliding over a picture, described independently of the kernels' own types.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Pictures.
    pub batch: usize,
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Height and width of the window.
    pub size: [usize; 2],
    /// Stride in both directions.
    pub stride: usize,
    /// Cells added on each side, vertically and horizontally.
    pub pad: [usize; 2],
}

/// One use of an input cell: output pixel, cell of the window, input pixel, each counted in row order, pictures outermost.
type Use = (usize, usize, usize);

impl Window {
    /// Height and width of the output: the number of positions, counted.
    pub fn output(&self) -> [usize; 2] {
        [0, 1].map(|d| {
            let last = self.input[d] + 2 * self.pad[d];
            (0..).take_while(|i| i * self.stride + self.size[d] <= last).count()
        })
    }

    /// Calls `f` for every cell of every window that lies inside the picture.
    fn each(&self, mut f: impl FnMut(Use)) {
        let [oh, ow] = self.output();
        let [h, w] = self.input;
        for n in 0..self.batch {
            for oy in 0..oh {
                for ox in 0..ow {
                    for ky in 0..self.size[0] {
                        for kx in 0..self.size[1] {
                            let y = (oy * self.stride + ky) as i64 - self.pad[0] as i64;
                            let x = (ox * self.stride + kx) as i64 - self.pad[1] as i64;
                            if y >= 0 && x >= 0 && y < h as i64 && x < w as i64 {
                                let (output, cell) = ((n * oh + oy) * ow + ox, ky * self.size[1] + kx);
                                f((output, cell, (n * h + y as usize) * w + x as usize));
                            }
                        }
                    }
                }
            }
        }
    }

    fn output_len(&self, channels: usize) -> usize {
        let [oh, ow] = self.output();
        self.batch * oh * ow * channels
    }
}

/// What is computed with: the kernels' `f32`, or `f64`, where a whole network is computed.
pub trait Number: Copy + Into<f64> {}
impl Number for f32 {}
impl Number for f64 {}

/// `y[n, oy, ox, o] = Σ x[n, y, x, i] · w[ky, kx, i, o]`.
pub fn conv<T: Number>(window: &Window, [c_in, c_out]: [usize; 2], x: &[T], w: &[T]) -> Vec<f64> {
    let mut y = vec![0.0; window.output_len(c_out)];
    window.each(|(output, cell, input)| {
        let y = &mut y[output * c_out..][..c_out];
        for i in 0..c_in {
            let v: f64 = x[input * c_in + i].into();
            let weights = &w[(cell * c_in + i) * c_out..][..c_out];
            y.iter_mut().zip(weights).for_each(|(y, &w)| *y += v * w.into());
        }
    });
    y
}

/// Gradients of [`conv`] for `dy`: of the input and of the weights.
pub fn conv_grad<T: Number>(
    window: &Window,
    [c_in, c_out]: [usize; 2],
    x: &[T],
    w: &[T],
    dy: &[T],
) -> [Vec<f64>; 2] {
    let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; w.len()]);
    window.each(|(output, cell, input)| {
        let dy = &dy[output * c_out..][..c_out];
        for i in 0..c_in {
            let (input, weights) = (input * c_in + i, (cell * c_in + i) * c_out);
            let v: f64 = x[input].into();
            let (w, dw) = (&w[weights..][..c_out], &mut dw[weights..][..c_out]);
            for j in 0..c_out {
                let g: f64 = dy[j].into();
                dx[input] += g * w[j].into();
                dw[j] += g * v;
            }
        }
    });
    [dx, dw]
}

/// Maximum over each window and, for `dy`, its gradient: all of it to the first largest cell.
pub fn max_pool<T: Number>(window: &Window, c: usize, x: &[T], dy: &[T]) -> [Vec<f64>; 2] {
    let len = window.output_len(c);
    let mut best: Vec<Option<usize>> = vec![None; len];
    let value = |at: usize| -> f64 { x[at].into() };
    window.each(|(output, _, input)| {
        for i in 0..c {
            let (output, input) = (output * c + i, input * c + i);
            if best[output].is_none_or(|b| value(input) > value(b)) {
                best[output] = Some(input);
            }
        }
    });
    let mut dx = vec![0.0; x.len()];
    let best: Vec<usize> = best.into_iter().map(|b| b.expect("every window touches the picture")).collect();
    best.iter().zip(dy).for_each(|(&b, &g)| dx[b] += g.into());
    [best.iter().map(|&b| value(b)).collect(), dx]
}

/// Mean over each window, of all its cells or of those inside the picture, and its gradient for `dy`.
pub fn avg_pool<T: Number>(
    window: &Window,
    c: usize,
    count_padding: bool,
    x: &[T],
    dy: &[T],
) -> [Vec<f64>; 2] {
    let mut count = vec![0.0; window.output_len(c)];
    let mut y = vec![0.0; window.output_len(c)];
    window.each(|(output, _, input)| {
        for i in 0..c {
            count[output * c + i] += 1.0;
            y[output * c + i] += x[input * c + i].into();
        }
    });
    if count_padding {
        count.fill((window.size[0] * window.size[1]) as f64);
    }
    y.iter_mut().zip(&count).for_each(|(y, n)| *y /= n);
    let mut dx = vec![0.0; x.len()];
    window.each(|(output, _, input)| {
        for i in 0..c {
            let g: f64 = dy[output * c + i].into();
            dx[input * c + i] += g / count[output * c + i];
        }
    });
    [y, dx]
}

/// Batch norm over `pixels × c` with batch statistics: output, mean, biased variance.
pub fn batch_norm<T: Number>(x: &[T], gamma: &[T], beta: &[T], epsilon: f64) -> [Vec<f64>; 3] {
    let c = gamma.len();
    let [mean, variance] = statistics(x, c);
    let y = x.iter().enumerate().map(|(i, &v)| {
        let (j, v): (usize, f64) = (i % c, v.into());
        (v - mean[j]) / (variance[j] + epsilon).sqrt() * gamma[j].into() + beta[j].into()
    });
    [y.collect(), mean, variance]
}

fn statistics<T: Number>(x: &[T], c: usize) -> [Vec<f64>; 2] {
    let m = (x.len() / c) as f64;
    let column = |j: usize| x.iter().skip(j).step_by(c).map(|&v| v.into());
    let mean: Vec<f64> = (0..c).map(|j| column(j).sum::<f64>() / m).collect();
    let variance = (0..c).map(|j| column(j).map(|v| (v - mean[j]).powi(2)).sum::<f64>() / m).collect();
    [mean, variance]
}

/// Gradients of [`batch_norm`]'s output for `dy`: of x, γ, β, by the chain rule over every pair of values.
pub fn batch_norm_grad<T: Number>(x: &[T], gamma: &[T], dy: &[f64], epsilon: f64) -> [Vec<f64>; 3] {
    let c = gamma.len();
    let m = x.len() / c;
    let [mean, variance] = statistics(x, c);
    let (mut dx, mut dgamma, mut dbeta) = (vec![0.0; x.len()], vec![0.0; c], vec![0.0; c]);
    for j in 0..c {
        let inv = 1.0 / (variance[j] + epsilon).sqrt();
        let at = |p: usize| x[p * c + j].into() - mean[j];
        let gamma: f64 = gamma[j].into();
        let mut dvariance = 0.0;
        let mut dmean = 0.0;
        for p in 0..m {
            let g = dy[p * c + j] * gamma;
            dgamma[j] += dy[p * c + j] * at(p) * inv;
            dbeta[j] += dy[p * c + j];
            dvariance += g * at(p) * -0.5 * inv.powi(3);
            dmean -= g * inv;
        }
        for p in 0..m {
            let g = dy[p * c + j] * gamma;
            dx[p * c + j] = g * inv + dvariance * 2.0 * at(p) / m as f64 + dmean / m as f64;
        }
    }
    [dx, dgamma, dbeta]
}

/// Mean cross-entropy of `logits` `[n, classes]` with smoothed labels, and its gradient.
pub fn cross_entropy<T: Number>(logits: &[T], labels: &[u32], smoothing: f64) -> (f64, Vec<f64>) {
    let n = labels.len();
    let classes = logits.len() / n;
    let (mut loss, mut grad) = (0.0, Vec::with_capacity(logits.len()));
    for (row, &label) in logits.chunks(classes).zip(labels) {
        let sum: f64 = row.iter().map(|&v| v.into().exp()).sum();
        for (j, &v) in row.iter().enumerate() {
            let v: f64 = v.into();
            let target = smoothing / classes as f64 + if j == label as usize { 1.0 - smoothing } else { 0.0 };
            loss -= target * (v - sum.ln()) / n as f64;
            grad.push((v.exp() / sum - target) / n as f64);
        }
    }
    (loss, grad)
}
