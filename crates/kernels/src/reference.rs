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

/// One use of an input cell: picture, output row and column, window row and column, input row and column.
type Use = (usize, [usize; 2], [usize; 2], [usize; 2]);

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
        for n in 0..self.batch {
            for oy in 0..oh {
                for ox in 0..ow {
                    for ky in 0..self.size[0] {
                        for kx in 0..self.size[1] {
                            let y = (oy * self.stride + ky) as i64 - self.pad[0] as i64;
                            let x = (ox * self.stride + kx) as i64 - self.pad[1] as i64;
                            if y >= 0 && x >= 0 && y < self.input[0] as i64 && x < self.input[1] as i64 {
                                f((n, [oy, ox], [ky, kx], [y as usize, x as usize]));
                            }
                        }
                    }
                }
            }
        }
    }

    fn input_at(&self, n: usize, [y, x]: [usize; 2], channels: usize) -> usize {
        ((n * self.input[0] + y) * self.input[1] + x) * channels
    }

    fn output_at(&self, n: usize, [y, x]: [usize; 2], channels: usize) -> usize {
        let [oh, ow] = self.output();
        ((n * oh + y) * ow + x) * channels
    }

    fn output_len(&self, channels: usize) -> usize {
        let [oh, ow] = self.output();
        self.batch * oh * ow * channels
    }
}

/// `y[n, oy, ox, o] = Σ x[n, y, x, i] · w[ky, kx, i, o]`.
pub fn conv(window: &Window, [c_in, c_out]: [usize; 2], x: &[f32], w: &[f32]) -> Vec<f64> {
    let mut y = vec![0.0; window.output_len(c_out)];
    window.each(|(n, o, k, at)| {
        let (output, input) = (window.output_at(n, o, c_out), window.input_at(n, at, c_in));
        for i in 0..c_in {
            for j in 0..c_out {
                y[output + j] += f64::from(x[input + i])
                    * f64::from(w[((k[0] * window.size[1] + k[1]) * c_in + i) * c_out + j]);
            }
        }
    });
    y
}

/// Gradients of [`conv`] for `dy`: of the input and of the weights.
pub fn conv_grad(
    window: &Window,
    [c_in, c_out]: [usize; 2],
    x: &[f32],
    w: &[f32],
    dy: &[f32],
) -> [Vec<f64>; 2] {
    let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; w.len()]);
    window.each(|(n, o, k, at)| {
        let (output, pixel) = (window.output_at(n, o, c_out), window.input_at(n, at, c_in));
        for i in 0..c_in {
            for j in 0..c_out {
                let g = f64::from(dy[output + j]);
                let weight = ((k[0] * window.size[1] + k[1]) * c_in + i) * c_out + j;
                let input = pixel + i;
                dx[input] += g * f64::from(w[weight]);
                dw[weight] += g * f64::from(x[input]);
            }
        }
    });
    [dx, dw]
}

/// Maximum over each window and, for `dy`, its gradient: all of it to the first largest cell.
pub fn max_pool(window: &Window, c: usize, x: &[f32], dy: &[f32]) -> [Vec<f64>; 2] {
    let len = window.output_len(c);
    let mut best: Vec<Option<usize>> = vec![None; len];
    window.each(|(n, o, _, at)| {
        for i in 0..c {
            let (output, input) = (window.output_at(n, o, c) + i, window.input_at(n, at, c) + i);
            if best[output].is_none_or(|b| x[input] > x[b]) {
                best[output] = Some(input);
            }
        }
    });
    let mut dx = vec![0.0; x.len()];
    let best: Vec<usize> = best.into_iter().map(|b| b.expect("every window touches the picture")).collect();
    best.iter().zip(dy).for_each(|(&b, &g)| dx[b] += f64::from(g));
    [best.iter().map(|&b| f64::from(x[b])).collect(), dx]
}

/// Mean over each window, of all its cells or of those inside the picture, and its gradient for `dy`.
pub fn avg_pool(window: &Window, c: usize, count_padding: bool, x: &[f32], dy: &[f32]) -> [Vec<f64>; 2] {
    let mut count = vec![0.0; window.output_len(c)];
    let mut y = vec![0.0; window.output_len(c)];
    window.each(|(n, o, _, at)| {
        for i in 0..c {
            count[window.output_at(n, o, c) + i] += 1.0;
            y[window.output_at(n, o, c) + i] += f64::from(x[window.input_at(n, at, c) + i]);
        }
    });
    if count_padding {
        count.fill((window.size[0] * window.size[1]) as f64);
    }
    y.iter_mut().zip(&count).for_each(|(y, n)| *y /= n);
    let mut dx = vec![0.0; x.len()];
    window.each(|(n, o, _, at)| {
        for i in 0..c {
            let output = window.output_at(n, o, c) + i;
            dx[window.input_at(n, at, c) + i] += f64::from(dy[output]) / count[output];
        }
    });
    [y, dx]
}

/// Batch norm over `pixels × c` with batch statistics: output, mean, biased variance.
pub fn batch_norm(x: &[f32], gamma: &[f32], beta: &[f32], epsilon: f64) -> [Vec<f64>; 3] {
    let c = gamma.len();
    let m = (x.len() / c) as f64;
    let column = |j: usize| x.iter().skip(j).step_by(c).map(|&v| f64::from(v));
    let mean: Vec<f64> = (0..c).map(|j| column(j).sum::<f64>() / m).collect();
    let variance: Vec<f64> =
        (0..c).map(|j| column(j).map(|v| (v - mean[j]).powi(2)).sum::<f64>() / m).collect();
    let y = x.iter().enumerate().map(|(i, &v)| {
        let j = i % c;
        (f64::from(v) - mean[j]) / (variance[j] + epsilon).sqrt() * f64::from(gamma[j]) + f64::from(beta[j])
    });
    [y.collect(), mean, variance]
}

/// Gradients of [`batch_norm`]'s output for `dy`: of x, γ, β, by the chain rule over every pair of values.
pub fn batch_norm_grad(x: &[f32], gamma: &[f32], dy: &[f64], epsilon: f64) -> [Vec<f64>; 3] {
    let c = gamma.len();
    let m = x.len() / c;
    let [_, mean, variance] = batch_norm(x, gamma, &vec![0.0; c], epsilon);
    let (mut dx, mut dgamma, mut dbeta) = (vec![0.0; x.len()], vec![0.0; c], vec![0.0; c]);
    for j in 0..c {
        let inv = 1.0 / (variance[j] + epsilon).sqrt();
        let at = |p: usize| f64::from(x[p * c + j]) - mean[j];
        let mut dvariance = 0.0;
        let mut dmean = 0.0;
        for p in 0..m {
            let g = dy[p * c + j] * f64::from(gamma[j]);
            dgamma[j] += dy[p * c + j] * at(p) * inv;
            dbeta[j] += dy[p * c + j];
            dvariance += g * at(p) * -0.5 * inv.powi(3);
            dmean -= g * inv;
        }
        for p in 0..m {
            let g = dy[p * c + j] * f64::from(gamma[j]);
            dx[p * c + j] = g * inv + dvariance * 2.0 * at(p) / m as f64 + dmean / m as f64;
        }
    }
    [dx, dgamma, dbeta]
}

/// Mean cross-entropy of `logits` `[n, classes]` with smoothed labels, and its gradient.
pub fn cross_entropy(logits: &[f32], labels: &[u32], smoothing: f64) -> (f64, Vec<f64>) {
    let n = labels.len();
    let classes = logits.len() / n;
    let (mut loss, mut grad) = (0.0, Vec::with_capacity(logits.len()));
    for (row, &label) in logits.chunks(classes).zip(labels) {
        let sum: f64 = row.iter().map(|&v| f64::from(v).exp()).sum();
        for (j, &v) in row.iter().enumerate() {
            let target = smoothing / classes as f64 + if j == label as usize { 1.0 - smoothing } else { 0.0 };
            loss -= target * (f64::from(v) - sum.ln()) / n as f64;
            grad.push((f64::from(v).exp() / sum - target) / n as f64);
        }
    }
    (loss, grad)
}
