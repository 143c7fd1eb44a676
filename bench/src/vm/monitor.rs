//! QEMU's monitor (QMP, docs/interop/qmp-spec): requests and events as lines of JSON, over two FIFOs that are made
//! before QEMU is started. So nobody has to wait for a socket to appear: the first requests lie ready, and the
//! answer is an event.

use crate::channel::{Channel, Read};
use crate::clock::Deadline;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The files of a monitor with this name: what QEMU reads and what it writes.
#[must_use]
pub fn files(name: &Path) -> [PathBuf; 2] {
    ["in", "out"].map(|end| {
        let mut path = name.as_os_str().to_owned();
        path.push(format!(".{end}"));
        path.into()
    })
}

/// What to add to QEMU's command line.
#[must_use]
pub fn arguments(name: &Path) -> [String; 4] {
    let path = super::qemu::spread(name);
    [
        "-chardev".into(),
        format!("pipe,id=monitor,path={path}"),
        "-mon".into(),
        "chardev=monitor,mode=control".into(),
    ]
}

/// What one line of the monitor says.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// The answer to a request.
    Answer(Value),
    /// A request failed; its words.
    Refused(String),
    /// Something happened: its name and details.
    Event(String, Value),
    /// The greeting, or nothing that is understood.
    Other,
}

/// Understands one line.
#[must_use]
pub fn parse(line: &str) -> Said {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(line) else { return Said::Other };
    if let Some(answer) = fields.remove("return") {
        return Said::Answer(answer);
    }
    if let Some(error) = fields.get("error") {
        return Said::Refused(error["desc"].as_str().unwrap_or("no reason given").to_owned());
    }
    match fields.get("event").and_then(Value::as_str) {
        Some(event) => Said::Event(event.to_owned(), fields.get("data").cloned().unwrap_or_default()),
        None => Said::Other,
    }
}

/// Whether a machine that is being resumed runs by what was said.
#[must_use]
pub fn says_running(said: &Said) -> bool {
    matches!(said, Said::Event(name, _) if name == "RESUME")
}

/// Makes the FIFOs and lays these requests ready, behind the one that every monitor wants first. The channel ends
/// when QEMU does.
///
/// # Errors
/// The FIFOs exist already, or cannot be made.
pub fn open(name: &Path, requests: &[Value]) -> io::Result<Channel> {
    let [to, from] = files(name);
    for path in [&to, &from] {
        mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)?;
    }
    let open = |path: &Path, write: bool| {
        File::options().read(true).write(write).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)
    };
    // Ours for reading is not open for writing: so the end of QEMU, which has it open, is an end of file.
    let channel = Channel::over(open(&to, true)?.into(), open(&from, false)?.into());
    channel.send(r#"{"execute":"qmp_capabilities"}"#)?;
    for request in requests {
        channel.send(&request.to_string())?;
    }
    Ok(channel)
}

/// Reads until something is said that `wanted` takes, and returns what it makes of it. For preparations; nothing is
/// timed here.
///
/// # Errors
/// A refusal, the end of QEMU, or nothing that is wanted before the deadline.
pub fn wait<T>(
    channel: &mut Channel,
    deadline: Deadline,
    mut wanted: impl FnMut(&Said) -> Option<T>,
) -> io::Result<T> {
    loop {
        // Asked each time: what comes may be something else, without end.
        if deadline.passed() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "QEMU's monitor did not answer in time"));
        }
        let line = match channel.buffered() {
            Some(line) => line,
            None => {
                let timeout =
                    PollTimeout::try_from(deadline.left().as_millis() + 1).unwrap_or(PollTimeout::MAX);
                let ready = poll(&mut [PollFd::new(channel.readable(), PollFlags::POLLIN)], timeout);
                if !matches!(ready, Ok(1..)) {
                    continue;
                }
                match channel.read()? {
                    Read::Line(line) => line,
                    Read::Partial => continue,
                    Read::End => {
                        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "QEMU ended"));
                    }
                }
            }
        };
        let said = parse(&line.text);
        if let Said::Refused(words) = &said {
            return Err(io::Error::other(format!("QEMU's monitor refuses: {words}")));
        }
        if let Some(result) = wanted(&said) {
            return Ok(result);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Said, files, open, parse, says_running, wait};
    use crate::clock::Deadline;
    use std::io::{ErrorKind, Read, Write};
    use std::time::Duration;

    /// As QEMU 7.2 wrote them here.
    const LINES: &str = include_str!("../../tests/fixtures/qmp-resume.txt");

    #[test]
    fn understands_what_qemu_said() {
        let said: Vec<Said> = LINES.lines().map(parse).collect();
        assert_eq!(said[0], Said::Other, "the greeting");
        assert_eq!(said.iter().filter(|it| says_running(it)).count(), 1);
        assert_eq!(said.last(), Some(&Said::Event("RESUME".into(), serde_json::Value::Null)));
        assert_eq!(
            parse(r#"{"error": {"class": "GenericError", "desc": "no such thing"}}"#),
            Said::Refused("no such thing".into())
        );
        for broken in ["", "{", "[]", "null", r#"{"event": 7}"#] {
            assert_eq!(parse(broken), Said::Other, "{broken}");
        }
        assert!(!says_running(&parse(r#"{"event": "STOP"}"#)));
    }

    #[test]
    fn waits_for_words_for_the_end_and_for_no_longer_than_the_deadline() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let name = directory.path().join("qmp");
        let mut channel = open(&name, &[]).expect("FIFOs");
        assert_eq!(open(&name, &[]).unwrap_err().kind(), ErrorKind::AlreadyExists);
        let [to, from] = files(&name);
        // QEMU's part, which opens both for both.
        let both = |path| std::fs::File::options().read(true).write(true).open(path).expect("a FIFO");
        let (mut requests, mut answers) = (both(to), both(from));
        let mut asked = [0; 26];
        requests.read_exact(&mut asked).expect("the first requests lie ready");
        assert!(asked.starts_with(br#"{"execute":"qmp_capabiliti"#));
        let soon = || Deadline::after(Duration::from_secs(5));
        answers.write_all(LINES.as_bytes()).expect("written");
        wait(&mut channel, soon(), |said| says_running(said).then_some(())).expect("RESUME");
        let late = wait(&mut channel, Deadline::after(Duration::from_millis(30)), |_| Some(()));
        assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
        answers.write_all(b"{\"error\": {\"desc\": \"no\"}}\n").expect("written");
        let refused = wait(&mut channel, soon(), |_| Some(())).unwrap_err();
        assert_eq!(refused.to_string(), "QEMU's monitor refuses: no");
        drop(answers);
        let ended = wait(&mut channel, soon(), |_| Some(())).unwrap_err();
        assert_eq!(ended.kind(), ErrorKind::UnexpectedEof);
    }
}
