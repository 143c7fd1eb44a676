//! What a line says about one more process in a box.
//!
//! Man page: runc-exec(8). Look at it: `tare-runtime help exec`

use std::path::PathBuf;

use tare_runtime::{ExecSpec, Id};

use super::Outside;
use super::values::user;
use crate::words::Said;

#[derive(Debug)]
pub(crate) struct ExecOptions {
    pub(crate) detach: bool,
    pub(crate) spec: ExecSpec,
    pub(crate) outside: Outside,
    pub(crate) id: Id,
}

pub(super) fn exec(id: Id, said: Said) -> Result<ExecOptions, String> {
    said.alone("process", &["tty", "terminal", "env", "cwd", "user"])?;
    if said.has("process") != said.rest.is_empty() {
        return Err("give either a command to execute or --process".into());
    }
    let read = |path: PathBuf| {
        std::fs::read_to_string(&path).map_err(|error| format!("--process {}: {error}", path.display()))
    };
    let spec = ExecSpec {
        env: said.values("env")?,
        cwd: said.path("cwd"),
        user: said.value("user", user)?,
        terminal: said.has("tty") || said.has("terminal"),
        process: said.path("process").map(read).transpose()?,
        args: said.rest.clone(),
    };
    Ok(ExecOptions { detach: said.has("detach"), spec, outside: Outside::parse(&said), id })
}
