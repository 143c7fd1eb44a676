//! Answers of more than one line.

use std::time::Duration;

use tare_reports::document::Failure;

use super::{Failed, Instance, Lab};
use crate::clock::Deadline;
use crate::contenders::Contender;
use crate::site::Site;

impl Lab {
    /// Sends one line and returns the lines of the answer, `OK` at the end included.
    ///
    /// # Errors
    /// `WrongAnswer` where the payload says that it cannot, `Timeout`, `Crash` or `GuestPanic`; the box is then to be
    /// [abandoned](Lab::abandon). A scripted box answers nothing.
    pub fn listing(
        &mut self,
        contender: &dyn Contender,
        site: &Site,
        instance: &mut Instance,
        line: &str,
        within: Duration,
    ) -> Result<Vec<String>, Failed> {
        let start = instance.start.clone();
        let listed = self.lines_of(instance, line, Deadline::after(within));
        listed.map_err(|failed| self.explain(contender, site, &start, failed))
    }

    fn lines_of(
        &mut self,
        instance: &mut Instance,
        line: &str,
        deadline: Deadline,
    ) -> Result<Vec<String>, Failed> {
        let none = || Failed::new(Failure::WrongAnswer, "a scripted box answers nothing");
        let channel = instance.channel.as_mut().ok_or_else(none)?;
        channel.send(line).map_err(|e| Failed::new(Failure::Crash, format!("send {line:?}: {e}")))?;
        let word = line.split(' ').next().unwrap_or_default();
        let (done, refused) = (format!("OK {word}"), format!("ERR {word} "));
        let mut lines = Vec::new();
        loop {
            let said = self.line(channel, None, deadline)?.text;
            if let Some(why) = said.strip_prefix(&refused) {
                return Err(Failed::new(Failure::WrongAnswer, format!("{word}: {why}")));
            }
            let last = said == done || said.starts_with(&format!("{done} "));
            lines.push(said);
            if last {
                return Ok(lines);
            }
        }
    }
}
