//! `inception dist doctor`: who is there, whether all have the same, and how fast sums are.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, ensure};
use inception_cpu::{Device, Peers, Wire};
use inception_graph::{Graph, thousands};
use serde::{Deserialize, Serialize};

use super::SizeArgs;
use super::table::{Forecast, forecast, text};
use crate::cmd::bench::training;
use crate::cmd::device::DeviceArgs;
use crate::cmd::ranks::RanksArgs;
use crate::cmd::{check_seconds, stdout, write_json};
use crate::data::folder::{open_single, open_train};
use crate::data::{DataError, Fingerprint};
use crate::dist::{Link, Point, Ranks, Work, fit};
use crate::exit::{self, BadData, Exit, UsageError};
use crate::progress::bytes;
use crate::ranks::{self, Program, World};

const NOTES: &str = "\
Start it as training is to be started: by the same mpirun or srun, with the same hosts, ranks and bindings. It ends with 1 where something is wrong.

Examples:
  mpirun -n 4 --map-by slot:PE=8 inception dist doctor --data photos/
  mpirun -n 2 inception dist doctor -m inception_v4 -b 16            with steps of all ranks, and a forecast for more
  mpirun -n 2 inception dist doctor --json > doctor.json             for `inception dist plan --doctor doctor.json`";

/// Arguments of `inception dist doctor`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = NOTES)]
pub(super) struct DoctorArgs {
    /// Pictures that every rank has to find: a folder with a folder a class, or what else `inception train` reads
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
    /// Network whose training steps are measured, too, for a forecast
    #[arg(short, long, value_name = "NET")]
    model: Option<String>,
    /// Pictures of all ranks in a step [default: 8 for each rank]
    #[arg(short, long, value_name = "N", requires = "model")]
    batch_size: Option<NonZeroUsize>,
    #[command(flatten)]
    size: SizeArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    ranks: RanksArgs,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// What a rank says of itself.
#[derive(Clone, Serialize, Deserialize)]
struct Rank {
    host: String,
    threads: usize,
    /// Cores that the process may use.
    cores: Vec<usize>,
    #[serde(flatten)]
    program: Program,
    /// What it was asked for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    flags: String,
    /// Seconds since 1970, at moments when all were told to look.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    stamps: Vec<f64>,
    /// How far its clock is ahead of that of rank 0, in seconds.
    clock_ahead: f64,
    /// DATA's pictures for training and for evaluation, or what is wrong with them.
    data: Option<Result<[Fingerprint; 2], String>>,
}

/// All that was found.
#[derive(Serialize)]
struct Found {
    ranks: Vec<Rank>,
    hosts: usize,
    sums: Vec<Point>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<Link>,
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<Steps>,
    forecasts: Vec<Forecast>,
    problems: Vec<String>,
}

/// Training steps.
#[derive(Serialize)]
struct Steps {
    /// A rank's own, while all the others take theirs and nobody waits for another.
    work: Work,
    /// Of all together.
    together: training::Training,
}

/// A link that was measured.
#[derive(Clone, Copy)]
pub(super) struct Measured {
    pub(super) link: Link,
    /// Whether it is the memory of a single host.
    pub(super) is_memory: bool,
}

/// The link that was measured, of a file of this command.
pub(super) fn read_link(file: &Path) -> Result<Measured> {
    #[derive(Deserialize)]
    struct Written {
        link: Option<Link>,
        hosts: usize,
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let wrong = |problem: String| BadData(format!("{}: {problem}", file.display()));
    let Written { link, hosts } = serde_json::from_str(&text)
        .map_err(|e| wrong(format!("is nothing that `inception dist doctor --json` writes: {e}")))?;
    let link = link.ok_or_else(|| {
        wrong(
            "has no link: it was measured with one rank, or large sums took no longer than empty ones".into(),
        )
    })?;
    match link.problem() {
        Some(problem) => Err(wrong(format!("link: {problem}")).into()),
        None => Ok(Measured { link, is_memory: hosts == 1 }),
    }
}

/// Runs the command.
pub(super) fn run(args: DoctorArgs) -> Result<Exit> {
    check_seconds(args.size.seconds)?;
    let world = args.ranks.join()?;
    let device = args.device.device()?;
    let graph = args.model.as_deref().map(|net| args.size.graph(net)).transpose()?;
    let batch = args.batch_size.map_or(8 * world.size(), NonZeroUsize::get);
    if !batch.is_multiple_of(world.size()) {
        return Err(UsageError(format!("-b {batch} is no multiple of {} ranks", world.size())).into());
    }
    let mut ranks = who(world, &device, &args)?;
    let mut problems = problems_of(&ranks);
    let alike = ranks.iter().all(|rank| (&rank.program, &rank.flags) == (&ranks[0].program, &ranks[0].flags));
    let per_host = hosts(&ranks).values().map(Vec::len).max().unwrap_or(1);
    let (mut times, mut link, mut taken) = (Vec::new(), None, None);
    // Ranks that do not ask for the same would wait for each other.
    if alike {
        times = sums(world, args.size.seconds)?;
        link = fit(&times, Ranks { count: world.size(), per_host });
        if world.size() > 1 && link.is_none() {
            problems
                .push("large sums take no longer than empty ones: measure again on a quiet machine".into());
        }
        taken = graph.map(|graph| steps(&graph, &device, &args, batch, world)).transpose()?;
    }
    if !world.leads() {
        return Ok(Exit::Done);
    }
    ranks.iter_mut().for_each(|rank| rank.flags.clear());
    let hosts = hosts(&ranks).len();
    // The memory of one host tells nothing of the way to others.
    let more = (0..if hosts > 1 { MORE } else { 1 }).map(|power| world.size() << power);
    let forecasts = taken.as_ref().zip(link).map(|(Steps { work, .. }, link)| {
        more.map(|count| forecast(work, 4.0, Ranks { count, per_host }, link)).collect::<Vec<_>>()
    });
    let forecasts = forecasts.unwrap_or_default();
    let found = Found { hosts, ranks, sums: times, link, steps: taken, forecasts, problems };
    let mut out = stdout();
    match args.json {
        true => write_json(&mut out, &found)?,
        false => write_text(&mut out, &found)?,
    }
    out.flush()?;
    Ok(if found.problems.is_empty() { Exit::Done } else { Exit::Failed })
}

/// Powers of two of the ranks that are forecast.
const MORE: usize = 7;

/// Takes steps of `batch` pictures, each rank for itself, then all together.
fn steps(graph: &Graph, device: &Device, args: &DoctorArgs, batch: usize, world: &World) -> Result<Steps> {
    let measure = |batch: usize, world: &World| {
        training::measure(&training::Asked::watched(graph, device, batch, args.size.seconds, world))
    };
    world.doing(|| "steps alone".into());
    world.any("steps alone", [false])?;
    let alone = measure(batch / world.size(), &ranks::ALONE)?;
    world.doing(|| "steps together".into());
    let together = measure(batch, world)?;
    let work = alone.work.context("a measurement without its work: please report it")?;
    Ok(Steps { work, together })
}

/// Moments at which clocks are looked at.
const LOOKS: usize = 5;

/// What every rank says of itself.
fn who(world: &World, device: &Device, args: &DoctorArgs) -> Result<Vec<Rank>> {
    world.doing(|| "reading DATA".into());
    let read = |data: &Path| Ok([open_train(data)?.fingerprint(), open_single(data)?.fingerprint()]);
    let told = |error: DataError| exit::message(&error.into());
    let data = args.data.as_deref().map(|data| read(data).map_err(told));
    let stamps = (0..LOOKS).map(|_| {
        world.gather("clock", Vec::new())?;
        world.any("clock", [false])?;
        Ok(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64())
    });
    let own = Rank {
        host: world.hosts().get(world.rank()).cloned().unwrap_or_default(),
        threads: device.pool.threads(),
        cores: cores(),
        program: Program::new(device.isa.name()),
        flags: format!("{args:?}"),
        stamps: stamps.collect::<Result<_>>()?,
        clock_ahead: 0.0,
        data,
    };
    let told = world.gather("ranks", serde_json::to_vec(&own)?)?;
    let mut ranks: Vec<Rank> =
        told.iter().map(|rank| serde_json::from_slice(rank)).collect::<Result<_, _>>()?;
    let first = ranks[0].stamps.clone();
    for rank in &mut ranks {
        let stamps = std::mem::take(&mut rank.stamps);
        let mut ahead: Vec<f64> = stamps.iter().zip(&first).map(|(own, first)| own - first).collect();
        ahead.sort_by(f64::total_cmp);
        rank.clock_ahead = ahead[ahead.len() / 2];
    }
    Ok(ranks)
}

fn hosts(ranks: &[Rank]) -> BTreeMap<&str, Vec<&Rank>> {
    let mut hosts: BTreeMap<&str, Vec<&Rank>> = BTreeMap::new();
    ranks.iter().for_each(|rank| hosts.entry(&rank.host).or_default().push(rank));
    hosts
}

/// Seconds that a clock may differ without a word.
const CLOCKS: f64 = 2.0;

/// What will go wrong in training.
fn problems_of(ranks: &[Rank]) -> Vec<String> {
    let mut problems = Vec::new();
    let here = &ranks[0];
    for (i, rank) in ranks.iter().enumerate() {
        let mut problem = |text: String| problems.push(format!("rank {i} ({}) {text}", rank.host));
        here.program.differences(&rank.program).into_iter().for_each(&mut problem);
        if rank.flags != here.flags {
            problem("was started with other flags than rank 0".into());
        }
        if rank.clock_ahead.abs() > CLOCKS {
            problem(format!(
                "has a clock that is {:+.1} s ahead of that of rank 0: logs will not fit",
                rank.clock_ahead
            ));
        }
        match (&rank.data, &here.data) {
            (Some(Err(error)), _) => problem(format!("cannot read the pictures: {error}")),
            (Some(Ok(own)), Some(Ok(first))) => {
                for (name, own, first) in
                    [("training", &own[0], &first[0]), ("validation", &own[1], &first[1])]
                {
                    if let Some(how) = first.difference(own) {
                        problem(format!("has other {name} pictures than rank 0: {how}"));
                    }
                }
            }
            _ => {}
        }
    }
    for (host, ranks) in hosts(ranks) {
        let cores: BTreeSet<usize> = ranks.iter().flat_map(|rank| rank.cores.iter().copied()).collect();
        let threads: usize = ranks.iter().map(|rank| rank.threads).sum();
        let (count, cores) = (ranks.len(), cores.len());
        if ranks.iter().any(|rank| rank.threads > rank.cores.len()) {
            problems.push(format!(
                "{host}: a rank has more threads than cores that it may use: start it with --bind-to none or --map-by slot:PE=THREADS, or give fewer --threads"
            ));
        } else if threads > cores {
            problems.push(format!(
                "{host}: {threads} threads of {count} ranks share {cores} cores: give --threads {}",
                (cores / count).max(1)
            ));
        }
    }
    problems
}

/// Numbers of the cores that this process may use.
fn cores() -> Vec<usize> {
    #[cfg(target_os = "linux")]
    if let Ok(set) = rustix::thread::sched_getaffinity(None) {
        return (0..rustix::thread::CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect();
    }
    (0..std::thread::available_parallelism().map_or(1, NonZeroUsize::get)).collect()
}

/// Bytes of the sums that are timed.
const SIZES: [usize; 6] = [4, 1 << 10, 1 << 14, 1 << 18, 1 << 22, 1 << 24];
/// Sums of a size at least.
const RUNS: usize = 5;

/// Times of sums, each of which is checked.
fn sums(world: &World, seconds: f64) -> Result<Vec<Point>> {
    if world.size() == 1 {
        return Ok(Vec::new());
    }
    let right = (world.size() * (world.size() + 1) / 2) as f32;
    let mut points = Vec::new();
    for size in SIZES {
        world.doing(|| format!("sums of {}", bytes(size as u64)));
        let mut times: Vec<[f64; 2]> = Vec::new();
        let start = Instant::now();
        loop {
            let enough = times.len() > RUNS && start.elapsed().as_secs_f64() > seconds / SIZES.len() as f64;
            if world.any("whether it is enough", [enough && world.leads()])?[0] {
                break;
            }
            let values = vec![(world.rank() + 1) as f32; size / 4];
            let (before, begun) = (cpu_time(), Instant::now());
            world.begin("doctor", values, Wire::F32);
            let sum = world.finish().map_err(|lost| anyhow!("{}", lost.0))?;
            times.push([begun.elapsed(), cpu_time() - before].map(|time| time.as_secs_f64()));
            ensure!(sum.iter().all(|&value| value == right), "a sum over {} ranks is wrong", world.size());
        }
        // The first one touches its memory for the first time.
        times.remove(0);
        times.sort_by(|a, b| a[0].total_cmp(&b[0]));
        let [seconds, busy_seconds] = times[times.len() / 2];
        points.push(Point { bytes: size, seconds, busy_seconds });
    }
    Ok(points)
}

/// Time of all threads of this process; not on every system.
fn cpu_time() -> Duration {
    #[cfg(unix)]
    return rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime).try_into().unwrap_or_default();
    #[cfg(not(unix))]
    return Duration::ZERO;
}

fn write_text(out: &mut impl Write, found: &Found) -> Result<()> {
    writeln!(
        out,
        "{:>5}  {:<24} {:>7} {:>5}  {:<8} {:>10}  pictures",
        "rank", "host", "threads", "cores", "isa", "clock"
    )?;
    for (i, rank) in found.ranks.iter().enumerate() {
        let Rank { host, threads, cores, program: Program { isa, .. }, clock_ahead, data, .. } = rank;
        let pictures = match data {
            None => String::new(),
            Some(Ok([train, _])) => thousands(train.pictures as u64),
            Some(Err(_)) => "unreadable".into(),
        };
        let clock = format!("{:+.1} ms", 1e3 * clock_ahead);
        writeln!(
            out,
            "{i:>5}  {host:<24} {threads:>7} {:>5}  {isa:<8} {clock:>10}  {pictures}",
            cores.len()
        )?;
    }
    match found.sums.is_empty() {
        true => writeln!(out, "\none rank: nothing is summed; start it with mpirun -n 2")?,
        false => writeln!(out, "\n{:>10} {:>12} {:>12}  busy", "sum of", "time", "a second")?,
    }
    for Point { bytes: size, seconds, busy_seconds } in &found.sums {
        let rate = bytes((*size as f64 / seconds) as u64);
        writeln!(
            out,
            "{:>10} {:>9.3} ms {rate:>12}  {:.0} % of a core",
            bytes(*size as u64),
            1e3 * seconds,
            100.0 * busy_seconds / seconds
        )?;
    }
    if let Some(Link { latency, bandwidth, .. }) = found.link {
        writeln!(
            out,
            "as over {} of {:.1} µs and {}/s",
            if found.hosts > 1 { "a link of each host" } else { "the memory of one host" },
            1e6 * latency,
            bytes(bandwidth as u64)
        )?;
    }
    if let Some(Steps { work, together }) = &found.steps {
        writeln!(
            out,
            "\na step of {} pictures takes a rank {:.1} ms if nobody waits; together:",
            work.batch,
            1e3 * work.step()
        )?;
        training::text(out, together, f64::NAN)?;
    }
    if !found.forecasts.is_empty() {
        writeln!(out, "\nforecast, with as many pictures for each rank and as many ranks for each host:")?;
        text(out, &found.forecasts)?;
    }
    match &found.problems[..] {
        [] => writeln!(out, "\nnothing is wrong")?,
        problems => {
            writeln!(out, "\nwrong:")?;
            problems.iter().try_for_each(|problem| writeln!(out, "  {problem}"))?;
        }
    }
    Ok(())
}
