//! How much memory activations need: a lifetime analysis.

use crate::graph::Graph;
use crate::op::Op;

impl Graph {
    /// Bytes of the largest set of activations alive at one time, in f32, for `batch` pictures.
    ///
    /// An activation lives from the box that writes it to the last box that reads it, an output to the end. A box read by
    /// one concat alone writes into its slice of the concat, so that concats copy nothing. The picture counts too.
    pub fn peak_activation_bytes(&self, batch: usize) -> u64 {
        let count = self.nodes().len();
        let readers = self.reader_counts();
        let mut born: Vec<usize> = (0..count).collect();
        let mut dies = born.clone();
        let mut sliced = vec![false; count];
        for (i, node) in self.nodes().iter().enumerate() {
            for input in &node.inputs {
                dies[input.0] = i;
                if matches!(node.op, Op::Concat) && readers[input.0] == 1 {
                    sliced[input.0] = true;
                    born[i] = born[i].min(born[input.0]);
                }
            }
        }
        self.outputs().iter().for_each(|(_, id)| dies[id.0] = count - 1);
        let alive = |at: usize| {
            let live = (0..count).filter(|&i| !sliced[i] && (born[i]..=dies[i]).contains(&at));
            live.map(|i| self.nodes()[i].shape.len() as u64).sum::<u64>()
        };
        (0..count).map(alive).max().unwrap_or(0) * batch as u64 * size_of::<f32>() as u64
    }
}
