//! What can go wrong between a result document and a page.

use std::path::PathBuf;

/// Why a document could not be read, written or drawn.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No file of that name.
    #[error("no result document at {}: run `tare run` first, or give the path of a result.json", .path.display())]
    NotFound {
        /// The path asked for.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot {what} {}: {source}", .path.display())]
    Io {
        /// The step that was refused, as a verb.
        what: &'static str,
        /// The file it was refused for.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is not JSON, or not of the document's shape.
    #[error("{}: line {line}, column {column}: {reason}; is it a result.json of this suite?", .path.display())]
    Json {
        /// The file read.
        path: PathBuf,
        /// Line of the first fault, from 1.
        line: usize,
        /// Column of the first fault, from 1.
        column: usize,
        /// The parser's words.
        reason: String,
    },
    /// Another version of the frame.
    #[error("{}: the document has schema {found}, this program reads schema {expected}: use the version of tare that wrote it", .path.display())]
    Schema {
        /// The file read.
        path: PathBuf,
        /// The number found; `none` where there is none.
        found: String,
        /// The number that this crate reads.
        expected: u32,
    },
    /// The shape is right, the contents contradict themselves.
    #[error("{}: the document contradicts itself: {reason}", .path.display())]
    Inconsistent {
        /// The file read or to be written.
        path: PathBuf,
        /// The first contradiction found.
        reason: String,
    },
    /// A chart could not be drawn.
    #[error("cannot draw the chart `{chart}`: {reason}")]
    Draw {
        /// Name of the chart.
        chart: String,
        /// The backend's words.
        reason: String,
    },
    /// A language that the page does not speak.
    #[error("the page does not speak `{name}`: use `en` or `zh`")]
    Lang {
        /// The name asked for.
        name: String,
    },
}
