//! Running statistics measured anew.

use std::mem::replace;

use inception_graph::Role;

use super::Trainer;
use crate::peers::Peers;

/// Sums over pictures of a channel's mean and of its mean square.
type Sums = Vec<[f64; 2]>;

impl Trainer {
    /// The running statistics of the average weights (of the weights, where no average is kept) become those of all pictures of
    /// `batches`, `[n, side, side, 3]` each: the mean, and the variance around it. Fixed norms stay as they are. The first error of
    /// `batches` ends it, and nothing has changed. Pictures of `peers` count as well.
    pub fn recalibrate<E>(
        &mut self,
        batches: &mut dyn Iterator<Item = Result<Vec<f32>, E>>,
        peers: Option<&dyn Peers>,
    ) -> Result<(), E> {
        let weights = self.average.take().map(|average| replace(&mut self.weights, average));
        let mut found = self.measure(batches);
        if let (Ok((sums, pictures)), Some(peers)) = (&mut found, peers) {
            let mut flat = vec![*pictures];
            let nodes = self.nodes.iter().zip(&self.learning.fixed_norms);
            for (sums, (kept, _)) in sums.iter_mut().zip(nodes).filter(|(_, (_, fixed))| !**fixed) {
                sums.resize(kept.norm.mean.len(), [0.0; 2]);
                flat.extend(sums.iter().flatten());
            }
            peers.sum("running statistics", &mut flat);
            *pictures = flat[0];
            sums.iter_mut().flatten().flatten().zip(&flat[1..]).for_each(|(own, all)| *own = *all);
        }
        if let Ok((sums, pictures)) = &found
            && *pictures > 0.0
        {
            for (kept, sums) in self.nodes.iter().zip(sums).filter(|(_, sums)| !sums.is_empty()) {
                let mean = sums.iter().map(|[mean, _]| mean / pictures);
                let variance = sums.iter().map(|[mean, square]| {
                    let mean = mean / pictures;
                    (square / pictures - mean * mean).max(0.0)
                });
                let write = |to: &mut [f32], values: &mut dyn Iterator<Item = f64>| {
                    to.iter_mut().zip(values).for_each(|(to, value)| *to = value as f32);
                };
                write(self.weights.get_mut(kept.param(Role::Mean)), &mut { mean });
                write(self.weights.get_mut(kept.param(Role::Variance)), &mut { variance });
            }
        }
        if let Some(weights) = weights {
            self.average = Some(replace(&mut self.weights, weights));
        }
        found.map(|_| ())
    }

    /// The sums of every norm that is not fixed, node by node, and the number of pictures.
    fn measure<E>(
        &mut self,
        batches: &mut dyn Iterator<Item = Result<Vec<f32>, E>>,
    ) -> Result<(Vec<Sums>, f64), E> {
        let (mut sums, mut pictures) = (vec![Sums::new(); self.nodes.len()], 0.0);
        for input in batches {
            let input = input?;
            let count = self.look(&input, |_, _| {}) as f64;
            let fixed = &self.learning.fixed_norms;
            for ((kept, sums), _) in self.nodes.iter().zip(&mut sums).zip(fixed).filter(|(_, fixed)| !**fixed)
            {
                sums.resize(kept.mean.len(), [0.0; 2]);
                for (sum, (&mean, &variance)) in sums.iter_mut().zip(kept.mean.iter().zip(&kept.variance)) {
                    let (mean, variance) = (f64::from(mean), f64::from(variance));
                    sum[0] += count * mean;
                    sum[1] += count * (variance + mean * mean);
                }
            }
            pictures += count;
        }
        Ok((sums, pictures))
    }
}
