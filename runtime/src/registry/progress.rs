//! How far it is, for whoever watches: lines on a terminal, and nothing anywhere else.
//!
//! Man page: isatty(3). Look at it: `tare-runtime pull NAME:TAG`, and the same with `2>file`

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A line for each blob that is under way.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    all: MultiProgress,
}

impl Progress {
    /// On standard error, if that is a terminal.
    pub(crate) fn new() -> Self {
        Self { all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()) }
    }

    /// A line for some bytes, called by a digest; it goes with what is returned.
    pub(crate) fn bytes(&self, digest: &str, size: u64) -> Line {
        let hex = digest.split_once(':').map_or(digest, |(_, hex)| hex);
        let name = hex.get(..12).unwrap_or(hex).to_owned();
        let style =
            ProgressStyle::with_template("{prefix} [{bar:30}] {bytes}/{total_bytes} {binary_bytes_per_sec}");
        self.line(ProgressBar::new(size), style, name)
    }

    /// A line for what has no length.
    pub(crate) fn work(&self, what: &str) -> Line {
        let line = self.line(
            ProgressBar::no_length(),
            ProgressStyle::with_template("{prefix} {elapsed}"),
            what.to_owned(),
        );
        line.bar.enable_steady_tick(std::time::Duration::from_millis(200));
        line
    }

    fn line(
        &self,
        bar: ProgressBar,
        style: Result<ProgressStyle, indicatif::style::TemplateError>,
        name: String,
    ) -> Line {
        let bar = self.all.add(bar.with_prefix(name));
        if let Ok(style) = style {
            bar.set_style(style.progress_chars("##-"));
        }
        Line { bar }
    }
}

/// One line.
#[derive(Debug)]
pub(crate) struct Line {
    bar: ProgressBar,
}

impl Line {
    /// So many bytes more.
    pub(crate) fn more(&self, bytes: usize) {
        self.bar.inc(bytes as u64);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
