//! Images on the command line: where the store is, how it is listed, and what an image says about a box.
//!
//! Man page: docker-run(1), whose customs are kept. Look at it: `tare-runtime run busybox:1 -- id`

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use tare_runtime::image::{Listed, Standing, Store, default_store};
use tare_runtime::{DEFAULT_PATH, Spec, Volumes};

use crate::log::Log;
use crate::options::{self, FromImage};
use crate::transfer::{PROGRAM, Transfer};
use crate::{Failure, print};

/// Beside the containers' directories where a root was said: no container's name begins with a dot.
pub(crate) fn store(root: Option<&Path>) -> Store {
    Store::new(root.map_or_else(default_store, |root| root.join(".images")))
}

/// The same for named volumes.
pub(crate) fn volumes(root: Option<&Path>) -> Volumes {
    Volumes::new(root.map_or_else(|| default_store().join("volumes"), |root| root.join(".volumes")))
}

/// Completes a box by what its image says; what is returned keeps the image until the box has its directory.
pub(crate) fn complete(
    store: &Store,
    from: FromImage,
    spec: &mut Spec,
    directory: &Path,
) -> Result<Standing, Failure> {
    let image = store.image(&from.name)?;
    let standing = store.stand_on(&image, directory)?;
    let config = image.config.config().clone().unwrap_or_default();
    let said = std::mem::take(&mut spec.args);
    let command = if said.is_empty() { config.cmd().clone().unwrap_or_default() } else { said };
    spec.args = config.entrypoint().iter().flatten().cloned().chain(command).collect();
    if spec.args.is_empty() {
        return Err(format!("{}: the image names no command: give one after --", image.name).into());
    }
    let mut env = config.env().clone().unwrap_or_default();
    for own in std::mem::take(&mut spec.env) {
        let name = own.split('=').next().unwrap_or_default().to_owned() + "=";
        env.retain(|entry| !entry.starts_with(&name));
        env.push(own);
    }
    if !env.iter().any(|entry| entry.starts_with("PATH=")) {
        env.insert(0, format!("PATH={DEFAULT_PATH}"));
    }
    spec.env = env;
    let own = config.working_dir().clone().filter(|directory| !directory.is_empty());
    spec.cwd = from.cwd.unwrap_or_else(|| own.unwrap_or_else(|| "/".into()).into());
    spec.user = from.user.map_or_else(|| image.user(), Ok)?;
    spec.rootfs = image.layers.first().cloned().ok_or("the image has no layers")?;
    spec.layers = image.layers;
    Ok(standing)
}

/// Becomes the program that talks to registries, which lies beside this one.
pub(crate) fn transfer(store: &Store, it: options::Transfer, log: Option<Log>) -> Result<u8, Failure> {
    let options::Transfer { what, plain_http, timeout } = it;
    let transfer = Transfer { store: store.root().to_owned(), what, plain_http, timeout, log };
    let own = std::fs::read_link("/proc/self/exe").map_err(|error| format!("/proc/self/exe: {error}"))?;
    let program = own.with_file_name(PROGRAM);
    // Comes back only if it failed.
    let error = Command::new(&program).arg(serde_json::to_string(&transfer)?).exec();
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
