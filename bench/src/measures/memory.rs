//! `memory`: what one more box costs the host, by three methods that cover different things, with a ledger.
//!
//! A climb holds more and more boxes and looks at each of a few numbers of them; the cost of one is the slope over
//! their number, so that what is paid once (a daemon, shared caches) is not charged to each. Boxes are idle, or have
//! touched a quarter of their memory. Below a parent with a limit also what of that limit they keep. Beside them the most
//! that one start was charged for, and the smallest RAM with which a machine still boots; and with `--allow-host` what
//! merging equal pages (KSM) makes of machines.

mod birthplace;
mod held;
mod kept;
mod merged;
mod otherwise;
mod reading;
mod smallest;

use tare_reports::document::Unit;
use tare_reports::memory::KEPT;

use super::{Measure, Pass};
use crate::contenders::{Contender, MEMORY};
use crate::run::Profile;

use held::Held;
pub(crate) use kept::limit;
use merged::Merged;
use smallest::Smallest;

/// What is read at each look.
const METHODS: [(&str, Unit); 3] = [("host", Unit::Bytes), ("cgroup", Unit::Bytes), ("pss", Unit::Bytes)];

/// A quarter of what a box may have: much against what it has anyway, and 16 boxes of it fit on a small host. KiB.
const TOUCHED_KIB: u64 = MEMORY / 4 / 1024;

/// See the file's head.
#[derive(Debug, Default)]
pub struct Memory {
    held: Held,
}

impl Measure for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn about(&self) -> &'static str {
        "what one more box costs the host, idle and touched, by three methods and with a ledger"
    }

    fn quantities(&self) -> &'static [(&'static str, Unit)] {
        &[
            ("host", Unit::Bytes),
            ("cgroup", Unit::Bytes),
            ("pss", Unit::Bytes),
            (KEPT, Unit::Bytes),
            ("peak", Unit::Bytes),
            ("smallest", Unit::Bytes),
            ("ksm", Unit::Bytes),
        ]
    }

    fn in_profile(&self, _: Profile) -> bool {
        true
    }

    fn left_out(&self, contender: &dyn Contender) -> Vec<String> {
        held::left_out(contender).into_iter().collect()
    }

    fn passes(&self) -> Vec<&dyn Pass> {
        vec![&self.held, &Smallest, &Merged]
    }
}
