//! Weights and a picture that every side computes by itself, so that none are stored: `reference/formula.py`.

use inception_graph::{Graph, Layout, Param, Role, Weights};

/// FNV-1a, 32 bits.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |h, byte| (h ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The 32 bits of value `index` of the tensor called `name`: MurmurHash3's finaliser over name and index.
fn bits(hash: u32, index: usize) -> u32 {
    let x = hash ^ (index as u32).wrapping_mul(0x9e37_79b1);
    let x = (x ^ x >> 16).wrapping_mul(0x85eb_ca6b);
    let x = (x ^ x >> 13).wrapping_mul(0xc2b2_ae35);
    x ^ x >> 16
}

/// Uniform in `[-1, 1)`.
fn uniform(hash: u32, index: usize) -> f64 {
    f64::from(bits(hash, index)) * 2f64.powi(-31) - 1.0
}

/// Values of a tensor that a file calls `name`, in the file's own order. `fan_in` is that of a kernel.
fn values(seed: u64, name: &str, role: Role, kernel: bool, fan_in: usize, count: usize) -> Vec<f32> {
    let hash = hash(&format!("{seed}/{name}"));
    let gain: f64 = if kernel { 6.0 } else { 3.0 };
    let value = |u: f64| match role {
        Role::Weight => u * (gain / fan_in as f64).sqrt(),
        Role::Variance => 1.0 + 0.5 * u,
        Role::Gamma => 1.0 + 0.25 * u,
        Role::Bias | Role::Beta | Role::Mean => 0.1 * u,
    };
    (0..count).map(|i| value(uniform(hash, i)) as f32).collect()
}

/// The formula's weights for `graph`, as a file in `layout` would bring them.
pub fn weights(graph: &Graph, layout: Layout, seed: u64) -> Weights {
    let mut weights = Weights::zeros(graph);
    let names = layout.names(graph);
    for (i, foreign) in names.iter().enumerate() {
        let param = weights.params()[i].clone();
        let Some(foreign) = foreign else {
            weights.get_mut(i).fill(1.0);
            continue;
        };
        let fan_in = param.shape[..param.shape.len() - 1].iter().product();
        let shape = foreign.axes.shape(&param.shape);
        let found = values(seed, &foreign.name, param.role, shape.len() == 4, fan_in, param.len());
        foreign.axes.to_canonical(&param.shape, &found, weights.get_mut(i));
    }
    weights
}

/// The formula's weights for `graph` under our own names.
pub fn canonical(graph: &Graph, seed: u64) -> Weights {
    let mut weights = Weights::zeros(graph);
    for i in 0..weights.params().len() {
        let Param { ref name, ref shape, role, .. } = weights.params()[i];
        let fan_in = shape[..shape.len() - 1].iter().product();
        let found = values(seed, name, role, shape.len() == 4, fan_in, shape.iter().product());
        weights.get_mut(i).copy_from_slice(&found);
    }
    weights
}

/// Bytes of a picture `[side, side, 3]`: coloured squares of 23 pixels under noise.
pub fn picture(side: usize, seed: u64) -> Vec<u8> {
    let (squares, noise) = (hash(&format!("{seed}/squares")), hash(&format!("{seed}/noise")));
    let byte = |hash, index| bits(hash, index) >> 24;
    (0..side * side * 3)
        .map(|i| {
            let (y, x, c) = (i / 3 / side, i / 3 % side, i % 3);
            let square = byte(squares, (y / 23 * 100 + x / 23) * 3 + c);
            ((3 * square + byte(noise, i)) / 4) as u8
        })
        .collect()
}

/// The picture as a network sees it, from −1 to 1.
pub fn input(side: usize, seed: u64) -> Vec<f32> {
    picture(side, seed).iter().map(|&b| (f32::from(b) - 127.5) / 127.5).collect()
}

/// The 16 places of an activation of `count` values that are recorded.
pub fn sample(count: usize) -> [usize; 16] {
    let hash = hash("sample");
    std::array::from_fn(|i| bits(hash, i) as usize % count)
}
