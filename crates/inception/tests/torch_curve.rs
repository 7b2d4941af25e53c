//! Whole training runs beside PyTorch's, recorded by `reference/train_torch.py`: every step's loss and gradient norm, and
//! at the end the loss of the network that has the moving averages.

use inception::weights::formula;
use inception_cpu::{Device, Model, Optimizer, Scratch, StepOptions, Trainer, Wire};
use inception_graph::{Role, Spec, Weights, build};
use inception_kernels::loss::{Targets, cross_entropy};
use serde::Deserialize;

#[derive(Deserialize)]
struct Record {
    img_size: usize,
    width: f64,
    classes: usize,
    batch: usize,
    steps: usize,
    seed: u64,
    /// Added to every shift, see the script.
    beta: f32,
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    net: String,
    recipe: String,
    options: Options,
    f64: Curve,
    f32: Curve,
}

#[derive(Deserialize)]
struct Options {
    decay: Option<f32>,
    epsilon: Option<f32>,
    momentum: f32,
    lr: f32,
    weight_decay: f32,
    clip_grad: f32,
    label_smoothing: f32,
    bn_decay: f32,
    ema_decay: f32,
}

#[derive(Deserialize)]
struct Curve {
    loss: Vec<f64>,
    grad_norm: Vec<f64>,
    average_loss: f64,
}

impl Options {
    fn step(&self, random: [u64; 2]) -> StepOptions {
        let &Options { decay, epsilon, momentum, .. } = self;
        let optimizer = match decay.zip(epsilon) {
            Some((decay, epsilon)) => Optimizer::RmsPropTf { decay, momentum, epsilon },
            None => Optimizer::Sgd { momentum, nesterov: true },
        };
        StepOptions {
            optimizer,
            lr: self.lr,
            weight_decay: self.weight_decay,
            clip_grad: Some(self.clip_grad),
            label_smoothing: self.label_smoothing,
            aux_weight: 0.0,
            bn_decay: self.bn_decay,
            ema_decay: Some(self.ema_decay),
            random,
            micro_batch: None,
            sync_norm: false,
            wire: Wire::F32,
        }
    }
}

impl Record {
    fn batch(&self, step: usize) -> (Vec<f32>, Vec<u32>) {
        let pictures = (0..self.batch).map(|i| formula::input(self.img_size, (step * self.batch + i) as u64));
        let labels = (0..self.batch).map(|i| ((step + 3 * i) % self.classes) as u32);
        (pictures.flatten().collect(), labels.collect())
    }

    /// The run as it goes here.
    fn here(&self, run: &Run) -> Curve {
        let spec =
            Spec::new(run.net.as_str()).img_size(self.img_size).width(self.width).classes(self.classes);
        let graph = build(&spec).unwrap();
        let mut weights: Weights = formula::canonical(&graph, 0);
        for i in 0..weights.params().len() {
            if weights.params()[i].role == Role::Beta {
                weights.get_mut(i).iter_mut().for_each(|beta| *beta += self.beta);
            }
        }
        let device = Device::new(None).unwrap();
        let mut trainer = Trainer::new(&graph, weights, &device);
        let (mut loss, mut grad_norm) = (Vec::new(), Vec::new());
        for step in 0..self.steps {
            let (pictures, labels) = self.batch(step);
            let report =
                trainer.step(&pictures, &labels, &run.options.step([self.seed, step as u64])).unwrap();
            loss.push(report.loss.into());
            grad_norm.push(report.grad_norm.into());
        }
        let (pictures, labels) = self.batch(self.steps);
        let model = Model::new(&graph, trainer.average().unwrap(), &device);
        let logits = model.run(&pictures, "logits", &mut Scratch::default()).unwrap();
        let loss_of_average =
            cross_entropy(&logits, &Targets::new(&labels), 0.0, 1, &mut vec![0.0; logits.len()]);
        let average_loss = loss_of_average.sum / labels.len() as f64;
        Curve { loss, grad_norm, average_loss }
    }
}

/// Something of a run, step by step.
type Quantity = fn(&Curve) -> &[f64];

/// What is compared.
const QUANTITIES: [(&str, Quantity); 3] = [
    ("loss", |curve| &curve.loss),
    ("gradient norm", |curve| &curve.grad_norm),
    ("loss with the average", |curve| std::slice::from_ref(&curve.average_loss)),
];

/// How far each of `found` is from `expected`, as a share of it.
fn departures<'a>(found: &'a [f64], expected: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(f, e)| (f / e - 1.0).abs())
}

/// How far a run in `f32` may be from one in `f64`: some times as far as the farthest of PyTorch's, because in which run a
/// ReLU first takes another side is chance, and a few roundings.
fn tolerance(record: &Record, of: Quantity) -> f64 {
    const TIMES: f64 = 3.0;
    const ROUNDINGS: f64 = 16.0 * f32::EPSILON as f64;
    let farthest = record.runs.iter().flat_map(|run| departures(of(&run.f32), of(&run.f64)));
    TIMES * farthest.fold(0.0, f64::max) + ROUNDINGS
}

/// Among many other things that PyTorch's gradients, TensorFlow's RMSProp, Nesterov's look-ahead, weight decay, clipping,
/// dropout, batch norm in training and the moving average are what they are here, together and for many steps.
#[test]
fn training_goes_as_in_pytorch() {
    let record: Record = serde_json::from_str(include_str!("fixtures/torch_curve.json")).unwrap();
    let mut wrong = Vec::new();
    for run in &record.runs {
        let here = record.here(run);
        for (what, of) in QUANTITIES {
            let allowed = tolerance(&record, of);
            // Sharp enough to tell rounding from another computation.
            assert!(allowed < 4e-4, "{what}: {allowed:.1e}");
            for (step, found) in departures(of(&here), of(&run.f64)).enumerate() {
                if found.is_nan() || found > allowed {
                    let Run { net, recipe, .. } = run;
                    wrong.push(format!(
                        "{net}, {recipe}, step {step}: {what} departs by {found:.1e} of {allowed:.1e}"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
