//! What a run leaves on the disk, when, and how it goes on from there.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};

use super::state::{self, Saved};
use super::{Run, sharing};
use crate::checkpoint;
use crate::engine::{StepError, Use};
use crate::exit::BadData;
use crate::progress::say;

/// What happens when something cannot be saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OnSaveError {
    /// The run ends; what was saved before is whole.
    #[default]
    Stop,
    /// The run says so and goes on.
    Continue,
}

/// What is kept on the disk.
#[derive(Clone, Copy, Debug)]
pub struct Saving {
    /// Time between two states within an epoch; each epoch ends with one, too.
    pub every: Duration,
    /// States that are kept, the latest.
    pub states: usize,
    /// Epochs whose weights are kept, the best.
    pub best: usize,
    /// What happens when something cannot be saved.
    pub on_error: OnSaveError,
}

impl Default for Saving {
    fn default() -> Self {
        let every = Duration::from_secs(600);
        Saving { every, states: 2, best: 1, on_error: OnSaveError::Stop }
    }
}

/// What the learning rate is multiplied by when a run goes back to its last good state.
const LOWER: f64 = 0.5;

/// Files that are named in a message; the log names all.
const NAMED: usize = 4;

/// Why a step was not taken, or cannot be built upon.
#[derive(Debug)]
pub(super) enum Trouble {
    Step(StepError),
    /// The loss has been far above that of guessing for many steps.
    Exploding(f32),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::Step(error) => error.fmt(f),
            Trouble::Exploding(loss) => write!(f, "the loss explodes: {loss} now"),
        }
    }
}

impl Run {
    /// Goes on from the latest state in the run's folder that is whole; how many steps it had, `None` where there is none yet and
    /// the run begins. The log is told `env`, what it goes on with.
    pub fn resume(&mut self, env: &Value) -> Result<Option<usize>> {
        let Some(Saved { state, position, origin }) = self.latest_state()? else {
            self.folder.cut([0; 2])?;
            return Ok(None);
        };
        for (name, then, now) in
            [("train", &origin.train, &self.origin.train), ("validation", &origin.val, &self.origin.val)]
        {
            if let Some(difference) = then.difference(now) {
                let text = format!(
                    "the {name} pictures are not those of the run {}: {difference}; a run goes on with the same pictures alone: restore them, or start another --experiment",
                    self.folder.path().display()
                );
                return Err(BadData(text).into());
            }
        }
        self.metadata = origin.metadata.clone();
        self.origin = origin;
        self.folder.cut(position.logged)?;
        self.engine.set_state(state);
        self.at = position;
        self.tell_position();
        self.events.go_on_after(self.at.step);
        self.folder.log(&json!({ "kind": "resume", "step": self.at.step, "env": env }))?;
        Ok(Some(self.at.step))
    }

    /// Progress goes on from where the run stands.
    fn tell_position(&mut self) {
        let best = self.at.best.map(|best| (best.epoch, best.error));
        self.progress.go_on(self.at.step, &self.at.epochs, best);
    }

    /// The latest state that is whole, as rank 0 reads it, on all ranks.
    fn latest_state(&self) -> Result<Option<Saved>> {
        let found = if self.world.leads() { self.read_latest()? } else { None };
        let [there] = self.world.any("state", [found.is_some()])?;
        if !there {
            return Ok(None);
        }
        self.world.doing(|| "state".into());
        sharing::state(self.world, found, &self.engine.state().weights).map(Some)
    }

    /// The latest state in the folder that is whole; others are named and passed over.
    fn read_latest(&self) -> Result<Option<Saved>> {
        let files = state::list(self.folder.path())?;
        let (count, mut last) = (files.len(), None);
        for file in files {
            match state::read(&file, &self.engine.state().weights) {
                Ok(saved) => return Ok(Some(saved)),
                Err(error) => {
                    say(&format!("{error:#}; passed over, an earlier state is looked for"));
                    last = Some(error);
                }
            }
        }
        match last {
            None => Ok(None),
            Some(error) => Err(error.context(format!(
                "none of the {count} states in {} can be read: start another --experiment",
                self.folder.path().display()
            ))),
        }
    }

    /// Says so where the disk has no room for what the run will save.
    pub(super) fn check_space(&self) -> Result<()> {
        if !self.world.leads() {
            return Ok(());
        }
        let Some(free) = free_bytes(self.folder.path()) else { return Ok(()) };
        let weights = 4 * self.engine.state().weights.data.len() as u64;
        let vectors =
            1 + u64::from(self.recipe.ema_decay > 0.0) + self.recipe.optimizer.rule().buffers() as u64;
        // One more of everything, for a new file is whole before an old one goes.
        let (states, best) = (self.saving.states as u64 + 1, self.saving.best as u64);
        let needed = weights * (vectors * states + 3 + if best > 1 { best + 1 } else { 0 });
        if free >= needed {
            return Ok(());
        }
        let gb = |bytes: u64| bytes as f64 / 1e9;
        let text = format!(
            "{} has {:.2} GB free and the run saves up to {:.2} GB: free some, keep fewer states (--keep-states, --keep-best) or choose another --output",
            self.folder.path().display(),
            gb(free),
            gb(needed)
        );
        match self.saving.on_error {
            OnSaveError::Stop => Err(anyhow!(text)),
            OnSaveError::Continue => {
                say(&text);
                Ok(())
            }
        }
    }

    /// Whether it is time for a state.
    pub(super) fn is_state_due(&self) -> bool {
        self.saved.elapsed() >= self.saving.every
    }

    /// Saves all that later steps depend on, and forgets the oldest state.
    pub(super) fn save_state(&mut self) -> Result<()> {
        if !self.world.leads() {
            return Ok(());
        }
        self.world.doing(|| "saving the state".into());
        self.at.logged = self.folder.lengths()?;
        let path = self.folder.file(&state::file_name(self.at.step));
        let written = state::write(&path, &self.engine.state(), &self.at, &self.origin);
        self.saved = Instant::now();
        if written.is_ok() {
            self.progress.saved(self.at.step);
        }
        let pruned = written.and_then(|()| {
            for old in state::list(self.folder.path())?.iter().skip(self.saving.states.max(1)) {
                std::fs::remove_file(old).with_context(|| format!("removing {}", old.display()))?;
            }
            Ok(())
        });
        self.judge(pruned.context("saving the run's state; nothing of an earlier one is lost"))
    }

    /// Saves the weights that are evaluated, without those of an auxiliary head, which states alone hold; and forgets those of epochs that are no longer among the best.
    pub(super) fn save_weights(&mut self, better: bool) -> Result<()> {
        if !self.world.leads() {
            return Ok(());
        }
        self.world.doing(|| "saving weights".into());
        self.metadata.step = self.at.step as u64;
        self.metadata.epoch = self.at.epochs.len() as u64;
        let names = ["last.safetensors".into()].into_iter().chain(better.then(|| "best.safetensors".into()));
        let mut names: Vec<String> = names.collect();
        let mut best: Vec<_> = self.at.epochs.iter().collect();
        let by = self.recipe.best_by;
        best.sort_by(|a, b| a.merit(by).partial_cmp(&b.merit(by)).expect("merits are numbers"));
        let of_epoch = |epoch: usize| format!("epoch-{epoch:04}.safetensors");
        let (now, kept) = (self.at.epochs.len(), self.saving.best);
        let dropped = best.get(kept).map(|epoch| of_epoch(epoch.epoch)).filter(|_| kept > 1);
        if kept > 1 && best.iter().take(kept).any(|epoch| epoch.epoch == now) {
            names.push(of_epoch(now));
        }
        let weights = self.engine.weights(Use::Average).first_of(&self.engine.graph().without_aux());
        let saved = names
            .iter()
            .try_for_each(|name| checkpoint::save(&self.folder.file(name), &weights, &self.metadata));
        let saved = saved.context("saving a checkpoint; nothing of an earlier one is lost");
        self.unsaved = saved.as_ref().err().map(crate::exit::message);
        if let (Ok(()), Some(old)) = (&saved, dropped.map(|name| self.folder.file(&name)))
            && old.exists()
        {
            std::fs::remove_file(&old).with_context(|| format!("removing {}", old.display()))?;
        }
        self.judge(saved)
    }

    /// What the failure of a save means for the run.
    pub(super) fn judge(&mut self, saved: Result<()>) -> Result<()> {
        match (saved, self.saving.on_error) {
            (Err(error), OnSaveError::Continue) => {
                self.progress.line(&format!("{}; going on", crate::exit::message(&error)));
                Ok(())
            }
            (saved, _) => saved,
        }
    }

    /// After `trouble` with a batch of `pictures`: back to the last good state with a lower rate, once; else an error that names step,
    /// layer and files.
    pub(super) fn roll_back(&mut self, trouble: &Trouble, pictures: &[usize]) -> Result<()> {
        let (step, epoch) = (self.at.step + 1, self.at.epochs.len() + 1);
        let files: Vec<String> = pictures.iter().map(|&i| self.train.samples[i].picture.name()).collect();
        let (trouble, files) = sharing::trouble(self.world, trouble, files)?;
        let first = self.at.lr_factor == 1.0;
        let record = json!({
            "kind": "trouble",
            "epoch": epoch,
            "step": step,
            "reason": trouble.to_string(),
            "pictures": files,
            "rolled_back": first,
        });
        self.folder.log(&record)?;
        let saved = if first { self.latest_state()? } else { None };
        let Some(Saved { state, position, .. }) = saved else {
            let more = files.len().saturating_sub(NAMED);
            let more =
                if more > 0 { format!(" and {more} more, which log.jsonl names") } else { String::new() };
            return Err(anyhow!("{trouble}").context(format!(
                "step {step} of epoch {epoch} was not taken{}; its pictures were {}{more}; lower the rate (--lr, now {}), clip gradients (--clip-grad 2) or lengthen the warm-up, and start another --experiment",
                if first { "" } else { ", though the run had gone back once and halved its rate" },
                files[..files.len().min(NAMED)].join(", "),
                self.recipe.schedule.lr * self.at.lr_factor,
            )));
        };
        self.engine.set_state(state);
        let logged = [self.folder.lengths()?[0], position.logged[1]];
        self.folder.cut(logged)?;
        self.at = super::state::Position { lr_factor: position.lr_factor * LOWER, ..position };
        self.events.go_on_after(self.at.step);
        self.tell_position();
        self.progress.line(&format!(
            "step {step} of epoch {epoch}: {trouble}; back to the state after step {} with {LOWER} of the rate, once",
            self.at.step
        ));
        self.save_state()
    }
}

/// Bytes that a file system has for this user; `None` where it does not say.
fn free_bytes(path: &Path) -> Option<u64> {
    #[cfg(unix)]
    return rustix::fs::statvfs(path).ok().map(|found| found.f_bavail * found.f_frsize);
    #[cfg(not(unix))]
    return None;
}
