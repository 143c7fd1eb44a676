//! The system call filter of a bundle.
//!
//! A bundle without one has none: every call of the kernel is within its reach then.
//!
//! Man page: config-linux.md of the specification, "Seccomp". Look at it:
//! `tare-runtime spec; grep -A20 '"seccomp"' config.json`

use std::str::FromStr;

use nix::errno::Errno;
use oci_spec::runtime as oci;
use syscalls::{x86, x86_64};

use super::{fault, refuse};
use crate::error::Result;
use crate::seccomp::list::{Check, Comparison, Entry, Rules, program};
use crate::seccomp::rules::X32_ONLY;
use crate::sys::FilterInstruction;

const PLACE: &str = "linux.seccomp";

/// See the file's head. Names that this architecture's table does not have are passed over, as runc does:
/// profiles are written for all architectures and for kernels to come.
///
/// # Errors
/// [`Error::Spec`](crate::Error::Spec) naming the place.
pub(super) fn filter(seccomp: &oci::LinuxSeccomp) -> Result<Vec<FilterInstruction>> {
    refuse(seccomp.listener_path().is_some(), &format!("{PLACE}.listenerPath"))?;
    refuse(seccomp.flags().as_ref().is_some_and(|flags| !flags.is_empty()), &format!("{PLACE}.flags"))?;
    let architectures = seccomp.architectures().as_deref().unwrap_or_default();
    if !architectures.is_empty() && !architectures.contains(&oci::Arch::ScmpArchX86_64) {
        return Err(fault(format!("{PLACE}.architectures"), "SCMP_ARCH_X86_64 is not among them"));
    }
    let default =
        answer(&format!("{PLACE}.defaultAction"), seccomp.default_action(), seccomp.default_errno_ret())?;
    let (mut native, mut compat) = (Vec::new(), Vec::new());
    for (index, rule) in seccomp.syscalls().iter().flatten().enumerate() {
        let place = format!("{PLACE}.syscalls[{index}]");
        let answer = answer(&format!("{place}.action"), rule.action(), rule.errno_ret())?;
        let none = Vec::new();
        let checks = rule.args().as_ref().unwrap_or(&none);
        let checks: Vec<Check> = checks
            .iter()
            .enumerate()
            .map(|(at, check)| self::check(&format!("{place}.args[{at}]"), check))
            .collect::<Result<_>>()?;
        let entry = |number: u32| Entry { number, checks: checks.clone(), answer };
        for name in rule.names() {
            native.extend(x86_64::Sysno::from_str(name).map(|call| entry(call.id() as u32)));
            // Numbers of x32's own; the 64-bit table ends below them.
            let own = X32_ONLY.iter().filter(|(known, _)| known == name);
            native.extend(own.map(|(_, number)| entry(*number)));
            compat.extend(x86::Sysno::from_str(name).map(|call| entry(call.id() as u32)));
        }
    }
    let named = |architecture| architectures.contains(&architecture);
    let rules = Rules {
        native,
        x32: named(oci::Arch::ScmpArchX32),
        compat: named(oci::Arch::ScmpArchX86).then_some(compat),
    };
    program(&rules, default).map_err(|errno| match errno {
        Errno::E2BIG => fault(PLACE, "is longer than the 4096 instructions that the kernel takes"),
        errno => fault(PLACE, errno.desc()),
    })
}

/// The kernel's number for an action.
fn answer(place: &str, action: oci::LinuxSeccompAction, errno: Option<u32>) -> Result<u32> {
    use oci::LinuxSeccompAction as A;
    match action {
        A::ScmpActNotify | A::ScmpActTrace => {
            Err(fault(place, format!("{action} needs a supervisor; not supported")))
        }
        _ if errno.is_some_and(|errno| errno > 4095) => {
            Err(fault(place, "the error number is beyond the kernel's 4095"))
        }
        action => Ok(action.as_u32(errno)),
    }
}

fn check(place: &str, check: &oci::LinuxSeccompArg) -> Result<Check> {
    use oci::LinuxSeccompOperator as O;
    let argument = u32::try_from(check.index()).ok().filter(|index| *index < 6);
    let argument = argument
        .ok_or_else(|| fault(format!("{place}.index"), format!("{} is not within 0 and 5", check.index())))?;
    let comparison = match check.op() {
        O::ScmpCmpNe => Comparison::NotEqual,
        O::ScmpCmpLt => Comparison::Less,
        O::ScmpCmpLe => Comparison::LessOrEqual,
        O::ScmpCmpEq => Comparison::Equal,
        O::ScmpCmpGe => Comparison::GreaterOrEqual,
        O::ScmpCmpGt => Comparison::Greater,
        O::ScmpCmpMaskedEq => Comparison::Masked,
    };
    Ok(Check { argument, comparison, value: check.value(), second: check.value_two().unwrap_or(0) })
}
