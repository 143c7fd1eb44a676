//! The last steps: descriptors, then the program.
//!
//! exec keeps descriptors, so a directory of the host that stays open is a way out of the box
//! (CVE-2024-21626). Everything from 3 upwards is marked close-on-exec; the program sees 0, 1 and 2.
//! exec also ends the set-up: it closes the error pipe, which is how the parent learns that the
//! command runs.
//!
//! The command is searched in the box's root with the box's PATH, never on the host.
//!
//! Man pages: execve(2), close_range(2). Look at it: `ls -l /proc/self/fd` inside

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::report::Fault;
use crate::spec::{DEFAULT_PATH, Spec};
use crate::sys::{self, CStringArray};

/// All that exec needs, prepared before the fork.
#[derive(Debug)]
pub(crate) struct Plan {
    candidates: Vec<CString>,
    argv: CStringArray,
    envp: CStringArray,
    /// Copies of the three descriptors at 3 or above; `None` where 0, 1 and 2 are meant as they are.
    stdio: Option<[OwnedFd; 3]>,
}

/// Resolves what can be resolved without looking at a file system.
///
/// # Errors
/// EINVAL for a zero byte, EMFILE.
pub(crate) fn prepare(spec: &Spec, stdio: [BorrowedFd<'_>; 3]) -> Result<Plan, Errno> {
    let strings = |list: &[String]| -> Result<CStringArray, Errno> {
        Ok(CStringArray::new(list.iter().map(|s| text(s)).collect::<Result<_, _>>()?))
    };
    let candidates = candidates(spec).iter().map(|s| text(s)).collect::<Result<_, _>>()?;
    let in_place = stdio.iter().enumerate().all(|(i, fd)| fd.as_raw_fd() == i as i32);
    let stdio = if in_place { None } else { Some([above(stdio[0])?, above(stdio[1])?, above(stdio[2])?]) };
    Ok(Plan { candidates, argv: strings(&spec.args)?, envp: strings(&spec.env)?, stdio })
}

fn text(string: &str) -> Result<CString, Errno> {
    CString::new(string).map_err(|_| Errno::EINVAL)
}

/// A copy out of the way of 0, 1 and 2, so that the three can be set in any order.
fn above(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let copy = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(3))?;
    Ok(sys::owned(copy))
}

/// The paths to try: the command itself if it holds a slash, else it in each absolute part of PATH.
fn candidates(spec: &Spec) -> Vec<String> {
    let Some(command) = spec.args.first() else { return Vec::new() };
    if command.contains('/') {
        return vec![command.clone()];
    }
    let path = spec.env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    path.split(':').filter(|part| part.starts_with('/')).map(|part| format!("{part}/{command}")).collect()
}

/// Puts the caller's three descriptors at 0, 1 and 2.
pub(crate) fn stdio(plan: &Plan) -> Result<(), Fault> {
    match &plan.stdio {
        Some([input, output, error]) => {
            dup2_stdin(input).map_err(Fault::of(0))?;
            dup2_stdout(output).map_err(Fault::of(1))?;
            dup2_stderr(error).map_err(Fault::of(2))
        }
        None => (0..3).try_for_each(|fd| sys::keep_on_exec(fd).map_err(Fault::of(fd as usize))),
    }
}

/// Lets nothing else through.
pub(crate) fn close_others() -> Result<(), Fault> {
    sys::close_on_exec_from(3).map_err(Fault::of(0))
}

/// Becomes the command; returns only on failure. Like a shell it goes on after "not there", remembers
/// "not allowed", and stops at anything else.
pub(crate) fn run(plan: &Plan) -> Fault {
    let mut last = Errno::ENOENT;
    for path in &plan.candidates {
        match sys::execve(path, &plan.argv, &plan.envp) {
            Errno::ENOENT | Errno::ENOTDIR => {}
            Errno::EACCES => last = Errno::EACCES,
            errno => {
                last = errno;
                break;
            }
        }
    }
    Fault { object: 0, errno: last }
}

/// The words for a fault.
pub(crate) fn object(plan: &Plan) -> String {
    let command = plan.argv.strings().first().map(|c| c.to_string_lossy().into_owned()).unwrap_or_default();
    let tried: Vec<_> = plan.candidates.iter().map(|c| c.to_string_lossy()).collect();
    if tried.len() > 1 { format!("{command} (tried {})", tried.join(", ")) } else { command }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Id;

    fn candidates_of(command: &str, env: &[&str]) -> Vec<String> {
        let mut spec = Spec::new(Id::new("x").expect("id"), "/", vec![command.to_owned()]);
        spec.env = env.iter().map(ToString::to_string).collect();
        candidates(&spec)
    }

    #[test]
    fn a_slash_means_no_search() {
        assert_eq!(candidates_of("./run", &["PATH=/bin"]), ["./run"]);
    }

    #[test]
    fn the_containers_own_path_is_searched_and_relative_parts_are_not() {
        assert_eq!(candidates_of("sh", &["PATH=/a:rel::/b"]), ["/a/sh", "/b/sh"]);
        assert_eq!(candidates_of("sh", &[]).len(), DEFAULT_PATH.split(':').count());
    }
}
