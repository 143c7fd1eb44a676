//! Who we are to a registry: what `docker login`, `podman login` or `skopeo login` left in a file.
//!
//! The files say, for each registry, a name and a password in base64, which hides nothing; or the name of a helper, a
//! program that asks a keyring. We read and never write them, and nothing that we print contains a password.
//!
//! Man page: containers-auth.json(5), docker-login(1). Look at it: `grep -c auth ~/.docker/config.json`

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use oci_spec::distribution::Reference;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// A name and a password.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
    /// Where they are from.
    pub(crate) from: PathBuf,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials {{ from: {:?} }}", self.from)
    }
}

/// As much of such a file as matters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Login {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
struct Entry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    identitytoken: String,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entry")
    }
}

/// What a helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// The credentials for what this name is in; `None` where nobody has logged in there.
///
/// # Errors
/// Which file cannot be read or understood, or which helper fails.
pub(crate) async fn find(name: &Reference) -> Result<Option<Credentials>, String> {
    for (path, must) in files(|variable| env::var_os(variable).filter(|value| !value.is_empty())) {
        // It may be a pipe in which nobody has written yet; who is interrupted meanwhile is to notice.
        let read = tokio::task::spawn_blocking({
            let path = path.clone();
            move || fs::read(path)
        });
        let text = match read.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !must => continue,
            other => other.map_err(|error| format!("credentials in {}: {error}", path.display()))?,
        };
        if let Some(found) = look(&path, &text, name).await? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The usual files in the order in which they are looked into, and whether each must be there.
fn files(variable: impl Fn(&str) -> Option<OsString>) -> Vec<(PathBuf, bool)> {
    if let Some(path) = variable("REGISTRY_AUTH_FILE") {
        return vec![(path.into(), true)];
    }
    let in_home = |name: &str| variable("HOME").map(|home| Path::new(&home).join(name));
    let running = variable("XDG_RUNTIME_DIR").map_or_else(
        // Who became root otherwise than by logging in has none, and podman takes this.
        || format!("/run/containers/{}", nix::unistd::geteuid()).into(),
        |path| Path::new(&path).join("containers"),
    );
    let config = variable("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| in_home(".config"));
    let podman = [Some(running), config.map(|path| path.join("containers"))];
    let docker = variable("DOCKER_CONFIG").map(PathBuf::from).or_else(|| in_home(".docker"));
    let podman = podman.into_iter().flatten().map(|path| path.join("auth.json"));
    podman.chain(docker.map(|path| path.join("config.json"))).map(|path| (path, false)).collect()
}

/// What this file says about it.
async fn look(path: &Path, text: &[u8], name: &Reference) -> Result<Option<Credentials>, String> {
    let wrong = |why: String| format!("credentials in {}: {why}", path.display());
    // What is wrong with it is told by its place: the words around it may be a password.
    let login: Login = serde_json::from_slice(text).map_err(|error| {
        wrong(format!("not understood, line {} column {} (log in again)", error.line(), error.column()))
    })?;
    let helper = async |program: &str, key: &str| {
        let (user, password) = ask(program, key).await.map_err(wrong)?;
        Ok(Some(Credentials { user, password, from: path.to_owned() }))
    };
    if let Some((key, program)) = best(&login.cred_helpers, name) {
        return helper(program, key).await;
    }
    let Some((key, entry)) = best(&login.auths, name) else { return Ok(None) };
    if !entry.identitytoken.is_empty() {
        return Err(wrong(format!(
            "{key} has an identity token, which is not understood (log in with a password)"
        )));
    }
    if entry.auth.is_empty() {
        return match &login.creds_store {
            Some(program) => helper(program, key).await,
            None => Err(wrong(format!("{key} has neither a password nor a helper (log in again)"))),
        };
    }
    let decoded = STANDARD.decode(entry.auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match decoded.as_deref().and_then(|text| text.split_once(':')) {
        Some((user, password)) => {
            let (user, password) = (user.to_owned(), password.trim_end_matches('\0').to_owned());
            Ok(Some(Credentials { user, password, from: path.to_owned() }))
        }
        None => Err(wrong(format!("the entry {key} is not a name and a password in base64 (log in again)"))),
    }
}

/// The entry for the longest part of the name: a repository's own counts before the registry's.
fn best<'a, T>(entries: &'a BTreeMap<String, T>, name: &Reference) -> Option<(&'a str, &'a T)> {
    let fits = |key: &str| {
        let registries = [name.registry(), name.resolve_registry()];
        let place = place(key);
        let (registry, below) =
            place.split_once('/').map_or((place, None), |(registry, below)| (registry, Some(below)));
        let inside = |below: &str| {
            name.repository().strip_prefix(below).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        registries.contains(&registry) && below.is_none_or(inside)
    };
    let fitting = entries.iter().filter(|(key, _)| fits(key));
    fitting.max_by_key(|(key, _)| place(key).len()).map(|(key, entry)| (key.as_str(), entry))
}

/// Docker writes some keys as addresses: "https://HOST/v1/".
fn place(key: &str) -> &str {
    match key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")) {
        Some(address) => address.split('/').next().unwrap_or(address),
        None => key.trim_end_matches('/'),
    }
}

/// Asks a helper for the name and the password. It may ask somebody first, and takes its time; who is interrupted
/// meanwhile takes it along.
async fn ask(program: &str, key: &str) -> Result<(String, String), String> {
    // It becomes a program's name.
    if !program.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
        return Err(format!("{program:?} is no helper's name"));
    }
    let program = format!("docker-credential-{program}");
    let words = |error: io::Error| format!("{program}, which keeps those of {key}: {error}");
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(words)?;
    if let Some(mut input) = child.stdin.take() {
        // One that does not read what is asked has failed already, and says so below.
        let _ = input.write_all(key.as_bytes()).await;
    }
    let output = child.wait_with_output().await.map_err(words)?;
    if !output.status.success() {
        return Err(format!("{program} has none for {key} ({})", output.status));
    }
    let answer: Answer = serde_json::from_slice(&output.stdout)
        .map_err(|_| format!("{program} answers for {key} what is not understood"))?;
    if answer.username == "<token>" {
        return Err(format!("{program} has an identity token for {key}, which is not understood"));
    }
    Ok((answer.username, answer.secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_in(text: &str, name: &str) -> Result<Option<(String, String)>, String> {
        let name = name.parse().expect("a name");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        let found = runtime.block_on(look(Path::new("/f"), text.as_bytes(), &name));
        found.map(|found| found.map(|it| (it.user, it.password)))
    }

    fn auth(text: &str) -> String {
        STANDARD.encode(text)
    }

    #[test]
    fn the_entry_of_the_longest_part_of_the_name_counts() {
        let text = format!(
            r#"{{"auths": {{"127.0.0.1:5": {{"auth": "{}"}}, "127.0.0.1:5/me": {{"auth": "{}"}},
                "127.0.0.1:5/me/other": {{"auth": "{}"}}, "https://example.com/v1/": {{"auth": "{}"}}}}}}"#,
            auth("all:1"),
            auth("me:2:3"),
            auth("other:4"),
            auth("web:5")
        );
        let found = |name| {
            look_in(&text, name).expect("understood").map(|(user, password)| format!("{user} {password}"))
        };
        assert_eq!(found("127.0.0.1:5/you/it:1").as_deref(), Some("all 1"));
        assert_eq!(found("127.0.0.1:5/me/it:1").as_deref(), Some("me 2:3"));
        assert_eq!(found("127.0.0.1:5/mean/it:1").as_deref(), Some("all 1"));
        assert_eq!(found("example.com/x/it:1").as_deref(), Some("web 5"));
        assert_eq!(found("127.0.0.1:55/me/it:1"), None);
        assert_eq!(found("127.0.0.1/me/it:1"), None);
    }

    #[test]
    fn what_is_not_understood_is_an_error_that_names_the_file_and_tells_no_secret() {
        let secret = auth("name-without-a-password");
        for (text, why) in [
            ("{\"auths\": ".to_owned(), "line 1"),
            (format!(r#"{{"auths": {{"h:1": {{"auth": ["{secret}"]}}}}}}"#), "not understood"),
            (
                format!(r#"{{"auths": {{"h:1": {{"auth": "{secret}"}}}}}}"#),
                "h:1 is not a name and a password",
            ),
            (r#"{"auths": {"h:1": {"auth": "!!"}}}"#.into(), "is not a name and a password"),
            (r#"{"auths": {"h:1": {}}}"#.into(), "neither a password nor a helper"),
            (format!(r#"{{"auths": {{"h:1": {{"identitytoken": "{secret}"}}}}}}"#), "identity token"),
            (r#"{"auths": {"h:1": {}}, "credsStore": "no-such"}"#.into(), "docker-credential-no-such"),
            (r#"{"credHelpers": {"h:1": "../evil"}}"#.into(), "no helper's name"),
        ] {
            let error = look_in(&text, "h:1/me/it:1").expect_err("refused");
            assert!(error.contains("/f: ") && error.contains(why), "{text}: {error}");
            assert!(!error.contains(&secret) && !error.contains("name-without"), "{error}");
        }
    }

    #[test]
    fn the_usual_files_are_looked_into_in_their_order() {
        let with = |set: &[(&str, &str)]| {
            let set: BTreeMap<String, String> =
                set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let found = files(|name| set.get(name).map(Into::into));
            found.into_iter().map(|(path, must)| (path.display().to_string(), must)).collect::<Vec<_>>()
        };
        let all = |paths: &[&str]| paths.iter().map(|path| ((*path).to_owned(), false)).collect::<Vec<_>>();
        assert_eq!(
            with(&[("XDG_RUNTIME_DIR", "/run/user/7"), ("HOME", "/h")]),
            all(&[
                "/run/user/7/containers/auth.json",
                "/h/.config/containers/auth.json",
                "/h/.docker/config.json"
            ])
        );
        let own = format!("/run/containers/{}/auth.json", nix::unistd::geteuid());
        assert_eq!(
            with(&[("DOCKER_CONFIG", "/d"), ("XDG_CONFIG_HOME", "/c")]),
            all(&[&own, "/c/containers/auth.json", "/d/config.json"])
        );
        assert_eq!(with(&[("REGISTRY_AUTH_FILE", "/f"), ("HOME", "/h")]), [("/f".into(), true)]);
    }
}
