//! Marks: when each step of a start ended, for who wants to know where the time goes.
//!
//! The clock is read after every step, in the caller and in the new process, and the readings are kept in the
//! caller's memory, which the new process works in until its exec. A reading is a few instructions (the kernel
//! shows its clock to every process, vdso(7)), so a start that is watched takes no longer than one that is
//! not. Where the new process has to have a copy of the memory (`create`, a user namespace that needs a
//! helper) its marks stay in the copy and are missing here: not measured, not zero.
//!
//! Man page: clock_gettime(2), "CLOCK_MONOTONIC". Look at it:
//! `tare-runtime run -d --marks /dev/stdout --rootfs DIR box -- /bin/true`

use std::sync::atomic::{AtomicU64, Ordering};

use nix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::container::{Act, RECIPE};

/// The end of one step of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// The step's name in the recipe, or "blueprint" (what is asked for was checked and written down) or "clone".
    pub step: &'static str,
    /// When it ended, nanoseconds of CLOCK_MONOTONIC.
    pub ended: u64,
}

/// What comes before the recipe, and the kernel's part in the middle of it.
const OTHERS: [&str; 2] = ["blueprint", "clone"];
const BLUEPRINT: usize = RECIPE.len();
const CLONE: usize = BLUEPRINT + 1;

/// The readings of one start: a step's index leads to its own, the two others follow. 0 is none yet.
#[derive(Debug)]
pub(crate) struct Readings([AtomicU64; RECIPE.len() + OTHERS.len()]);

/// The clock, nanoseconds.
pub fn now() -> u64 {
    // It cannot fail: the clock is there on every Linux, and the place to write to is ours.
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |now| now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}

impl Readings {
    /// To be made when the blueprint is ready.
    pub(crate) fn new() -> Self {
        let readings = Self([const { AtomicU64::new(0) }; RECIPE.len() + OTHERS.len()]);
        readings.step(BLUEPRINT);
        readings
    }

    /// The recipe's step of this index has ended.
    pub(crate) fn step(&self, index: usize) {
        self.0[index].store(now(), Ordering::Relaxed);
    }

    /// The new process runs.
    pub(crate) fn cloned(&self) {
        self.step(CLONE);
    }

    /// What was read, in the order in which it happened.
    pub(crate) fn marks(&self) -> Vec<Mark> {
        let inside = RECIPE.iter().position(|step| matches!(step.act, Act::Inside(..)));
        let (outer, inner) = (0..RECIPE.len()).partition::<Vec<_>, _>(|index| Some(*index) < inside);
        let name = |index: usize| match RECIPE.get(index) {
            Some(step) => step.name,
            None => OTHERS[index - RECIPE.len()],
        };
        let order = [BLUEPRINT].into_iter().chain(outer).chain([CLONE]).chain(inner);
        order
            .map(|index| Mark { step: name(index), ended: self.0[index].load(Ordering::Relaxed) })
            .filter(|mark| mark.ended != 0)
            .collect()
    }
}
