//! Images on the command line: where the store is, how it is listed, and what an image says about a box.
//!
//! Man page: docker-run(1), whose customs are kept. Look at it: `tare-runtime run busybox:1 -- id`

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use oci_spec::image::Config;
use tare_runtime::image::{Account, Listed, Standing, Store, default_store};
use tare_runtime::{DEFAULT_PATH, Spec, State, Volumes};

use crate::log::Log;
use crate::options::{self, FromImage, signal};
use crate::transfer::{PROGRAM, Transfer};
use crate::{Failure, print, tell};

/// Beside the containers' directories where a root was said: no container's name begins with a dot.
pub(crate) fn store(root: Option<&Path>) -> Store {
    Store::new(root.map_or_else(default_store, |root| root.join(".images"))).telling(tell)
}

/// The same for named volumes.
pub(crate) fn volumes(root: Option<&Path>) -> Volumes {
    Volumes::new(root.map_or_else(|| default_store().join("volumes"), |root| root.join(".volumes")))
}

/// See conversion.md of the OCI image specification.
const STOP_SIGNAL: &str = "org.opencontainers.image.stopSignal";

/// Completes a box by what its image says; what is returned keeps the image until the box has its directory.
pub(crate) fn complete(
    store: &Store,
    from: FromImage,
    spec: &mut Spec,
    root: &Path,
) -> Result<Standing, Failure> {
    let image = store.image(&from.name)?;
    let standing = store.stand_on(&image, root, spec)?;
    let config = image.config.config().clone().unwrap_or_default();
    spec.args = command(&config, from.entrypoint, std::mem::take(&mut spec.args));
    if spec.args.is_empty() {
        return Err(format!("{}: the image names no command: give one after --", image.name).into());
    }
    let Account { user, home } = image.account(from.user.as_deref())?;
    spec.user = user;
    spec.env = environment(config.env().clone().unwrap_or_default(), std::mem::take(&mut spec.env), &home);
    let own = Path::new("/").join(config.working_dir().clone().unwrap_or_default());
    spec.cwd = from.cwd.unwrap_or(own);
    // Like Docker's, it is made if no layer has it, and so are the places for volumes. What is written to one of these
    // goes with the box, if nothing is mounted there.
    let places = config.volumes().iter().flatten().map(|place| Path::new("/").join(place));
    spec.directories = places.chain([spec.cwd.clone()]).filter(|path| path != Path::new("/")).collect();
    if let Some(signal) = config.stop_signal() {
        spec.annotations.insert(STOP_SIGNAL.into(), signal.clone());
    }
    spec.rootfs = image.layers.first().cloned().ok_or("the image has no layers")?;
    spec.layers = image.layers;
    Ok(standing)
}

/// The image's entry point, then what was said, or the image's command. Who names another entry point does not mean the
/// command that belongs to the image's.
fn command(config: &Config, entrypoint: Option<String>, said: Vec<String>) -> Vec<String> {
    let is_other = entrypoint.is_some();
    let entrypoint = match entrypoint {
        Some(program) => Some(program).into_iter().filter(|program| !program.is_empty()).collect(),
        None => config.entrypoint().clone().unwrap_or_default(),
    };
    let own = || if is_other { Vec::new() } else { config.cmd().clone().unwrap_or_default() };
    let rest = if said.is_empty() { own() } else { said };
    entrypoint.into_iter().chain(rest).collect()
}

/// The image's environment, changed by what was said, and what every program may expect.
fn environment(mut env: Vec<String>, said: Vec<String>, home: &str) -> Vec<String> {
    let name_of = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    for own in said {
        env.retain(|entry| name_of(entry) != name_of(&own));
        env.push(own);
    }
    for (name, value) in [("HOME", home), ("PATH", DEFAULT_PATH)] {
        if !env.iter().any(|entry| name_of(entry) == name) {
            env.insert(0, format!("{name}={value}"));
        }
    }
    env
}

/// By what a box wants to be ended: what its image says, kept where the specification of images says so.
pub(crate) fn stop_signal(state: &State) -> Result<i32, Failure> {
    let Some(said) = state.annotations.get(STOP_SIGNAL) else { return Ok(Signal::SIGTERM as i32) };
    signal(said).map_err(|why| format!("the image's stop signal: {why} (say one)").into())
}

/// Becomes the program that talks to registries, which lies beside this one.
pub(crate) fn transfer(store: &Store, it: options::Transfer, log: Option<Log>) -> Result<u8, Failure> {
    let options::Transfer { what, plain_http, timeout } = it;
    let transfer = Transfer { store: store.root().to_owned(), what, plain_http, timeout, log };
    let own = std::fs::read_link("/proc/self/exe").map_err(|error| format!("/proc/self/exe: {error}"))?;
    let program = own.with_file_name(PROGRAM);
    // Comes back only if it failed.
    let error = Command::new(&program)
        .arg(serde_json::to_string(&transfer)?)
        .env("NO_PROXY", not_by_proxy(|name| std::env::var(name).ok()))
        .exec();
    Err(match error.kind() {
        io::ErrorKind::NotFound => format!(
            "{} is missing, which talks to registries (build it too: cargo build --package tare-runtime --features \
             registry)",
            program.display()
        ),
        _ => format!("{}: {error}", program.display()),
    }
    .into())
}

/// What is asked without the proxy that the environment names: what the environment says, and this host, which a proxy
/// elsewhere knows under the same name, and to which we speak without TLS because nobody is between.
fn not_by_proxy(variable: impl Fn(&str) -> Option<String>) -> String {
    let said = variable("NO_PROXY").or_else(|| variable("no_proxy"));
    said.into_iter().chain(["localhost,127.0.0.0/8".to_owned()]).collect::<Vec<_>>().join(",")
}

pub(crate) fn list(images: &[Listed], json: bool, quiet: bool) -> Result<u8, Failure> {
    if json {
        return print(&format!("{}\n", serde_json::to_string_pretty(images)?));
    }
    let mut text = String::new();
    if !quiet {
        text += &format!("{:<48} {:<20} {:>6} {:>12}\n", "NAME", "DIGEST", "LAYERS", "BYTES");
    }
    for it in images {
        text += &match quiet {
            true => format!("{}\n", it.name),
            false => format!("{:<48} {:<20.19} {:>6} {:>12}\n", it.name, it.digest, it.layers, it.bytes),
        };
    }
    print(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_command_is_put_together_as_docker_does_it() {
        let config = |text: &str| serde_json::from_str::<Config>(text).expect("config");
        let both = config(r#"{"Entrypoint": ["entry", "-e"], "Cmd": ["cmd", "-c"]}"#);
        let only = config(r#"{"Cmd": ["cmd", "-c"]}"#);
        let of = |config: &Config, entry: Option<&str>, said: &str| {
            command(config, entry.map(str::to_owned), words(said)).join(" ")
        };
        assert_eq!(of(&both, None, ""), "entry -e cmd -c");
        assert_eq!(of(&both, None, "said"), "entry -e said");
        assert_eq!(of(&both, Some("other"), ""), "other");
        assert_eq!(of(&both, Some("other"), "said"), "other said");
        assert_eq!(of(&both, Some(""), "said"), "said");
        assert_eq!(of(&both, Some(""), ""), "");
        assert_eq!(of(&only, None, ""), "cmd -c");
        assert_eq!(of(&only, None, "said"), "said");
    }

    #[test]
    fn what_is_said_of_the_environment_counts_and_the_rest_stays() {
        let env = |own: &str, said: &str| environment(words(own), words(said), "/home").join(" ");
        assert_eq!(env("A=1 PATH=/bin AB=2", "A=3 HOME=/x"), "PATH=/bin AB=2 A=3 HOME=/x");
        assert_eq!(env("", ""), format!("PATH={DEFAULT_PATH} HOME=/home"));
        assert_eq!(env("HOME=/own PATH=/p", ""), "HOME=/own PATH=/p");
    }
}
