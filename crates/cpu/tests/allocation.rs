//! Training steps ask for memory once.
//!
//! One test, as the allocator counts for the whole process.

use inception_cpu::{Device, Keep, Optimizer, StepOptions, Trainer, Wire};
use inception_graph::{Spec, Weights, build};

#[global_allocator]
static COUNTING: dhat::Alloc = dhat::Alloc;

/// From the second step of a batch size on nothing is allocated, on any thread, whatever is kept, with an auxiliary head too.
#[test]
fn steps_allocate_nothing_once_they_have_their_memory() {
    let _profiler = dhat::Profiler::builder().testing().build();
    for net in ["inception_v3", "inception_v4", "inception_resnet_v1", "inception_resnet_v2.slim"] {
        for keep in [Keep::Outputs, Keep::Checkpoints] {
            let spec = Spec::new(net).img_size(107).width(0.25).classes(5).aux();
            let graph = build(&spec).expect("valid");
            let device = Device::new(Some(2)).expect("a device");
            let mut trainer = Trainer::with(&graph, Weights::init(&graph, 1), &device, keep);
            let options = |micro_batch: usize| StepOptions {
                optimizer: Optimizer::RmsPropTf { decay: 0.9, momentum: 0.9, epsilon: 1.0 },
                lr: 1e-3,
                weight_decay: 1e-4,
                clip_grad: Some(1.0),
                label_smoothing: 0.1,
                aux_weight: 0.4,
                bn_decay: 0.9,
                ema_decay: Some(0.9),
                random: [1, 2],
                micro_batch: micro_batch.try_into().ok(),
                sync_norm: false,
                wire: Wire::F32,
            };
            let pixels: Vec<f32> =
                (0..5 * 107 * 107 * 3).map(|i| (i * 31 % 97) as f32 / 50.0 - 1.0).collect();
            let mut step = |micro_batch: usize| {
                let before = dhat::HeapStats::get().total_blocks;
                trainer.step(&pixels, &[0, 1, 2, 3, 4], &options(micro_batch)).expect("finite");
                dhat::HeapStats::get().total_blocks - before
            };
            assert!(step(5) > 0 && step(2) > 0, "{net}: the first steps plan");
            let counts = [step(5), step(2), step(5), step(2)];
            assert_eq!(counts, [0; 4], "{net}, {keep:?}: allocations of steps");
        }
    }
}
