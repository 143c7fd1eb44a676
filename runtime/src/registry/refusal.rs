//! What a registry's refusals mean, in words: who, which blob, why, and what to do.
//!
//! What a registry writes itself is a stranger's: it is shortened, and nothing in it moves a terminal's cursor. Addresses
//! are left out, for they can carry signatures.
//!
//! Man page: the OCI distribution specification, "Error Codes". Look at it: `tare-runtime pull 127.0.0.1:1/it:1`

use std::error::Error;
use std::io;
use std::time::Duration;

use oci_client::errors::{DigestError, OciDistributionError, OciErrorCode};

use crate::Failure;

/// The longest that a stranger's words may be here.
const LONGEST: usize = 200;

/// What is known of whoever refuses.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) registry: String,
    /// The file that the credentials are from.
    pub(crate) credentials: Option<String>,
}

impl Refusal {
    /// What an error means, where `what` was asked for.
    pub(crate) fn words(&self, what: &str, error: &OciDistributionError) -> Failure {
        use OciDistributionError as E;
        let why = match error {
            E::UnauthorizedError { .. } | E::AuthenticationFailure(_) => self.unauthorized(),
            E::ServerError { code: 401, .. } => self.unauthorized(),
            E::RegistryError { envelope, .. } => {
                let code = envelope.errors.first().map(|error| &error.code);
                let said: Vec<&str> = envelope.errors.iter().map(|error| error.message.as_str()).collect();
                let said = tame(&said.join("; "));
                match code {
                    Some(OciErrorCode::Unauthorized) => self.unauthorized(),
                    Some(OciErrorCode::Denied) => self.denied(&said),
                    Some(
                        OciErrorCode::NameUnknown
                        | OciErrorCode::ManifestUnknown
                        | OciErrorCode::NotFound
                        | OciErrorCode::BlobUnknown,
                    ) => unknown(&said),
                    _ => format!("it answers: {said}"),
                }
            }
            E::ServerError { code: 403, message, .. } => self.denied(&tame(message)),
            E::ServerError { code: 404, message, .. } => unknown(&tame(message)),
            E::ServerError { code: 429, .. } => "too many requests (try again later)".into(),
            E::ServerError { code, message, .. } => format!("it answers {code}: {}", tame(message)),
            E::RequestError(error) => match error.status().map(|status| status.as_u16()) {
                Some(401) => self.unauthorized(),
                Some(403) => self.denied(""),
                Some(code) => format!("it answers {code}"),
                None => cause(error),
            },
            E::IoError(error) => cause(error),
            E::DigestError(error) => digest(error),
            other => tame(&other.to_string()),
        };
        self.told(what, &why)
    }

    /// What we have to say of it ourselves.
    pub(crate) fn told(&self, what: &str, why: &str) -> Failure {
        format!("the registry {}, asked for {what}: {why}", self.registry).into()
    }

    /// It says nothing.
    pub(crate) fn silence(&self, what: &str, time: Duration) -> Failure {
        let (registry, seconds) = (&self.registry, time.as_secs());
        format!(
            "the registry {registry}, asked for {what}: nothing comes for {seconds} s, given up (see --timeout)"
        )
        .into()
    }

    fn unauthorized(&self) -> String {
        match &self.credentials {
            Some(file) => format!("it does not take the credentials from {file} (401)"),
            None => "it wants credentials, and none are known (401; log in with docker, podman or skopeo, whose files \
                     are read)"
                .into(),
        }
    }

    fn denied(&self, said: &str) -> String {
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        match &self.credentials {
            Some(file) => format!("the credentials from {file} are not enough for it (403){said}"),
            None => format!("it is not for everybody, and no credentials are known (403){said}"),
        }
    }
}

/// Of errors below HTTP, the innermost that says something.
fn cause(error: &(dyn Error + 'static)) -> String {
    let causes: Vec<_> = std::iter::successors(Some(error), |error| below(*error)).collect();
    let find = |text: &str| causes.iter().any(|cause| cause.to_string().contains(text));
    for cause in &causes {
        if let Some(error) = cause.downcast_ref::<DigestError>() {
            return digest(error);
        }
        if let Some(error) = cause.downcast_ref::<rustls::Error>() {
            return tls(error);
        }
        match cause.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => {
                return "nobody listens there (connection refused)".into();
            }
            Some(io::ErrorKind::ConnectionReset) => return "it closed the connection".into(),
            _ => {}
        }
    }
    if find("too many redirects") {
        return "it sends us from one address to another, ten times and more".into();
    }
    if find("end of file before message length") || find("connection closed before message completed") {
        return "the connection ends in the middle".into();
    }
    if find("timed out") {
        return "it cannot be reached in time".into();
    }
    // The outer ones contain addresses.
    causes.last().map_or_else(String::new, |cause| tame(&cause.to_string()))
}

/// What an error is made of. One of input or output that was made of another does not name it as its source.
fn below<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

fn tls(error: &rustls::Error) -> String {
    if matches!(error, rustls::Error::InvalidMessage(_)) {
        return "it does not speak TLS (--plain-http asks it without, if you trust all that is between)"
            .into();
    }
    format!("TLS: {} (SSL_CERT_FILE names more authorities to trust)", tame(&error.to_string()))
}

fn unknown(said: &str) -> String {
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    format!("it has no such thing (404){said}")
}

fn digest(error: &DigestError) -> String {
    match error {
        DigestError::VerificationError { expected, actual } => {
            format!("another content comes: its digest is {}, and {} is wanted", tame(actual), tame(expected))
        }
        other => tame(&other.to_string()),
    }
}

/// A stranger's words: one line, printable, not long.
pub(crate) fn tame(text: &str) -> String {
    let mut words: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.retain(|c| !c.is_control());
    if let Some((end, _)) = words.char_indices().nth(LONGEST) {
        words.truncate(end);
        words.push('…');
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_words_are_one_short_line() {
        assert_eq!(tame("no\n\u{1b}[31mred\u{7}\t really"), "no [31mred really");
        assert_eq!(tame(&"x".repeat(10_000)).chars().count(), LONGEST + 1);
    }
}
