//! A machine's state, saved once and resumed many times.
//!
//! The machine has its memory in a file and changes that file; the state that QEMU writes beside it holds the rest
//! (processor, devices, firmware), because shared memory is left out of it (`x-ignore-shared`). Whoever resumes
//! maps the same file privately: nothing is read but the pages it uses, and nothing of it is changed.

use super::guest::{Guest, Silence};
use super::microvm::Ram;
use super::monitor::{self, Said};
use super::qemu::Qemu;
use crate::clock::Deadline;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// For a boot, and for writing the state. Under TCG a boot takes a second, or hangs.
const DEADLINE: Duration = Duration::from_secs(30);

/// Name of the file that a saved machine has its memory in, by which the accounting finds it.
pub const RAM: &str = "guest-ram";

/// The directory of a saved state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved(PathBuf);

impl Saved {
    /// A state in this directory; whether it was made already is not looked at.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// The machine's memory.
    #[must_use]
    pub fn ram(&self) -> PathBuf {
        self.0.join(RAM)
    }

    /// The rest of its state.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    /// What to ask the monitor of a machine that is resumed.
    #[must_use]
    pub fn requests(&self) -> [Value; 2] {
        let uri = format!("exec:exec cat {}", quoted(&self.state()));
        [capabilities(), json!({"execute": "migrate-incoming", "arguments": {"uri": uri}})]
    }

    /// Boots a microvm until its payload has said READY and waits for commands, and saves it.
    ///
    /// # Errors
    /// It does not boot (twice), or QEMU cannot save it.
    pub fn make(&self, qemu: &Qemu, kernel: &Path, initramfs: &Path) -> Result<()> {
        // Now and then a boot hangs under TCG.
        match self.make_once(qemu, kernel, initramfs) {
            Err(error) if matches!(error.downcast_ref(), Some(Silence::Late)) => {
                self.make_once(qemu, kernel, initramfs)
            }
            other => other,
        }
    }

    fn make_once(&self, qemu: &Qemu, kernel: &Path, initramfs: &Path) -> Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(e).with_context(|| format!("empty {}", self.0.display()));
            }
            _ => fs::create_dir_all(&self.0).with_context(|| format!("make {}", self.0.display()))?,
        }
        let (console, name) = (self.0.join("console"), self.0.join("monitor"));
        let mut command = qemu.microvm_command("saved", kernel, initramfs, &console, Ram::File(&self.ram()));
        command.extend(monitor::arguments(&name));
        let mut monitor =
            monitor::open(&name, &[capabilities()]).context("make the monitor of the machine to be saved")?;
        let mut guest = Guest::start(&command).context("start the machine to be saved")?;
        let ready = guest.line(Instant::now() + DEADLINE).context("boot the machine to be saved")?;
        ensure!(ready == "READY saved", "the machine to be saved says {ready:?} instead of READY");

        let deadline = Deadline::after(DEADLINE);
        // QEMU says "completed" when all is in the pipe, and only then waits for `cat`; told to quit in between it
        // ends `cat` instead, and the file is cut off. The name is there when the whole state is.
        let part = self.0.join("state.part");
        let uri = format!("exec:cat >{0} && mv {0} {1}", quoted(&part), quoted(&self.state()));
        let migrate = json!({"execute": "migrate", "arguments": {"uri": uri}});
        // Not stopped by us before: a machine that was paused when it was saved is paused when it is resumed.
        monitor.send(&migrate.to_string()).context("ask QEMU to save its state")?;
        let ended = monitor::wait(&mut monitor, deadline, |said| match said {
            Said::Event(name, data) if name == "MIGRATION" => {
                let status = data["status"].as_str().unwrap_or_default();
                matches!(status, "completed" | "failed").then(|| status.to_owned())
            }
            _ => None,
        })
        .context("save the machine's state")?;
        if ended != "completed" {
            bail!("QEMU could not save the machine's state into {}", self.0.display());
        }
        while !self.state().try_exists().context("look for the saved state")? {
            ensure!(!deadline.passed(), "{} is not written in {DEADLINE:?}", self.state().display());
            sleep(Duration::from_millis(5));
        }
        monitor.send(r#"{"execute":"quit"}"#).context("end the saved machine")?;
        guest.wait(Instant::now() + DEADLINE).context("wait for the end of the saved machine")?;
        let size = fs::metadata(self.state()).context("look at the saved state")?.len();
        ensure!(size > 0, "{} is empty", self.state().display());
        Ok(())
    }
}

/// Shared memory stays where it is and is no part of the state; and the end of saving is an event.
fn capabilities() -> Value {
    let on = |name: &str| json!({"capability": name, "state": true});
    json!({"execute": "migrate-set-capabilities",
        "arguments": {"capabilities": [on("x-ignore-shared"), on("events")]}})
}

/// As one word for a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::Saved;

    #[test]
    fn a_path_is_one_word_for_the_shell() {
        let saved = Saved::at("/a b/it's".as_ref());
        let [_, incoming] = saved.requests();
        assert_eq!(incoming["arguments"]["uri"], r"exec:exec cat '/a b/it'\''s/state'");
    }
}
