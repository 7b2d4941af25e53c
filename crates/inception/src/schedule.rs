//! Learning rate as a pure function of the step.

use serde::{Deserialize, Serialize};

/// Shape of the learning rate behind the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// The same for all steps.
    Constant,
    /// The paper's staircase: `lr · decay^⌊epoch / decay_epochs⌋`.
    #[serde(alias = "paper")]
    Step,
    /// Half a cosine down.
    #[serde(alias = "one-cycle")]
    Cosine,
}

/// A schedule: a linear rise, then its shape, which uses the fields that its description names.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Its shape.
    pub name: Shape,
    /// Largest learning rate.
    pub lr: f64,
    /// Share of all steps in which the rate rises.
    pub warmup: f64,
    /// First rate of the rise, as a share of `lr`.
    pub start: f64,
    /// Last rate of a cosine, as a share of `lr`.
    pub end: f64,
    /// Factor of a stair.
    pub decay: f64,
    /// Epochs of a stair.
    pub decay_epochs: f64,
}

impl Schedule {
    /// Rate of `step` (from 0) in a run of `steps`, `steps_per_epoch` of them an epoch.
    pub fn lr(&self, step: usize, steps_per_epoch: usize, steps: usize) -> f64 {
        let (rise, last) = (self.warmup * steps as f64, (steps.max(2) - 1) as f64);
        let at = step as f64;
        if at < rise {
            return self.lr * (self.start + (1.0 - self.start) * at / rise);
        }
        match self.name {
            Shape::Constant => self.lr,
            Shape::Step => {
                let epoch = at / steps_per_epoch.max(1) as f64;
                self.lr * self.decay.powi((epoch / self.decay_epochs).floor() as i32)
            }
            Shape::Cosine => {
                let fallen = ((at - rise) / (last - rise).max(1.0)).min(1.0);
                self.lr * (self.end + (1.0 - self.end) * 0.5 * (1.0 + (std::f64::consts::PI * fallen).cos()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Schedule = Schedule {
        name: Shape::Step,
        lr: 0.045,
        warmup: 0.0,
        start: 0.1,
        end: 0.01,
        decay: 0.94,
        decay_epochs: 2.0,
    };

    #[test]
    fn the_papers_staircase() {
        let lr = |step| PLAIN.lr(step, 100, 10_000);
        assert_eq!([lr(0), lr(199), lr(200), lr(399)], [0.045, 0.045, 0.045 * 0.94, 0.045 * 0.94]);
        assert!((lr(1000) - 0.045 * 0.94f64.powi(5)).abs() < 1e-15);
    }

    #[test]
    fn a_cosine_falls_after_its_warm_up() {
        let cycle = Schedule { name: Shape::Cosine, lr: 1.0, warmup: 0.2, ..PLAIN };
        let lr = |step| cycle.lr(step, 7, 101);
        assert_eq!(lr(0), 0.1);
        assert!((lr(10) - (0.1 + 0.9 * 10.0 / 20.2)).abs() < 1e-12);
        assert!((lr(100) - 0.01).abs() < 1e-12);
        let peak = (0..101).map(lr).fold(0.0, f64::max);
        assert!(peak > 0.98 && peak <= 1.0);
        assert!((21..100).all(|s| lr(s + 1) < lr(s)));
        // Runs of one and two steps have a rate too.
        assert!(cycle.lr(0, 1, 1).is_finite() && cycle.lr(1, 1, 2).is_finite());
    }

    #[test]
    fn constant_is_constant() {
        let constant = Schedule { name: Shape::Constant, ..PLAIN };
        assert_eq!([constant.lr(0, 1, 5), constant.lr(4, 1, 5)], [0.045; 2]);
    }

    #[test]
    fn every_shape_can_warm_up() {
        for name in [Shape::Constant, Shape::Step, Shape::Cosine] {
            let warm = Schedule { name, lr: 1.0, warmup: 0.5, ..PLAIN };
            assert_eq!([warm.lr(0, 100, 20), warm.lr(5, 100, 20), warm.lr(10, 100, 20)], [0.1, 0.55, 1.0]);
        }
    }
}
