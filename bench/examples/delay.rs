//! For the tests of `spans`: runs a command and holds a process of its tree inside one system call for a while.
//!
//! `delay clone|exec|nowhere MS COMMAND...`: `clone` holds the first process that makes another one, inside its
//! clone(2); `exec` the one that becomes `/payload`, inside its execve(2). The kernel stops a traced process at
//! these two points in the middle of the call (ptrace(2), PTRACE_EVENT_CLONE and PTRACE_EVENT_EXEC), where
//! strace's `inject` could only delay before it or after it. The end status is the command's.

use std::process::{Command, exit};
use std::time::Duration;

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [place, ms, command @ ..] = words.as_slice() else { return };
    let hold = Duration::from_millis(ms.parse().expect("milliseconds"));
    // It stops itself, so that nothing is missed.
    let child =
        Command::new("/bin/sh").args(["-c", "kill -STOP $$; exec \"$@\"", "sh"]).args(command).spawn();
    let first = Pid::from_raw(child.expect("a shell").id() as i32);
    waitpid(first, Some(WaitPidFlag::WUNTRACED)).expect("stopped");
    let options = Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC;
    ptrace::seize(first, options).expect("traced");
    kill(first, Signal::SIGCONT).expect("continued");
    let (mut held, mut became_payload, mut code) = (false, false, None);
    // A client may end before the box has become the payload, and we are needed until then.
    while !(became_payload && code.is_some()) {
        match waitpid(None, Some(WaitPidFlag::__WALL)) {
            Ok(WaitStatus::PtraceEvent(pid, _, event)) => {
                let exec = event == ptrace::Event::PTRACE_EVENT_EXEC as i32;
                let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
                let payload = exec && program.ends_with("payload");
                let made = event <= ptrace::Event::PTRACE_EVENT_CLONE as i32;
                let here = (place == "exec" && payload) || (place == "clone" && made && !held);
                if here {
                    held = true;
                    std::thread::sleep(hold);
                }
                became_payload |= payload;
                // The box outlives us.
                let _ = if payload { ptrace::detach(pid, None) } else { ptrace::cont(pid, None) };
            }
            Ok(WaitStatus::Stopped(pid, signal)) => {
                let _ = ptrace::cont(pid, Some(signal));
            }
            Ok(WaitStatus::Exited(pid, status)) if pid == first => code = Some(status),
            Ok(WaitStatus::Signaled(pid, ..)) if pid == first => code = Some(1),
            Ok(_) => {}
            // Nobody is left.
            Err(_) => break,
        }
    }
    exit(code.unwrap_or(1));
}
