//! Reads and writes the document. A reader never sees half a document, whatever kills the writer.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use crate::Error;
use crate::document::{Document, Failure, SCHEMA, Status};

/// Reads a result document and checks that it does not contradict itself.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Io`], [`Error::Json`] with the line of the fault, [`Error::Schema`] for
/// another version of the frame, [`Error::Inconsistent`] for what [`check`] finds.
pub fn read(path: &Path) -> Result<Document, Error> {
    let text = fs::read_to_string(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => Error::NotFound { path: path.to_owned() },
        _ => Error::Io { what: "read", path: path.to_owned(), source },
    })?;
    let document = parse(&text, path)?;
    check(&document).map_err(|reason| Error::Inconsistent { path: path.to_owned(), reason })?;
    Ok(document)
}

/// Parses with the version looked at first: a newer frame would otherwise be reported as a missing field.
fn parse(text: &str, path: &Path) -> Result<Document, Error> {
    let json = |error: serde_json::Error| Error::Json {
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
        reason: error.to_string(),
    };
    let value: serde_json::Value = serde_json::from_str(text).map_err(json)?;
    let found = value.get("schema");
    if found.and_then(serde_json::Value::as_u64) != Some(u64::from(SCHEMA)) {
        let found = found.map_or_else(|| "none".to_owned(), ToString::to_string);
        return Err(Error::Schema { path: path.to_owned(), found, expected: SCHEMA });
    }
    serde_json::from_str(text).map_err(json)
}

/// Looks for contradictions that the shape alone does not exclude.
///
/// # Errors
/// The first contradiction, in words: a sample with both or neither of value and failure, a series of an
/// unknown contender, two contenders of one name, a skipped contender with samples that
/// were measured.
pub fn check(document: &Document) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for contender in &document.contenders {
        if !names.insert(contender.name.as_str()) {
            return Err(format!("contender `{}` is listed twice", contender.name));
        }
    }
    for series in &document.series {
        let label = format!("series {}/{} of `{}`", series.measure, series.quantity, series.contender);
        let Some(contender) = document.contenders.iter().find(|it| it.name == series.contender) else {
            return Err(format!("{label}: no such contender is listed"));
        };
        // One that was tried and for which the time was too short has samples that were not measured.
        let measured = series.samples.iter().any(|it| it.failure != Some(Failure::NotMeasured));
        if contender.status == Status::Skipped && measured {
            return Err(format!("{label}: the contender is `skipped`, yet it has samples"));
        }
        for (index, sample) in series.samples.iter().enumerate() {
            let fault = match (sample.value, sample.failure) {
                (Some(_), Some(_)) => "both a value and a failure",
                (None, None) => "neither a value nor a failure",
                _ => continue,
            };
            return Err(format!("{label}: sample {index} (round {}) has {fault}", sample.round));
        }
    }
    Ok(())
}

/// Writes a document atomically: under a temporary name in the same directory, fsync, rename, fsync of the
/// directory. A kill at any point leaves the old document or the new one.
///
/// # Errors
/// [`Error::Inconsistent`] before anything is written, [`Error::Io`] naming the step that was refused.
pub fn write(document: &Document, path: &Path) -> Result<(), Error> {
    check(document).map_err(|reason| Error::Inconsistent { path: path.to_owned(), reason })?;
    let mut text = serde_json::to_string_pretty(document).map_err(|error| Error::Json {
        path: path.to_owned(),
        line: 0,
        column: 0,
        reason: error.to_string(),
    })?;
    text.push('\n');

    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let temporary = directory.join(format!(".{name}.{}.tmp", std::process::id()));
    let refused = |what| {
        let path = temporary.clone();
        move |source| Error::Io { what, path, source }
    };
    let written = (|| {
        let mut file = File::create(&temporary).map_err(refused("create"))?;
        file.write_all(text.as_bytes()).map_err(refused("write"))?;
        file.sync_all().map_err(refused("sync"))?;
        fs::rename(&temporary, path).map_err(|source| Error::Io {
            what: "rename the temporary file to",
            path: path.to_owned(),
            source,
        })
    })();
    if written.is_err() {
        // Best effort: the error to report is the one above.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    // The new name itself is only durable once its directory is; not every platform can sync one.
    if let Ok(directory) = File::open(directory) {
        let _ = directory.sync_all();
    }
    Ok(())
}
