//! The command line's words and units.
//!
//! Man page: runc-run(8). Look at it: `tare-runtime run --help`

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tare_runtime::{DEFAULT_PIDS, Error, Id, Limits, MilliCpus, MissingLimits, Spec};

/// A minimal container runtime, one file per kernel mechanism.
#[derive(Debug, Parser)]
#[command(name = "tare-runtime", version)]
pub(crate) struct Options {
    /// State directory [default: /run/tare; without root $XDG_RUNTIME_DIR/tare or /tmp/tare-UID]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a container
    Run(Box<RunOptions>),
    /// Remove a stopped container
    Delete {
        /// Kill it first if it runs
        #[arg(long, short)]
        force: bool,
        /// The container
        id: Id,
    },
    /// List containers
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what is known about one container, as JSON
    State {
        /// The container
        id: Id,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// Return once the command runs, and leave it running
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// The directory seen as /; it is not written to
    #[arg(long, value_name = "DIR")]
    rootfs: PathBuf,
    /// Most memory, such as 256MiB
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    memory: Option<u64>,
    /// Most processes and threads
    #[arg(long, value_name = "N", default_value_t = DEFAULT_PIDS)]
    pids: u64,
    /// Most CPUs, such as 1.5
    #[arg(long, value_name = "X", value_parser = cpus)]
    cpus: Option<MilliCpus>,
    /// The cgroup below which the container's is made
    #[arg(long, value_name = "PATH", default_value = "/tare")]
    cgroup_parent: String,
    /// Host name [default: the id]
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Environment variable; nothing but PATH is set by default
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Working directory inside
    #[arg(long, value_name = "DIR", default_value = "/")]
    cwd: PathBuf,
    /// Write the process id here
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,
    /// Start even where a limit cannot be applied, and record which (see `state`)
    #[arg(long)]
    record_missing_limits: bool,
    /// The new container's name
    id: Id,
    /// The command and its arguments, after --
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl RunOptions {
    pub(crate) fn into_spec(self) -> Result<Spec, Error> {
        let rootfs = std::path::absolute(&self.rootfs)
            .map_err(|error| Error::Spec { field: "rootfs", why: error.to_string() })?;
        let mut spec = Spec::new(self.id, rootfs, self.command);
        if let Some(hostname) = self.hostname {
            spec.hostname = hostname;
        }
        if self.env.iter().any(|entry| entry.starts_with("PATH=")) {
            spec.env.clear();
        }
        spec.env.extend(self.env);
        spec.cwd = self.cwd;
        spec.limits = Limits { memory: self.memory, pids: Some(self.pids), cpus: self.cpus };
        spec.cgroup_parent = self.cgroup_parent;
        if self.record_missing_limits {
            spec.missing_limits = MissingLimits::Record;
        }
        Ok(spec)
    }
}

/// "256MiB", "256M" and "256m" are one: powers of 1024, as everywhere with memory.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| format!("{text:?} does not begin with a number"))?;
    let power = match text[digits..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 1,
        "m" | "mib" => 2,
        "g" | "gib" => 3,
        unit => return Err(format!("unknown unit {unit:?} (use KiB, MiB or GiB)")),
    };
    number.checked_mul(1 << (10 * power)).ok_or_else(|| format!("{text} does not fit into 64 bits"))
}

fn cpus(text: &str) -> Result<MilliCpus, String> {
    match text.parse::<f64>() {
        Ok(cpus) if cpus > 0.0 && cpus <= 1_000_000.0 => Ok(MilliCpus((cpus * 1000.0).round() as u32)),
        _ => Err(format!("{text:?} is not a number of CPUs")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024_and_never_overflow() {
        assert_eq!(bytes("256MiB"), Ok(256 << 20));
        assert_eq!(bytes("1g"), Ok(1 << 30));
        assert_eq!(bytes("77"), Ok(77));
        for bad in ["", "MiB", "-1", "1.5G", "3TiB", "99999999999999999999", "18446744073709551615K"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cpus_are_thousandths() {
        assert_eq!(cpus("1.5"), Ok(MilliCpus(1500)));
        for bad in ["0", "-1", "NaN", "inf", "x"] {
            assert!(cpus(bad).is_err(), "{bad}");
        }
    }
}
