//! The last steps: descriptors, then the program.
//!
//! exec keeps descriptors, so a directory of the host that stays open is a way out of the box
//! (CVE-2024-21626). To mark them close-on-exec is not enough: they are open while exec looks the command up, and
//! one that is called /proc/self/fd/9/../bin/sh would be the host's, into which the box could then write. So
//! everything from 3 upwards is closed before, but for the error pipe, which is no directory; the program sees 0,
//! 1 and 2. exec also ends the set-up: it closes the error pipe, which is how the parent learns that the
//! command runs. Without it you would have a part of the runtime in a box, with files of the host open.
//!
//! The command is searched in the box's root with the box's PATH, never on the host.
//!
//! Steps: `oom-score`, `command`, `stdio`, `no-new-privileges`, `descriptors`, `exec`.
//!
//! Man pages: execve(2), close_range(2). Look at it: `ls -l /proc/self/fd` inside

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, access, dup2_stderr, dup2_stdin, dup2_stdout, write};

use crate::blueprint::{Blueprint, Process};
use crate::ladder;
use crate::own_program::OwnProgram;
use crate::report::Fault;
use crate::spec::DEFAULT_PATH;
use crate::state::Directory;
use crate::sys::{self, CStringArray};

/// All that exec needs, prepared before the fork.
#[derive(Debug)]
pub(crate) struct Plan {
    candidates: Vec<CString>,
    argv: CStringArray,
    envp: CStringArray,
    /// Copies of the three descriptors at 3 or above; `None` where 0, 1 and 2 are meant as they are, or
    /// become the terminal.
    stdio: Option<[OwnedFd; 3]>,
    terminal: bool,
    oom_score: Option<CString>,
    own: OwnProgram,
}

/// Resolves what can be resolved without looking at a file system.
///
/// # Errors
/// EINVAL for a zero byte, EMFILE.
pub(crate) fn prepare(
    blueprint: &Blueprint,
    state: &Directory,
    stdio: [BorrowedFd<'_>; 3],
) -> Result<Plan, Errno> {
    // On the ladder below "pivot" the command is looked for where the root still lies.
    let root = match blueprint.until {
        until if ladder::reaches(until, "pivot") => None,
        until if ladder::reaches(until, "overlay") => Some(state.merged()),
        _ => Some(blueprint.root.path.clone()),
    };
    let prefix = root.map_or(String::new(), |root| root.to_string_lossy().into_owned());
    for_process(&blueprint.process, &prefix, stdio)
}

/// The same for a process in a box that runs.
pub(crate) fn for_process(
    process: &Process,
    prefix: &str,
    stdio: [BorrowedFd<'_>; 3],
) -> Result<Plan, Errno> {
    let strings = |list: &[String]| -> Result<CStringArray, Errno> {
        Ok(CStringArray::new(list.iter().map(|s| text(s)).collect::<Result<_, _>>()?))
    };
    let candidates = candidates(&process.args, &process.env);
    let candidates = candidates.iter().map(|s| text(&format!("{prefix}{s}"))).collect::<Result<_, _>>()?;
    let in_place = stdio.iter().enumerate().all(|(i, fd)| fd.as_raw_fd() == i as i32);
    let stdio = match in_place || process.terminal {
        true => None,
        false => Some([above(stdio[0])?, above(stdio[1])?, above(stdio[2])?]),
    };
    Ok(Plan {
        candidates,
        argv: strings(&process.args)?,
        envp: strings(&process.env)?,
        stdio,
        terminal: process.terminal,
        oom_score: process.oom_score_adj.map(|score| text(&score.to_string())).transpose()?,
        own: OwnProgram::find()?,
    })
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
fn candidates(args: &[String], env: &[String]) -> Vec<String> {
    let Some(command) = args.first() else { return Vec::new() };
    if command.contains('/') {
        return vec![command.clone()];
    }
    let path = env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
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
        // The terminal step has put them in place.
        None if plan.terminal => Ok(()),
        None => (0..3).try_for_each(|fd| sys::keep_on_exec(fd).map_err(Fault::of(fd as usize))),
    }
}

/// Says who is killed first when the host runs out of memory. /proc is still the host's.
pub(crate) fn oom_score(plan: &Plan) -> Result<(), Fault> {
    let Some(score) = &plan.oom_score else { return Ok(()) };
    let file = open(c"/proc/self/oom_score_adj", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty());
    file.and_then(|file| write(&file, score.to_bytes())).map(drop).map_err(Fault::of(0))
}

/// From here on exec grants nothing, where it was asked for.
pub(crate) fn no_new_privileges(wanted: bool) -> Result<(), Fault> {
    if wanted { sys::no_new_privileges().map_err(Fault::of(0)) } else { Ok(()) }
}

/// Closes all but standard input, output and error, and what is needed until the exec; and sets the command's umask.
pub(crate) fn close_others(umask: u32, kept: &[BorrowedFd<'_>]) -> Result<(), Fault> {
    nix::sys::stat::umask(Mode::from_bits_truncate(umask));
    sys::close_copies_from(3, kept).map_err(Fault::of(0))
}

/// Whether there is a command to become: so that `create` can say so, and not first `start`.
pub(crate) fn find(plan: &Plan) -> Result<(), Fault> {
    let mut last = Errno::ENOENT;
    for path in &plan.candidates {
        match access(path.as_c_str(), AccessFlags::X_OK) {
            Ok(()) => return Ok(()),
            Err(Errno::EACCES) => last = Errno::EACCES,
            Err(_) => {}
        }
    }
    Err(Fault { object: 0, errno: last })
}

/// Becomes the command; returns only on failure. Like a shell it goes on after "not there", remembers
/// "not allowed", and stops at anything else.
pub(crate) fn run(plan: &Plan) -> Fault {
    let mut last = Errno::ENOENT;
    for path in &plan.candidates {
        if plan.own.is_meant_by(path) {
            return Fault { object: 0, errno: Errno::ELIBBAD };
        }
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

/// Whether executing `path` would execute the runtime itself.
pub(crate) fn is_runtime(plan: &Plan, path: &std::ffi::CStr) -> bool {
    plan.own.is_meant_by(path)
}

/// The environment of the command.
pub(crate) fn environment(plan: &Plan) -> &CStringArray {
    &plan.envp
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

    fn candidates_of(command: &str, env: &[&str]) -> Vec<String> {
        candidates(&[command.to_owned()], &env.iter().map(ToString::to_string).collect::<Vec<_>>())
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
