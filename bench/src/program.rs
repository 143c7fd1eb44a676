//! The programs of others: where they are, and what they answer, within a time.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use process_control::{ChildExt, Control};

/// How long a program may take to answer. Those that are asked here answer in less than a second: one that
/// takes longer waits for something that does not come, as a client does whose daemon is stopped.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// The first program of that name on PATH, or where root's programs are.
pub fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(name))
        .find(|path| is_program(path))
}

/// Whether there is a file that may be executed.
pub fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Runs a program to its end and returns what it printed, without white space around it. `env` is added to the
/// environment.
///
/// # Errors
/// When it cannot be run, does not end within half a minute (it is killed then), or ends with another status
/// than 0: with the last line of what it said.
pub fn answer<S: AsRef<OsStr>>(program: &Path, args: &[S], env: &[(String, String)]) -> Result<String> {
    answer_within(ANSWERS_WITHIN, program, args, env)
}

fn answer_within<S: AsRef<OsStr>>(
    time: Duration,
    program: &Path,
    args: &[S],
    env: &[(String, String)],
) -> Result<String> {
    let mut command = Command::new(program);
    command.args(args).envs(env.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
    let limited = child.controlled_with_output().time_limit(time).terminate_for_timeout();
    let asked = || {
        let words = args.iter().map(|arg| arg.as_ref().to_string_lossy());
        [program.to_string_lossy()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
    };
    let Some(output) = limited.wait().with_context(|| format!("wait for {}", asked()))? else {
        bail!("{}: no answer within {} s", asked(), time.as_secs_f64());
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {}: {}", asked(), output.status, said.trim().lines().last().unwrap_or("no reason given"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, time: Duration) -> Result<String> {
        answer_within(time, Path::new("/bin/sh"), &["-c", script], &[("WORD".into(), "yes".into())])
    }

    #[test]
    fn an_answer_is_what_was_printed() {
        assert_eq!(shell("echo $WORD; echo noise >&2", ANSWERS_WITHIN).unwrap(), "yes");
    }

    #[test]
    fn an_answer_longer_than_a_pipe_holds_is_read() {
        let long = shell("head -c 300000 /dev/zero | tr '\\0' x", ANSWERS_WITHIN).unwrap();
        assert_eq!(long.len(), 300_000);
    }

    #[test]
    fn a_refusal_carries_the_last_line_of_the_reason() {
        let error = shell("echo first >&2; echo why >&2; exit 3", ANSWERS_WITHIN).unwrap_err();
        assert!(error.to_string().ends_with("exit code: 3: why"), "{error}");
    }

    #[test]
    fn a_program_that_waits_for_ever_is_ended() {
        let error = shell("echo $$; exec sleep 600", Duration::from_millis(200)).unwrap_err();
        assert!(error.to_string().ends_with("no answer within 0.2 s"), "{error}");
    }

    #[test]
    fn what_is_not_there_cannot_be_run() {
        let error = answer::<&str>(Path::new("/nonexistent/tool"), &[], &[]).unwrap_err();
        assert_eq!(error.to_string(), "cannot run /nonexistent/tool");
        assert!(on_path("no-program-is-called-so").is_none());
        assert!(!is_program(Path::new("/etc")));
    }
}
