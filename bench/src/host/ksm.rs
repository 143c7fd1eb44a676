//! Kernel same-page merging: a kernel thread that looks for pages of equal content and keeps one of them
//! (Documentation/admin-guide/mm/ksm.rst). It looks only at memory that its owner marked (madvise(2),
//! MADV_MERGEABLE), private and anonymous: what QEMU does with a guest's RAM unless told otherwise.
//!
//! It is the host's own setting. What stood there is noted in the site before anything is written, so that also after
//! a kill `tare clean` can put it back.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tare_reports::document::HostChange;

/// The kernel's directory.
const DIR: &str = "/sys/kernel/mm/ksm";

/// File in the site's directory: what stood in which file.
const NOTE: &str = "ksm.json";

/// While it merges: as many pages at once as it takes to be through gigabytes in seconds, and nobody who changes that
/// number by himself (Linux 6.7 and later).
const PACE: [(&str, &str); 3] =
    [("advisor_mode", "none"), ("pages_to_scan", "20000"), ("sleep_millisecs", "20")];

/// A page is merged when it has not changed from one scan to the next; with the first, which only sees them, and one
/// in which nothing more was merged, so many scans tell that it is done.
const SCANS: u64 = 3;

/// Between two looks at the counters.
const LOOK: Duration = Duration::from_millis(20);

/// After this time nobody waits any longer for it to be through.
const PATIENCE: Duration = Duration::from_secs(60);

/// The settings of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ksm {
    dir: PathBuf,
}

/// A file, what stood in it and what was written instead.
type Written = (PathBuf, String, String);

/// The settings while they are changed; dropped, they are put back.
#[derive(Debug)]
pub struct Changed {
    ksm: Ksm,
    note: PathBuf,
    written: Vec<Written>,
}

/// Whether it can be switched here; changes nothing.
///
/// # Errors
/// Why not, and what would change it.
pub fn can_be_switched() -> Result<()> {
    Ksm::of_host().can_be_switched()
}

impl Ksm {
    /// This host's.
    pub fn of_host() -> Self {
        Self { dir: DIR.into() }
    }

    fn can_be_switched(&self) -> Result<()> {
        let run = self.dir.join("run");
        ensure!(run.exists(), "there is no {}: a kernel with CONFIG_KSM has it", run.display());
        fs::File::options().write(true).open(&run).map(drop).with_context(|| {
            format!(
                "cannot write {}: run it as root, outside of containers, with /sys writable",
                run.display()
            )
        })
    }

    /// Merging from now on, or none that begins.
    ///
    /// # Errors
    /// When the note cannot be written, or the kernel refuses. What was written is put back.
    pub fn change(&self, site: &Path, merging: bool) -> Result<Changed> {
        let run = if merging { "1" } else { "0" };
        let pace = PACE.iter().filter(|_| merging).filter(|(name, _)| self.dir.join(name).exists());
        let mut wanted: Vec<(&str, &str)> = pace.copied().collect();
        wanted.push(("run", run));
        let mut written = Vec::new();
        for (name, new) in wanted {
            let old = self.read(name)?;
            if old != new {
                written.push((self.dir.join(name), old, new.to_owned()));
            }
        }
        let note = site.join(NOTE);
        if !written.is_empty() {
            let text = serde_json::to_vec(&written)?;
            fs::write(&note, text).with_context(|| format!("write {}", note.display()))?;
        }
        let changed = Changed { ksm: self.clone(), note, written };
        for (path, _, new) in &changed.written {
            write(path, new)?;
        }
        Ok(changed)
    }

    /// What stands in a file; of several words the chosen one.
    fn read(&self, name: &str) -> Result<String> {
        let path = self.dir.join(name);
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let chosen = text.split_whitespace().find_map(|it| it.strip_prefix('[')?.strip_suffix(']'));
        Ok(chosen.unwrap_or(text.trim()).to_owned())
    }

    fn count(&self, name: &str) -> Result<u64> {
        let text = self.read(name)?;
        text.parse().with_context(|| format!("{} says {text:?}", self.dir.join(name).display()))
    }
}

impl Changed {
    /// Waits until all that can be merged is, for as long as `go_on` says so; whether it came to that.
    ///
    /// # Errors
    /// When there is no end of it, or the counters cannot be read.
    pub fn settle(&self, mut go_on: impl FnMut() -> bool) -> Result<bool> {
        let began = Instant::now();
        let scans = || self.ksm.count("full_scans");
        let (mut since, mut sharing) = (scans()?, self.ksm.count("pages_sharing")?);
        while began.elapsed() < PATIENCE {
            let (now, shared) = (scans()?, self.ksm.count("pages_sharing")?);
            if shared != sharing {
                (since, sharing) = (now, shared);
            } else if now >= since + SCANS {
                return Ok(true);
            }
            if !go_on() {
                return Ok(false);
            }
            sleep(LOOK);
        }
        bail!("pages were still being merged after {} s", PATIENCE.as_secs())
    }

    /// Puts everything back, and says what was changed.
    pub fn put_back(mut self) -> Vec<HostChange> {
        let change = |(path, old, new): &Written, result: Result<()>| HostChange {
            setting: path.display().to_string(),
            written: new.clone(),
            times: 1,
            restored: match result {
                Ok(()) => format!("put back to {old}"),
                Err(error) => format!("NOT put back to {old}: {error:#}"),
            },
        };
        self.undo().iter_mut().map(|(it, result)| change(it, std::mem::replace(result, Ok(())))).collect()
    }

    /// The last change first; a note of what could not be put back stays.
    fn undo(&mut self) -> Vec<(Written, Result<()>)> {
        let mut undone = Vec::new();
        while let Some(it) = self.written.pop() {
            let result = write(&it.0, &it.1);
            undone.push((it, result));
        }
        if undone.iter().all(|(_, result)| result.is_ok()) {
            let _ = fs::remove_file(&self.note);
        }
        undone
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        self.undo();
    }
}

/// What a killed run changed and did not put back: the files, and what stood in them.
pub fn noted(site: &Path) -> Vec<(PathBuf, String)> {
    let written: Option<Vec<Written>> =
        fs::read(site.join(NOTE)).ok().and_then(|it| serde_json::from_slice(&it).ok());
    written.unwrap_or_default().into_iter().rev().map(|(path, old, _)| (path, old)).collect()
}

/// Puts that back.
///
/// # Errors
/// When the kernel refuses.
pub fn put_back_noted(site: &Path) -> Result<()> {
    noted(site).iter().try_for_each(|(path, old)| write(path, old))
}

fn write(path: &Path, value: &str) -> Result<()> {
    fs::write(path, value).with_context(|| format!("write {value} to {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory as the kernel's, and one for the note.
    fn made_up() -> (tempfile::TempDir, tempfile::TempDir, Ksm) {
        let (dir, site) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let files = [
            ("run", "0\n"),
            ("pages_to_scan", "100\n"),
            ("sleep_millisecs", "20\n"),
            ("advisor_mode", "none [scan-time]\n"),
        ];
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let ksm = Ksm { dir: dir.path().to_owned() };
        (dir, site, ksm)
    }

    fn values(ksm: &Ksm) -> Vec<String> {
        ["run", "pages_to_scan", "sleep_millisecs", "advisor_mode"].map(|it| ksm.read(it).unwrap()).into()
    }

    const BEFORE: [&str; 4] = ["0", "100", "20", "scan-time"];

    #[test]
    fn what_is_changed_is_noted_and_put_back_and_recorded() {
        let (_dir, site, ksm) = made_up();
        let changed = ksm.change(site.path(), true).unwrap();
        assert_eq!(values(&ksm), ["1", "20000", "20", "none"]);
        assert_eq!(noted(site.path()).len(), 3, "what stays as it was is no change");
        let changes = changed.put_back();
        assert_eq!(values(&ksm), BEFORE);
        let said: Vec<(&str, &str)> = changes.iter().map(|it| (&*it.written, &*it.restored)).collect();
        assert_eq!(
            said,
            [("1", "put back to 0"), ("20000", "put back to 100"), ("none", "put back to scan-time")]
        );
        assert_eq!(noted(site.path()), []);
    }

    #[test]
    fn without_merging_a_quiet_host_is_left_alone_and_a_merging_one_stopped() {
        let (dir, site, ksm) = made_up();
        assert_eq!(ksm.change(site.path(), false).unwrap().put_back(), []);
        fs::write(dir.path().join("run"), "1\n").unwrap();
        let changed = ksm.change(site.path(), false).unwrap();
        assert_eq!(values(&ksm)[0], "0");
        drop(changed);
        assert_eq!(values(&ksm)[0], "1", "an error or a panic puts it back, too");
    }

    #[test]
    fn it_is_through_after_scans_that_merged_no_more_and_nobody_has_to_wait_for_that() {
        let (dir, site, ksm) = made_up();
        let count = |name: &str, value: u64| fs::write(dir.path().join(name), format!("{value}\n")).unwrap();
        count("full_scans", 0);
        count("pages_sharing", 100);
        let changed = ksm.change(site.path(), true).unwrap();
        assert!(!changed.settle(|| false).unwrap());
        let mut scans = 0;
        let scanned = changed.settle(|| {
            scans += 1;
            count("full_scans", scans);
            // The third scan merges more.
            count("pages_sharing", if scans < 3 { 100 } else { 200 });
            true
        });
        assert_eq!((scanned.unwrap(), scans), (true, 3 + SCANS));
    }

    #[test]
    fn a_killed_runs_note_puts_it_back() {
        let (_dir, site, ksm) = made_up();
        std::mem::forget(ksm.change(site.path(), true).unwrap());
        assert_eq!(values(&ksm)[0], "1");
        put_back_noted(site.path()).unwrap();
        assert_eq!(values(&ksm), BEFORE);
        put_back_noted(tempfile::tempdir().unwrap().path()).expect("who changed nothing has no note");
    }

    #[test]
    fn a_host_without_it_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let none = Ksm { dir: dir.path().to_owned() };
        assert!(none.can_be_switched().unwrap_err().to_string().contains("CONFIG_KSM"));
        assert!(none.change(dir.path(), true).is_err());
        assert_eq!(noted(dir.path()), []);
    }
}
