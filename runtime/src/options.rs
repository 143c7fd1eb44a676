//! The command line's words and units: those of runc(8), where it has them.
//!
//! Man page: runc(8). Look at it: `tare-runtime run --help`

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use nix::sys::signal::Signal;
use tare_runtime::oci::Request;
use tare_runtime::{
    DEFAULT_CGROUP_PARENT, DEFAULT_PIDS, Error, ExecSpec, Id, Limits, MilliCpus, MissingLimits, Spec,
};

/// A minimal container runtime, one file per kernel mechanism.
#[derive(Debug, Parser)]
#[command(name = "tare-runtime", version)]
pub(crate) struct Options {
    /// State directory [default: /run/tare; without root $XDG_RUNTIME_DIR/tare or /tmp/tare-UID]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Append errors to this file too
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// In which form
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines of words
    #[default]
    Text,
    /// A JSON object a line, with level, msg and time, as engines read it
    Json,
}

// Only the subcommand that is asked for is built: building all takes longer than any other step here.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Start a container, from options (--rootfs) or from a bundle
    Run(Box<RunOptions>),
    /// Make a container from a bundle; its command waits for `start`
    Create(BundleOptions),
    /// Let a created container execute its command
    Start {
        /// The container
        id: Id,
    },
    /// Execute one more command in a container that runs
    Exec(Box<ExecOptions>),
    /// Send a signal to a container's first process
    Kill {
        /// The container
        id: Id,
        /// A name or a number
        #[arg(default_value = "TERM", value_parser = signal)]
        signal: i32,
    },
    /// Remove a stopped container
    Delete {
        /// Kill it first if it runs
        #[arg(long, short)]
        force: bool,
        /// The container
        id: Id,
    },
    /// Show the state of a container, as OCI has it
    State {
        /// The container
        id: Id,
    },
    /// List containers
    List {
        /// As JSON; the same as --format json
        #[arg(long)]
        json: bool,
        /// Only the names
        #[arg(long, short)]
        quiet: bool,
        /// In which form
        #[arg(long, short, value_enum, default_value_t)]
        format: ListFormat,
    },
    /// Write the default profile as a bundle's config.json
    Spec {
        /// Into this directory
        #[arg(long, short, value_name = "DIR", default_value = ".")]
        bundle: PathBuf,
        /// For use without root
        #[arg(long)]
        rootless: bool,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// Columns
    #[default]
    Table,
    /// A JSON array
    Json,
}

/// Where a process's terminal and id go.
#[derive(Debug, Args)]
pub(crate) struct Outside {
    /// Write the process id here
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,
    /// Send the terminal's other end to this socket
    #[arg(long, value_name = "SOCKET")]
    pub(crate) console_socket: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BundleOptions {
    /// The directory with config.json
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    #[command(flatten)]
    pub(crate) outside: Outside,
    /// Start even where a limit cannot be applied, and record which (see `state`)
    #[arg(long)]
    record_missing_limits: bool,
    /// The new container's name
    id: Id,
}

impl BundleOptions {
    pub(crate) fn request(&self) -> Request {
        request(&self.id, &self.bundle, DEFAULT_CGROUP_PARENT, self.record_missing_limits)
    }
}

fn request(id: &Id, bundle: &std::path::Path, cgroup_parent: &str, record: bool) -> Request {
    Request {
        id: id.clone(),
        bundle: bundle.to_owned(),
        cgroup_parent: cgroup_parent.to_owned(),
        missing_limits: if record { MissingLimits::Record } else { MissingLimits::Refuse },
    }
}

#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// Return once the command runs, and leave it running
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// The directory with config.json [default: the current one]
    #[arg(long, short, value_name = "DIR", conflicts_with_all = ["rootfs", "memory", "pids", "cpus", "hostname",
        "env", "cwd", "until", "command", "terminal"])]
    bundle: Option<PathBuf>,
    /// Without a bundle: the directory seen as /; it is not written to
    #[arg(long, value_name = "DIR", requires = "command")]
    rootfs: Option<PathBuf>,
    /// Give it a terminal
    #[arg(long, short, requires = "rootfs")]
    terminal: bool,
    /// Most memory, such as 256MiB
    #[arg(long, value_name = "BYTES", value_parser = bytes, requires = "rootfs")]
    memory: Option<u64>,
    /// Most processes and threads [default: 2048]
    #[arg(long, value_name = "N", requires = "rootfs")]
    pids: Option<u64>,
    /// Most CPUs, such as 1.5
    #[arg(long, value_name = "X", value_parser = cpus, requires = "rootfs")]
    cpus: Option<MilliCpus>,
    /// The cgroup below which the container's is made
    #[arg(long, value_name = "PATH", default_value = DEFAULT_CGROUP_PARENT)]
    cgroup_parent: String,
    /// Host name [default: the id]
    #[arg(long, value_name = "NAME", requires = "rootfs")]
    hostname: Option<String>,
    /// Environment variable; nothing but PATH is set by default
    #[arg(long, short, value_name = "NAME=VALUE", requires = "rootfs")]
    env: Vec<String>,
    /// Working directory inside [default: /]
    #[arg(long, value_name = "DIR", requires = "rootfs")]
    cwd: Option<PathBuf>,
    /// Climb the ladder of mechanisms no further than this; for measuring and teaching only
    #[arg(long, value_name = "STEP", requires = "rootfs")]
    until: Option<String>,
    #[command(flatten)]
    pub(crate) outside: Outside,
    /// Start even where a limit cannot be applied, and record which (see `state`)
    #[arg(long)]
    record_missing_limits: bool,
    /// The new container's name
    pub(crate) id: Id,
    /// Without a bundle: the command and its arguments, after --
    #[arg(last = true, value_name = "COMMAND", requires = "rootfs")]
    command: Vec<String>,
}

/// What `run` was asked for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// A box from options.
    Options(Box<Spec>),
    /// A box from a bundle.
    Bundle(Request),
}

impl RunOptions {
    pub(crate) fn asked(self) -> Result<Asked, Error> {
        let Some(rootfs) = self.rootfs else {
            let bundle = self.bundle.unwrap_or_else(|| ".".into());
            let request = request(&self.id, &bundle, &self.cgroup_parent, self.record_missing_limits);
            return Ok(Asked::Bundle(request));
        };
        let rootfs = std::path::absolute(&rootfs)
            .map_err(|error| Error::Spec { field: "rootfs".into(), why: error.to_string() })?;
        let mut spec = Spec::new(self.id, rootfs, self.command);
        if let Some(hostname) = self.hostname {
            spec.hostname = hostname;
        }
        if self.env.iter().any(|entry| entry.starts_with("PATH=")) {
            spec.env.clear();
        }
        spec.env.extend(self.env);
        spec.cwd = self.cwd.unwrap_or_else(|| "/".into());
        let pids = Some(self.pids.unwrap_or(DEFAULT_PIDS));
        spec.limits = Limits { memory: self.memory, pids, cpus: self.cpus };
        spec.cgroup_parent = self.cgroup_parent;
        if self.record_missing_limits {
            spec.missing_limits = MissingLimits::Record;
        }
        spec.terminal = self.terminal;
        spec.until = self.until;
        Ok(Asked::Options(Box::new(spec)))
    }
}

#[derive(Debug, Args)]
pub(crate) struct ExecOptions {
    /// Return once the command runs, and leave it running
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// Give it a terminal
    #[arg(long = "tty", short, visible_alias = "terminal")]
    terminal: bool,
    /// Environment variable, beside the container's own
    #[arg(long, short, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Working directory inside
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// User, and group if it is not 0
    #[arg(long, short, value_name = "UID[:GID]", value_parser = user)]
    user: Option<(u32, u32)>,
    /// A file with a process object of OCI, instead of all of these
    #[arg(long, short, value_name = "FILE", conflicts_with_all = ["terminal", "env", "cwd", "user", "command"])]
    process: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) outside: Outside,
    /// The container
    pub(crate) id: Id,
    /// The command and its arguments
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND",
        required_unless_present = "process"
    )]
    command: Vec<String>,
}

impl ExecOptions {
    pub(crate) fn spec(&self) -> Result<ExecSpec, String> {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path).map_err(|error| format!("process {}: {error}", path.display()))
        };
        Ok(ExecSpec {
            args: self.command.clone(),
            env: self.env.clone(),
            cwd: self.cwd.clone(),
            user: self.user,
            terminal: self.terminal,
            process: self.process.as_ref().map(read).transpose()?,
        })
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

/// "TERM", "SIGTERM" or "15"; real-time signals by number.
fn signal(text: &str) -> Result<i32, String> {
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=64).contains(&number) { Ok(number) } else { Err(format!("{number} is no signal")) };
    }
    let name = text.to_ascii_uppercase();
    let full = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
    Signal::from_str(&full).map(|signal| signal as i32).map_err(|_| format!("{text:?} is no signal"))
}

/// "1000" or "1000:100".
fn user(text: &str) -> Result<(u32, u32), String> {
    let number = |text: &str| {
        text.parse::<u32>()
            .ok()
            .filter(|id| *id != u32::MAX)
            .ok_or_else(|| format!("{text:?} is no id (names are not looked up)"))
    };
    let (uid, gid) = text.split_once(':').unwrap_or((text, "0"));
    Ok((number(uid)?, number(gid)?))
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

    #[test]
    fn signals_have_names_and_numbers() {
        for text in ["TERM", "sigterm", "15"] {
            assert_eq!(signal(text), Ok(15), "{text}");
        }
        for bad in ["0", "65", "-9", "SIGNAL", ""] {
            assert!(signal(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn users_are_numbers_within_the_kernels_range() {
        assert_eq!(user("1000:100"), Ok((1000, 100)));
        assert_eq!(user("7"), Ok((7, 0)));
        for bad in ["root", "-1", "4294967295", "1:", ""] {
            assert!(user(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn options_may_follow_the_name() {
        let options =
            Options::try_parse_from(["tare-runtime", "create", "box", "--bundle", "/b", "--log", "/l"]);
        let options = options.expect("parsed");
        assert_eq!(options.log, Some("/l".into()));
        let Command::Create(create) = options.command else { panic!("create") };
        assert_eq!(create.request().bundle, PathBuf::from("/b"));
    }
}
