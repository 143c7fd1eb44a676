//! Running tools that start no box, timed to their end: what fetches an image.

use std::os::fd::AsRawFd;
use std::time::Duration;

use tare_reports::document::Failure;

use super::{Failed, Lab};
use crate::clock::{self, Deadline};
use crate::contenders::Undo;
use crate::spawner::protocol::{Event, How, Launch, Request};

impl Lab {
    /// Runs these one after another, each once the one before has ended well, and returns how long that took, ns: from
    /// just before the request for the first until the last was reaped. They have no environment.
    ///
    /// # Errors
    /// `Start`, with what it said last, where one ends with another status than 0; `Timeout` where they take longer than
    /// `within`. Nothing of them runs then any more.
    pub fn run_tools(&mut self, commands: Vec<Vec<String>>, within: Duration) -> Result<u64, Failed> {
        self.begin();
        let deadline = Deadline::after(within.min(self.left()));
        let began = clock::now_ns();
        let mut ended = began;
        for argv in commands {
            let name = argv.join(" ");
            ended = self.run_tool(argv, deadline).map_err(|failed| {
                self.kill_children();
                let failed = match failed.failure {
                    Failure::Timeout if self.left().is_zero() => self.too_late(),
                    Failure::Timeout => {
                        Failed::new(Failure::Timeout, format!("had not ended after {} s", within.as_secs()))
                    }
                    _ => failed,
                };
                self.with_last_words(Failed::new(failed.failure, format!("{name}: {}", failed.detail)))
            })?;
        }
        Ok(ended - began)
    }

    /// When it was reaped, ns.
    fn run_tool(&mut self, argv: Vec<String>, deadline: Deadline) -> Result<u64, Failed> {
        let null = std::fs::File::options().read(true).write(true).open("/dev/null");
        let null = null.map_err(|e| Failed::new(Failure::Start, format!("open /dev/null: {e}")))?;
        let fds = [null.as_raw_fd(), null.as_raw_fd(), self.errors.as_raw_fd()];
        let launch = Launch::Command { argv, env: Vec::new(), overlay: None, dies_with_parent: true };
        let tag = self.next_tag();
        self.request(Request::Start { tag, launch }, &fds)?;
        let Event::Started { pid, .. } = self.answer(tag, deadline)? else {
            return Err(Failed::new(Failure::Start, "the spawner gave another answer than a process"));
        };
        let exit = self.exit_of(pid, deadline)?;
        match exit.how {
            How::Code(0) => Ok(exit.at_ns),
            how => Err(Failed::new(Failure::Start, how.to_string())),
        }
    }

    /// Takes something away that belongs to no box.
    ///
    /// # Errors
    /// When it stays.
    pub fn clear_away(&mut self, undo: Undo) -> Result<(), Failed> {
        self.begin();
        self.undo(undo)
    }
}
