//! The training loop: what it asks of an engine, what it saves, how it ends; and that real networks learn.

use std::path::Path;
use std::sync::{Arc, Mutex};

use inception::checkpoint;
use inception::data::{
    Batch, Cache, DataError, Dataset, Loader, OnBad, Picture, Request, Splits, Transform, digits::digits,
};
use inception::engine::{
    Cpu, Engine, Learning, Peers, StepError, StepOptions, StepReport, Together, TrainState, Use,
};
use inception::metrics::Metrics;
use inception::progress::Style;
use inception::recipe::{NormMode, Recipe};
use inception::run_dir::RunDir;
use inception::train::{Flow, Job, Run, Saving, Start, spec};
use inception_cpu::{Device, Wire};
use inception_graph::{Graph, Weights, build};

/// Learns nothing, remembers what it was asked, and answers right once `good` steps are done.
struct Fake {
    graph: Graph,
    weights: Weights,
    asked: Asked,
    /// Calls that find a number that is not finite.
    fail_at: Vec<usize>,
    calls: usize,
}

impl Engine for Fake {
    fn graph(&self) -> &Graph {
        &self.graph
    }
    fn train_step(
        &mut self,
        batch: &Batch,
        options: &StepOptions,
        _: Option<Together>,
    ) -> Result<StepReport, StepError> {
        let mut asked = self.asked.lock().expect("one thread");
        self.calls += 1;
        if self.fail_at.contains(&(self.calls - 1)) {
            return Err(StepError::NotFinite { node: "mixed_5b/b1/0".into(), what: "activation" });
        }
        asked.push((batch.indices.clone(), *options));
        // Where pictures are mixed all are, and weights lie between those of their classes.
        assert!(batch.mixed.is_empty() || batch.mixed.len() == batch.len());
        assert!(batch.weights.is_empty() || batch.weights.iter().all(|weight| (0.4..3.0).contains(weight)));
        Ok(StepReport { loss: 2.0, correct: batch.len() / 2, count: batch.len(), grad_norm: 1.0 })
    }
    fn predict(&mut self, batch: &Batch, weights: Use) -> Vec<f32> {
        assert_eq!(weights, Use::Average, "evaluation uses the average");
        // The first two epochs get one picture in two right, the second one best, later ones none.
        let steps = self.asked.lock().expect("one thread").len();
        let right = |i: usize| steps <= 10 && i.is_multiple_of(2);
        let logit = |i: usize, class: usize, label: u32| {
            f32::from(u8::from(right(i) == (class == label as usize))) * if steps == 10 { 0.5 } else { 1.0 }
        };
        let rows = batch.indices.iter().zip(&batch.labels);
        rows.flat_map(|(&i, &label)| (0..10).map(move |class| logit(i, class, label))).collect()
    }
    fn before_pooling(&mut self, batch: &Batch) -> (Vec<f32>, usize) {
        (vec![0.0; batch.len()], 1)
    }
    fn weights(&self, _: Use) -> Weights {
        Weights::init(&self.graph, self.asked.lock().expect("one thread").len() as u64)
    }
    fn set_weights(&mut self, _: &Weights) {}
    fn set_learning(&mut self, _: Learning) {}
    fn recalibrate(
        &mut self,
        _: &mut dyn Iterator<Item = Result<Batch, DataError>>,
        _: Option<&dyn Peers>,
    ) -> Result<(), DataError> {
        Ok(())
    }
    fn state(&self) -> TrainState<'_> {
        TrainState::new(std::borrow::Cow::Borrowed(&self.weights))
    }
    fn set_state(&mut self, state: TrainState) {
        assert_eq!(state.weights.data, self.weights.data);
    }
}

fn recipe(sets: &[(&str, &str)]) -> Recipe {
    let fixed = [("net", "inception_resnet_v1"), ("width", "0.06"), ("img_size", "75")];
    let sets: Vec<_> = fixed.iter().chain(sets).map(|(k, v)| (k.to_string(), v.to_string())).collect();
    Recipe::load("demo", &sets).expect("valid")
}

/// The first `train` and `val` digits.
fn few(train: usize, val: usize) -> Splits {
    let Splits { train: t, val: v, left_out } = digits(1).expect("inside the program");
    let cut = |data: Dataset, n: usize| Dataset { samples: data.samples[..n].to_vec(), ..data };
    Splits { train: cut(t, train), val: cut(v, val), left_out }
}

fn job(recipe: Recipe, splits: Splits) -> Job {
    let device = Device::new(Some(2)).expect("a device");
    Job {
        recipe,
        recipe_name: "test".into(),
        splits,
        device,
        keep: inception_cpu::Keep::default(),
        workers: 2,
        log_interval: 1,
        progress: Style::None,
        saving: Saving::default(),
    }
}

fn folder(dir: &Path) -> RunDir {
    RunDir::create(dir, "run", "", &serde_json::json!({})).expect("new")
}

type Asked = Arc<Mutex<Vec<(Vec<usize>, StepOptions)>>>;

fn faked(dir: &Path, recipe: Recipe, fail_at: &[usize]) -> (Run, Asked) {
    let splits = few(42, 20);
    let graph = build(&spec(&recipe, 10).expect("a network")).expect("valid");
    let asked = Asked::default();
    let weights = Weights::init(&graph, 0);
    let engine = Fake { graph, weights, asked: asked.clone(), fail_at: fail_at.to_vec(), calls: 0 };
    (Run::with_engine(job(recipe, splits), folder(dir), Box::new(engine)).expect("valid"), asked)
}

fn log(dir: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(dir.join("run/log.jsonl")).expect("a log");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn the_loop_asks_for_what_the_recipe_says() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let recipe = recipe(&[("epochs", "4"), ("batch_size", "8"), ("ema_decay", "0.5"), ("bn_decay", "0.9")]);
    let (mut run, asked) = faked(dir.path(), recipe.clone(), &[]);
    while !run.is_finished() {
        assert_eq!(run.epoch().expect("runs"), Flow::Done);
    }
    let asked = asked.lock().expect("one thread");
    assert_eq!(asked.len(), 4 * 5, "42 pictures are five whole batches of 8");
    for (step, (indices, options)) in asked.iter().enumerate() {
        assert_eq!(indices.len(), 8);
        assert_eq!(options.aux_weight, 0.0);
        assert_eq!(options.lr, recipe.schedule.lr(step, 5, 20) as f32);
        let early = (1.0 + step as f32) / (10.0 + step as f32);
        assert_eq!(options.ema_decay, Some(early.min(0.5)));
        assert_eq!(options.bn_decay, early.min(0.9));
        assert_eq!(options.random, [recipe.seed, step as u64]);
        assert_eq!(options.clip_grad, Some(2.0));
    }
    let epoch = |e: usize| asked[e * 5..][..5].iter().flat_map(|(i, _)| i.clone()).collect::<Vec<_>>();
    assert_ne!(epoch(0), epoch(1), "each epoch has an order of its own");
    let mut seen = epoch(0);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 40, "no picture twice in an epoch");
}

#[test]
fn last_and_best_are_saved_and_logged() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (mut run, _) = faked(dir.path(), recipe(&[("epochs", "4"), ("batch_size", "8")]), &[]);
    while !run.is_finished() {
        run.epoch().expect("runs");
    }
    let summary = run.finish().expect("finished");
    assert_eq!(summary.best_epoch, 2, "the smaller loss among equal errors");
    let load = |name: &str| checkpoint::load(&dir.path().join("run").join(name)).expect("a checkpoint");
    let (_, weights, metadata) = load("best.safetensors");
    assert_eq!((metadata.epoch, metadata.step), (2, 10));
    assert_eq!(metadata.classes.len(), 10);
    assert_eq!(metadata.metrics["eval_top1_error"], summary.epochs[1].eval_top1_error);
    assert_eq!(weights.data, Weights::init(&load("best.safetensors").0, 10).data);
    assert_eq!(load("last.safetensors").2.epoch, 4);

    let log = log(dir.path());
    let kinds = |kind: &str| log.iter().filter(|r| r["kind"] == kind).count();
    assert_eq!((kinds("step"), kinds("eval")), (20, 4));
    let eval: Vec<_> = log.iter().filter(|r| r["kind"] == "eval").collect();
    assert_eq!(eval[1]["eval_loss"].as_f64(), Some(summary.epochs[1].eval_loss), "every digit survives");
    assert_eq!(eval.iter().map(|r| r["best"] == true).collect::<Vec<_>>(), [true, true, false, false]);
    let csv = std::fs::read_to_string(dir.path().join("run/summary.csv")).expect("a summary");
    assert_eq!(csv.lines().next(), Some("epoch,train_loss,eval_loss,eval_top1,eval_top5,lr"));
    let rows: Vec<Vec<f64>> =
        csv.lines().skip(1).map(|l| l.split(',').map(|v| v.parse().expect("a number")).collect()).collect();
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[0][3], 100.0 * (1.0 - summary.epochs[0].eval_top1_error));
    assert!(dir.path().join("run/curves.svg").exists());
}

#[test]
fn numbers_that_are_not_finite_lower_the_rate_once_then_stop_with_step_layer_and_files() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let recipe = recipe(&[
        ("epochs", "4"),
        ("batch_size", "8"),
        ("schedule.name", "constant"),
        ("schedule.warmup", "0"),
    ]);
    let lr = recipe.schedule.lr as f32;
    let (mut run, asked) = faked(dir.path(), recipe, &[7, 14]);
    run.epoch().expect("the first epoch is fine");
    // Steps 6 and 7, then from the state of the first epoch's end again.
    run.epoch().expect("goes back once");
    {
        let asked = asked.lock().expect("one thread");
        let rates: Vec<f32> = asked.iter().map(|(_, options)| options.lr).collect();
        assert_eq!(rates, [[lr; 7].to_vec(), [lr / 2.0; 5].to_vec()].concat());
        assert_eq!(asked[5].0, asked[7].0, "the same pictures again");
        assert_eq!(asked[7].1.random, asked[5].1.random);
    }
    let text = format!("{:#}", run.epoch().expect_err("stops"));
    for part in ["step 12 of epoch 3", "mixed_5b/b1/0", "gone back once", "digit", "and 4 more", "--lr"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    let last = checkpoint::load(&dir.path().join("run/last.safetensors")).expect("saved");
    assert_eq!(last.2.epoch, 2);
    let trouble: Vec<_> = log(dir.path()).into_iter().filter(|r| r["kind"] == "trouble").collect();
    assert_eq!(trouble.iter().map(|r| r["step"].as_u64()).collect::<Vec<_>>(), [Some(8), Some(12)]);
    assert_eq!(trouble[0]["pictures"].as_array().map(Vec::len), Some(8));
    let rows = std::fs::read_to_string(dir.path().join("run/summary.csv")).expect("a summary");
    assert_eq!(rows.lines().count(), 3, "{rows}");
}

#[test]
fn a_run_ends_when_no_epoch_is_better_for_long() {
    for (patience, by, expected) in [("1", "top1-error", 3), ("2", "top1-error", 4), ("0", "loss", 6)] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let sets = [("epochs", "6"), ("batch_size", "8"), ("patience", patience), ("best_by", by)];
        let (mut run, _) = faked(dir.path(), recipe(&sets), &[]);
        while !run.is_finished() {
            run.epoch().expect("runs");
        }
        assert_eq!(run.epochs().len(), expected);
        assert_eq!(run.has_lost_patience(), patience != "0");
        assert_eq!(run.finish().expect("finished").best_epoch, 2);
    }
}

/// Both classes of a mixed picture count in their shares, and what was asked for reaches the engine.
#[test]
fn batches_are_mixed_weighted_and_balanced_as_the_recipe_says() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let sets =
        [("mix.mixup", "0.4"), ("class_weights", "balanced"), ("sampling", "balanced"), ("batch_size", "8")];
    let (mut run, asked) = faked(dir.path(), recipe(&[&sets[..], &[("epochs", "2")]].concat()), &[]);
    run.epoch().expect("runs");
    let asked = asked.lock().expect("one thread");
    let mut seen: Vec<usize> = asked.iter().flat_map(|(indices, _)| indices.clone()).collect();
    seen.sort();
    seen.dedup();
    assert!(seen.len() < 40, "small classes come again");
}

/// The second and the first epoch are best, in this order; the third is worse.
#[test]
fn the_best_epochs_are_kept() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let splits = few(42, 20);
    let recipe = recipe(&[("epochs", "4"), ("batch_size", "8")]);
    let graph = build(&spec(&recipe, 10).expect("a network")).expect("valid");
    let weights = Weights::init(&graph, 0);
    let engine = Fake { graph, weights, asked: Asked::default(), fail_at: Vec::new(), calls: 0 };
    let saving = Saving { best: 2, states: 1, ..Saving::default() };
    let job = Job { saving, ..job(recipe, splits) };
    let mut run = Run::with_engine(job, folder(dir.path()), Box::new(engine)).expect("valid");
    while !run.is_finished() {
        run.epoch().expect("runs");
    }
    let files = std::fs::read_dir(dir.path().join("run")).expect("a folder");
    let mut names: Vec<String> = files
        .map(|file| file.expect("readable").file_name().into_string().expect("UTF-8"))
        .filter(|name| name.ends_with(".safetensors"))
        .collect();
    names.sort();
    let expected = ["best", "epoch-0001", "epoch-0002", "last", "state-000000020"];
    assert_eq!(names, expected.map(|name| format!("{name}.safetensors")));
}

#[test]
fn fewer_pictures_than_a_batch_are_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let error = Run::new(job(recipe(&[("batch_size", "64")]), few(42, 20)), folder(dir.path()))
        .err()
        .expect("refused");
    assert!(error.to_string().contains("give -b 42 or less"), "{error}");
}

/// A real run twice, with 1 and 3 computing threads and other numbers of decoders: the same bits.
#[test]
fn the_same_seed_gives_the_same_bits() {
    let run = |threads: usize, seed: &str| {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let recipe = recipe(&[("epochs", "2"), ("batch_size", "8"), ("seed", seed)]);
        let device = Device::new(Some(threads)).expect("a device");
        let job = Job { device, workers: threads, ..job(recipe, few(24, 16)) };
        let mut run = Run::new(job, folder(dir.path())).expect("valid");
        while !run.is_finished() {
            run.epoch().expect("runs");
        }
        std::fs::read(dir.path().join("run/last.safetensors")).expect("saved")
    };
    let one = run(1, "1");
    assert!(one == run(3, "1"), "threads change the result");
    assert!(one != run(1, "2"), "the seed changes nothing");
}

/// What is watched is in the log, and the weights are those of a run that nobody watched, also when it was stopped in between.
#[test]
fn a_watched_run_logs_more_and_learns_the_same() {
    let run = |dir: &Path, watch: &[(&str, &str)]| {
        let fixed = [("epochs", "2"), ("batch_size", "8"), ("ema_decay", "0")];
        let recipe = recipe(&[&fixed, watch].concat());
        let mut run = Run::new(job(recipe, few(24, 16)), folder(dir)).expect("valid");
        while !run.is_finished() {
            run.epoch().expect("runs");
        }
        std::fs::read(dir.join("run/last.safetensors")).expect("saved")
    };
    let dirs = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
    let plain = run(dirs[0].path(), &[]);
    let all = [("watch.eval_steps", "1"), ("watch.raw", "true"), ("watch.activations", "true")];
    assert!(plain == run(dirs[1].path(), &all), "watching changes the weights");
    let records = log(dirs[1].path());
    let of = |kind: &str| records.iter().filter(move |r| r["kind"] == kind).cloned().collect::<Vec<_>>();
    let midway = of("eval_midway");
    let steps: Vec<_> = midway.iter().map(|r| (r["step"].as_u64(), r["epoch"].as_u64())).collect();
    let at = |step, epoch| (Some(step), Some(epoch));
    assert_eq!(steps, [at(1, 1), at(2, 1), at(4, 2), at(5, 2)], "the ends of epochs are judged anyway");
    for record in midway.iter().chain(&of("eval")) {
        assert!(record["eval_loss"].is_f64() && record["count"] == 16, "{record}");
        // Without an average the weights are themselves.
        for key in ["loss", "top1_error", "top5_error"] {
            assert_eq!(record[format!("raw_{key}")], record[format!("eval_{key}")], "{record}");
        }
        let seen = &record["activations"];
        // 1792 channels of the paper at width 0.06, rounded to eights in each concatenation.
        assert_eq!(seen["channels"], 112, "{record}");
        assert!(seen["std"].as_f64() > Some(0.0) && seen["max"].as_f64() > seen["mean"].as_f64(), "{record}");
        assert!(seen["dead"].as_f64() <= seen["zeros"].as_f64(), "{record}");
    }
    assert!(log(dirs[0].path()).iter().all(|r| r["kind"] != "eval_midway" && r["raw_loss"].is_null()));
}

/// Recalibrated on one batch, the network answers to it as a training step does: the mean of its activations over the positions, times
/// the classifier.
#[test]
fn activations_before_pooling_are_those_that_the_answer_is_made_of() {
    let Splits { val, .. } = few(24, 16);
    for net in ["inception_v3", "inception_resnet_v2"] {
        let graph =
            build(&inception_graph::Spec::new(net).img_size(107).width(0.06).classes(10)).expect("valid");
        let weights = Weights::init(&graph, 3);
        let mut engine = Cpu::new(graph.clone(), weights.clone(), Device::new(Some(2)).expect("a device"));
        let mut loader = Loader::new(Request {
            order: (0..val.samples.len()).collect(),
            dataset: Arc::new(val.clone()),
            transform: Transform::Eval,
            preprocessing: recipe(&[]).eval.into(),
            side: 107,
            batch_size: 16,
            drop_last: false,
            keep_empty: false,
            on_bad: OnBad::Error,
            workers: 1,
            cache: Cache::new(0),
        });
        let batch = loader.next().expect("a batch").expect("pictures");
        let (values, channels) = engine.before_pooling(&batch);
        assert_eq!(engine.weights(Use::Current).data, weights.data, "looking changes nothing");
        engine.recalibrate(&mut std::iter::once(Ok(batch.clone())), None).expect("statistics");
        let logits = engine.predict(&batch, Use::Average);
        let kernel = weights.get(weights.index("logits/weight").expect("a classifier"));
        let bias = weights.get(weights.index("logits/bias").expect("a classifier"));
        let positions = values.len() / batch.len() / channels;
        for (picture, logits) in values.chunks(positions * channels).zip(logits.chunks(10)) {
            for (class, &logit) in logits.iter().enumerate() {
                let product = |(i, &value): (usize, &f32)| {
                    f64::from(value) * f64::from(kernel[i % channels * 10 + class]) / positions as f64
                };
                let expected = picture.iter().enumerate().map(product).sum::<f64>() + f64::from(bias[class]);
                let off = (expected - f64::from(logit)).abs();
                assert!(off < 1e-3 * expected.abs().max(1.0), "{net}: {expected} {logit}");
            }
        }
    }
}

/// The trap of fine-tuning: after a few steps running statistics are those of other pictures, and a network that has learnt its
/// pictures looks as if it had not. Ten digits, five pictures of each.
#[test]
fn fine_tuning_with_five_pictures_a_class_evaluates_as_it_trains() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let train = |name: &str, recipe: Recipe, splits: Splits, from: Option<&str>| {
        let job = job(recipe, splits);
        let folder = RunDir::create(dir.path(), name, "", &serde_json::json!({})).expect("new");
        let graph = build(&spec(&job.recipe, 10).expect("a network")).expect("valid");
        let start = match from {
            None => Start::new(&graph, 1),
            Some(from) => {
                let path = dir.path().join(from).join("last.safetensors");
                let checkpoint = checkpoint::open(&path, None, false).expect("saved");
                Start::from(&checkpoint, "last.safetensors", &graph, true, 2).expect("the same network")
            }
        };
        let mut run = Run::from(job, folder, graph, start).expect("valid");
        while !run.is_finished() {
            run.epoch().expect("runs");
        }
        run.finish().expect("finished")
    };
    train("base", recipe(&[("epochs", "4")]), few(320, 20), None);
    // Darker pictures than those of the base, so that its statistics are wrong.
    let Splits { train: all, .. } = digits(1).expect("inside the program");
    let mut counts = [0; 10];
    let mut few = Dataset { samples: Vec::new(), ..all.clone() };
    for mut sample in all.samples {
        if counts[sample.label as usize] < 5 {
            counts[sample.label as usize] += 1;
            let Picture::Memory { rgb, .. } = &mut sample.picture else { unreachable!("inside the program") };
            Arc::make_mut(rgb).pixels.iter_mut().for_each(|v| *v /= 3);
            few.samples.push(sample);
        }
    }
    let sets = [("net", "inception_resnet_v1"), ("width", "0.06"), ("img_size", "75"), ("batch_size", "25")];
    let sets: Vec<_> =
        sets.into_iter().chain([("train.flip", "0")]).map(|(k, v)| (k.into(), v.into())).collect();
    let recipe = Recipe::load("finetune", &sets).expect("valid");
    // Measured anew, and followed with the warm-up that lets a few steps suffice.
    for mode in [NormMode::Recalibrate, NormMode::Batch] {
        let name = format!("{mode:?}");
        let recipe = Recipe { batch_norm: mode, ..recipe.clone() };
        let summary = train(
            &name,
            recipe,
            Splits { train: few.clone(), val: few.clone(), left_out: Vec::new() },
            Some("base"),
        );
        let in_evaluation = 1.0 - summary.epochs[summary.epochs.len() - 1].eval_top1_error;
        let path = dir.path().join(&name).join("last.safetensors");
        let (graph, weights, metadata) = checkpoint::load(&path).expect("saved");
        let mut batches = Loader::new(Request {
            order: (0..50).collect(),
            dataset: Arc::new(few.clone()),
            transform: Transform::Eval,
            preprocessing: metadata.preprocessing,
            side: 75,
            batch_size: 50,
            drop_last: false,
            keep_empty: false,
            on_bad: OnBad::Error,
            workers: 1,
            cache: Cache::new(0),
        });
        let batch = batches.next().expect("a batch").expect("readable");
        // Training mode without its dropout: normalised with the statistics of these very pictures.
        let mut engine = Cpu::new(graph, weights, Device::new(Some(2)).expect("a device"));
        engine.recalibrate(&mut std::iter::once(Ok(batch.clone())), None).expect("readable");
        let mut metrics = Metrics::new(10);
        metrics.add(&engine.predict(&batch, Use::Average), &batch.labels);
        let in_training = 1.0 - metrics.top1_error();
        assert!(in_training > 0.6, "{mode:?}: has learnt, {in_training}");
        assert!(
            (in_training - in_evaluation).abs() <= 0.0201,
            "{mode:?}: {in_training} in training, {in_evaluation} in evaluation"
        );
    }
}

/// Every paper network learns 32 pictures by heart.
#[test]
fn every_network_overfits_32_pictures() {
    const STEPS: u64 = 600;
    for net in ["inception_v3", "inception_v4", "inception_resnet_v1", "inception_resnet_v2"] {
        let recipe = recipe(&[("net", net), ("width", "0.12")]);
        let graph = build(&spec(&recipe, 10).expect("a network")).expect("valid");
        let device = Device::new(None).expect("a device");
        let mut engine = Cpu::new(graph.clone(), Weights::init(&graph, 1), device);
        let data = few(32, 1).train;
        let eval = |rgb: &inception::data::Picture| {
            let how = inception::data::Preprocessing::from(recipe.eval);
            let rgb = inception::data::decode::decode(rgb, how.decoding()).expect("in memory");
            how.apply(&rgb, 75).expect("a square")
        };
        let batch = Batch {
            pixels: data.samples.iter().flat_map(|s| eval(&s.picture)).collect(),
            side: 75,
            labels: data.samples.iter().map(|s| s.label).collect(),
            indices: (0..32).collect(),
            ..Batch::default()
        };
        let wrong = |engine: &mut Cpu| {
            let logits = engine.predict(&batch, Use::Current);
            let rows = logits.chunks(10).zip(&batch.labels);
            rows.filter(|(row, label)| inception::metrics::top_k(row, 1)[0] != **label as usize).count()
        };
        // The rate falls, so that the running statistics come to rest.
        let options = |step: u64| StepOptions {
            optimizer: recipe.optimizer.rule(),
            lr: 0.04 * (1.0 - step as f32 / STEPS as f32),
            weight_decay: 0.0,
            clip_grad: Some(10.0),
            label_smoothing: 0.0,
            aux_weight: 0.0,
            bn_decay: 0.8,
            ema_decay: None,
            random: [1, step],
            micro_batch: None,
            sync_norm: false,
            wire: Wire::F32,
        };
        let learnt = (0..STEPS).find(|&step| {
            engine.train_step(&batch, &options(step), None).expect("finite");
            step % 20 == 19 && wrong(&mut engine) == 0
        });
        assert!(learnt.is_some(), "{net} still has {} of 32 wrong", wrong(&mut engine));
    }
}
