//! `inception compare`: several networks trained alike, and their errors side by side.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use inception_graph::{Spec, build};

use super::stdout;
use super::train::{Asked, Begun, Resume, RunArgs, go_on, network, pair};
use crate::compare::{
    About, Arm, ArmFacts, Comparison, PAIRS, Vary, arms, draw, of_log, page, tables, width_at_cost,
};
use crate::data::folder::{Division, divide};
use crate::data::storage;
use crate::exit::{Exit, UsageError};
use crate::progress::{counted, say};
use crate::ranks;
use crate::recipe::Recipe;
use crate::run_dir::{environment, replace, timestamp};
use crate::train::{Flow, is_finished, spec};

const NOTES: &str = "\
Each network (-m), with each combination of --vary, is trained with each seed as `inception train` trains it: the same pictures in the
same order, the same recipe. The folder gets compare.md (table and steps to given errors), compare.csv (every evaluation) and a figure
for each of the paper's pairs. The same command with the same --experiment goes on where it was stopped, and repeats no run.
More points on the curves than epochs: --set watch.eval_steps=200. The weights without averaging, too: --set watch.raw=true.

Examples:
  inception compare pictures/ -m inception_v4 -m inception_resnet_v2 --equal-cost --seeds 3 --experiment residual
  inception compare pictures/ -m inception_resnet_v2 --vary residual_scale=1,0.1 --set watch.activations=true
  inception compare pictures/ -m inception_v3 --vary recipe=paper,momentum
  inception compare --redraw output/compare/residual --target 20";

/// Arguments of `inception compare`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = NOTES)]
pub struct CompareArgs {
    /// Pictures, as `inception train` takes them
    #[arg(value_name = "DATA", required_unless_present = "redraw")]
    data: Option<PathBuf>,
    /// Network; give several
    #[arg(short, long = "model", value_name = "NET", required_unless_present = "redraw")]
    models: Vec<String>,
    /// Compare values of the recipe, too (`recipe=paper,momentum` whole recipes): every network with each of them
    #[arg(long, value_name = "KEY=A,B")]
    vary: Vec<Vary>,
    /// Give the residual network of a pair (v3 and ResNet-v1, v4 and ResNet-v2) the width at which it costs what the plain one does
    #[arg(long)]
    equal_cost: bool,
    /// Runs of each, with as many seeds, from --seed on
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// The first seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Top-1 error in percent whose steps are told; give several [default: the hardest that all runs reach]
    #[arg(long = "target", value_name = "PERCENT")]
    targets: Vec<f64>,
    /// A word for page and figures, such as the commit
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Folder for comparisons
    #[arg(long, value_name = "DIR", default_value = "output/compare", alias = "output-dir")]
    output: PathBuf,
    /// Name of this comparison's folder [default: the time]
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    /// Train nothing: make page and figures of the compare.csv in a folder anew
    #[arg(long, value_name = "DIR", conflicts_with_all = ["data", "models", "vary", "experiment", "equal_cost"])]
    redraw: Option<PathBuf>,
    /// How they are trained.
    #[command(flatten)]
    run: RunArgs,
}

impl CompareArgs {
    /// The recipe that an arm begins with.
    fn recipe_of<'a>(&'a self, arm: &'a Arm) -> &'a str {
        arm.recipe().or(self.run.recipe.as_deref()).unwrap_or("small")
    }
}

/// Runs the command.
pub fn run(args: CompareArgs) -> Result<Exit> {
    if let Some(wrong) = args.targets.iter().find(|target| !(0.0..100.0).contains(*target)) {
        return Err(
            UsageError(format!("--target {wrong}: expected an error in percent, 0 to below 100")).into()
        );
    }
    let Some(folder) = &args.redraw else { return train(&args) };
    let whole = Comparison::read(&folder.join("compare.csv"))?;
    write(&whole, &args.targets, folder)?;
    tell(&whole, &args.targets, folder)
}

fn train(args: &CompareArgs) -> Result<Exit> {
    args.run.progress.begin();
    ranks::alone("compare")?;
    let data = args.data.as_deref().ok_or_else(|| UsageError("no DATA".into()))?;
    let arms = arms(&args.models, &args.vary);
    if let Some(twice) = (1..arms.len()).find(|&i| arms[..i].contains(&arms[i])) {
        return Err(UsageError(format!(
            "{} is there twice: give each network and value once",
            arms[twice].name()
        ))
        .into());
    }
    let recipes = recipes(args, &arms)?;
    let division =
        Division { val_split: args.run.val_split, seed: args.seed, allow_missing: args.run.allow_missing };
    let classes = divide(data, division)?.train.classes.len();
    let facts = |(arm, recipe): (&Arm, &Recipe)| {
        let graph = network(recipe, classes)?.without_aux();
        let (width, parameters, macs) = (recipe.width, graph.parameter_count(), graph.macs());
        Ok((ArmFacts { name: arm.name(), width, parameters, macs }, graph.img_size()))
    };
    let (facts, sides): (Vec<_>, Vec<_>) =
        arms.iter().zip(&recipes).map(facts).collect::<Result<Vec<_>>>()?.into_iter().unzip();
    let name = args.experiment.clone().unwrap_or_else(timestamp);
    let folder = args.output.join(&name);
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let device = args.run.device.device()?;
    let about = About {
        command: command(),
        machine: machine(&environment(device.isa.name(), device.pool.threads())),
        note: args.note.clone(),
        img_size: sides[0],
        seconds: 0.0,
        arms: facts,
    };
    drop(device);
    let mut whole = Comparison { about, points: Vec::new() };
    let runs = arms.len() as u64 * args.seeds;
    let mut done = 0;
    for seed in args.seed..args.seed + args.seeds {
        for (arm, recipe) in arms.iter().zip(&recipes) {
            done += 1;
            let run = format!("{}-seed{seed}", arm.name().replace(' ', "-"));
            say(&format!("run {done} of {runs}: {run}"));
            let recipe = Recipe { seed, ..recipe.clone() };
            if one(args, arm, recipe, data, &folder, &run)? == Flow::Stopped {
                say(&format!(
                    "stopped; the same command goes on{}",
                    if args.experiment.is_none() {
                        format!(", with --experiment {name}")
                    } else {
                        String::new()
                    }
                ));
                return Ok(Exit::Stopped);
            }
            let (points, seconds) = of_log(&folder.join(&run).join("log.jsonl"), &arm.name(), seed)?;
            whole.points.extend(points);
            whole.about.seconds += seconds;
            let order = |name: &str| arms.iter().position(|arm| arm.name() == name);
            whole.points.sort_by_key(|p| (order(&p.arm), p.seed, p.step));
            write(&whole, &args.targets, &folder)?;
        }
    }
    tell(&whole, &args.targets, &folder)
}

/// The recipe of each arm, but for the seed.
fn recipes(args: &CompareArgs, arms: &[Arm]) -> Result<Vec<Recipe>> {
    let sets = args.run.sets()?;
    let all = arms.iter().flat_map(|arm| &arm.sets).chain(&sets);
    if let Some((key, value)) = all.into_iter().find(|(key, _)| key == "net" || key == "seed") {
        let text = format!("{key}={value}: give networks by -m, seeds by --seed and --seeds");
        return Err(UsageError(text).into());
    }
    let load = |arm: &Arm| {
        let own = arm.sets.iter().filter(|(key, _)| key != "recipe").cloned();
        let net = pair("net", &Some(&arm.net));
        let sets: Vec<_> = net.into_iter().chain(sets.clone()).chain(own).collect();
        Recipe::load(args.recipe_of(arm), &sets)
            .map_err(|e| UsageError(format!("{}: {e:#}", arm.name())).into())
    };
    let mut recipes = arms.iter().map(load).collect::<Result<Vec<_>>>()?;
    for recipe in &recipes {
        // Names and sizes are judged before the pictures are looked at.
        network(recipe, 2)?;
    }
    let plain_of = |net: &str| PAIRS.iter().find(|pair| pair[1] == net).map(|pair| pair[0]);
    for i in (0..arms.len()).filter(|_| args.equal_cost) {
        let Some(plain) = plain_of(&arms[i].net) else { continue };
        let partner = (0..arms.len()).find(|&j| arms[j].net == plain && arms[j].sets == arms[i].sets);
        let Some(partner) = partner else {
            return Err(UsageError(format!(
                "--equal-cost: {} needs its partner, -m {plain}",
                arms[i].name()
            ))
            .into());
        };
        let of = |i: usize| Ok::<_, anyhow::Error>(Spec { aux: false, ..spec(&recipes[i], 1000)? });
        recipes[i].width = width_at_cost(&of(i)?, build(&of(partner)?)?.macs())?;
    }
    Ok(recipes)
}

/// One run, from wherever it stands to its end.
fn one(
    args: &CompareArgs,
    arm: &Arm,
    recipe: Recipe,
    data: &Path,
    folder: &Path,
    name: &str,
) -> Result<Flow> {
    let begun = Begun::find(Some(&Resume::Auto), folder, Some(name))?;
    if let Some(begun) = &begun {
        begun.check(&recipe)?;
        if let Some(other) = begun.data().filter(|there| *there != storage::absolute(data)) {
            let text = format!(
                "{} was trained on {}, not on {}: choose another --experiment",
                begun.folder.display(),
                other.display(),
                data.display()
            );
            return Err(UsageError(text).into());
        }
        if is_finished(&begun.folder, &recipe)? {
            say("done before");
            return Ok(Flow::Done);
        }
    }
    let asked = Asked {
        args: &args.run,
        recipe,
        recipe_name: args.recipe_of(arm).into(),
        data: Some(data.into()),
        weights: None,
        new_head: false,
        output: folder,
        name: Some(name.into()),
        begun,
    };
    let (mut run, _) = asked.prepare()?;
    let flow = go_on(&mut run)?;
    run.finish()?;
    Ok(flow)
}

fn write(whole: &Comparison, targets: &[f64], folder: &Path) -> Result<()> {
    replace(&folder.join("compare.csv"), whole.to_csv()?.as_bytes())?;
    let files = draw(whole, targets, folder)?;
    replace(&folder.join("compare.md"), page(whole, targets, &files).as_bytes())
}

fn tell(whole: &Comparison, targets: &[f64], folder: &Path) -> Result<Exit> {
    let mut out = stdout();
    out.write_all(tables(whole, targets).as_bytes())?;
    out.flush()?;
    say(&format!("table and figures are in {}", folder.join("compare.md").display()));
    Ok(Exit::Done)
}

/// The command as it was typed, but for where the program lies.
fn command() -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=.,:/+%".contains(c);
    let quoted = |arg: std::ffi::OsString| match arg.to_string_lossy().into_owned() {
        arg if !arg.is_empty() && arg.chars().all(plain) => arg,
        arg => format!("'{}'", arg.replace('\'', "'\\''")),
    };
    std::iter::once("inception".into())
        .chain(std::env::args_os().skip(1).map(quoted))
        .collect::<Vec<_>>()
        .join(" ")
}

/// `AMD EPYC, avx2, 2 threads, inception 0.1.0`.
fn machine(env: &serde_json::Value) -> String {
    let text = |key: &str| env[key].as_str().unwrap_or("unknown processor").to_string();
    format!(
        "{}, {}, {}, inception {}",
        text("cpu"),
        text("isa"),
        counted(env["threads"].as_u64().unwrap_or(0) as usize, "thread"),
        text("version")
    )
}
