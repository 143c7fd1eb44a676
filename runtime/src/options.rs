//! What was said to `tare-runtime`, understood: units, defaults, and what excludes what.
//!
//! Man page: runc(8). Look at it: `tare-runtime run --help`

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::sys::signal::Signal;
use tare_runtime::image::Budget;
use tare_runtime::oci::Request;
use tare_runtime::{
    DEFAULT_CGROUP_PARENT, DEFAULT_PIDS, ExecSpec, Id, Limits, MilliCpus, MissingLimits, Spec, User, Volume,
};

use crate::commands::{BOX, FROM_IMAGE, PROGRAM};
use crate::words::{Opt, Said, Stop, Verb};

/// What the line asks for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) root: Option<PathBuf>,
    pub(crate) log: Option<PathBuf>,
    pub(crate) log_format: LogFormat,
    pub(crate) command: Command,
}

/// How the log file is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Lines of words.
    #[default]
    Text,
    /// A JSON object a line, with level, msg and time, as engines read it.
    Json,
}

#[derive(Debug)]
pub(crate) enum Command {
    Run(Box<RunOptions>),
    Create { request: Request, outside: Outside },
    Start { id: Id },
    Exec(Box<ExecOptions>),
    Kill { id: Id, signal: i32 },
    Delete { id: Id, force: bool },
    State { id: Id },
    List { json: bool, quiet: bool },
    Spec { bundle: PathBuf, rootless: bool },
    Import { path: PathBuf, name: String, budget: Budget },
    Images { json: bool, quiet: bool },
    Remove { name: String },
    Volumes,
    RemoveVolume { name: Id },
}

/// Where a process's terminal and id go.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) console_socket: Option<PathBuf>,
}

#[derive(Debug)]
pub(crate) struct RunOptions {
    pub(crate) detach: bool,
    pub(crate) asked: Asked,
    /// What completes a box from options.
    pub(crate) image: Option<FromImage>,
    pub(crate) marks: Option<PathBuf>,
    pub(crate) outside: Outside,
    pub(crate) id: Id,
}

/// What `run` was asked for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// A box from options.
    Options(Box<Spec>),
    /// A box from a bundle.
    Bundle(Request),
}

/// The image of a box: what the line does not say, the image does.
#[derive(Debug)]
pub(crate) struct FromImage {
    pub(crate) name: String,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) user: Option<User>,
}

#[derive(Debug)]
pub(crate) struct ExecOptions {
    pub(crate) detach: bool,
    pub(crate) spec: ExecSpec,
    pub(crate) outside: Outside,
    pub(crate) id: Id,
}

impl Options {
    /// Understands a line, the program's own name not among its words.
    ///
    /// # Errors
    /// [`Stop`].
    pub(crate) fn parse(line: impl IntoIterator<Item = OsString>) -> Result<Self, Stop> {
        let (verb, said) = PROGRAM.sort(line)?;
        let form = |text: &str| one_of(text, &[("text", LogFormat::Text), ("json", LogFormat::Json)]);
        Ok(Self {
            root: said.path("root"),
            log: said.path("log"),
            log_format: said.value("log-format", form)?.unwrap_or_default(),
            command: command(verb, said)?,
        })
    }
}

fn command(verb: &Verb, said: Said) -> Result<Command, String> {
    let name = |at| {
        said.word(at, |text| Ok::<_, String>(text.to_owned()))?.ok_or_else(|| "a name is missing".to_owned())
    };
    // Most have a container's name as first word, and the table sees to it that it is there.
    let id = || said.word(0, Id::new)?.ok_or_else(|| "a container's name is missing".to_owned());
    Ok(match verb.name {
        "run" => Command::Run(Box::new(run(said)?)),
        "create" => {
            Command::Create { request: request(id()?, &said, DEFAULT_CGROUP_PARENT), outside: outside(&said) }
        }
        "start" => Command::Start { id: id()? },
        "exec" => Command::Exec(Box::new(exec(id()?, said)?)),
        "kill" => {
            Command::Kill { id: id()?, signal: said.word(1, signal)?.unwrap_or(Signal::SIGTERM as i32) }
        }
        "delete" => Command::Delete { id: id()?, force: said.has("force") },
        "state" => Command::State { id: id()? },
        "list" => {
            let format = said.value("format", |text| one_of(text, &[("table", false), ("json", true)]))?;
            Command::List { json: said.has("json") || format == Some(true), quiet: said.has("quiet") }
        }
        "import" => {
            let mut budget = Budget::default();
            budget.bytes = said.value("max-size", bytes)?.unwrap_or(budget.bytes);
            Command::Import { path: name(0)?.into(), name: name(1)?, budget }
        }
        "images" => Command::Images { json: said.has("json"), quiet: said.has("quiet") },
        "rm" => Command::Remove { name: name(0)? },
        "volumes" => Command::Volumes,
        "rm-volume" => Command::RemoveVolume { name: id()? },
        _ => Command::Spec {
            bundle: said.path("bundle").unwrap_or_else(|| ".".into()),
            rootless: said.has("rootless"),
        },
    })
}

fn outside(said: &Said) -> Outside {
    Outside { pid_file: said.path("pid-file"), console_socket: said.path("console-socket") }
}

fn request(id: Id, said: &Said, cgroup_parent: &str) -> Request {
    Request {
        id,
        bundle: said.path("bundle").unwrap_or_else(|| ".".into()),
        cgroup_parent: cgroup_parent.to_owned(),
        missing_limits: missing_limits(said),
    }
}

fn missing_limits(said: &Said) -> MissingLimits {
    if said.has("record-missing-limits") { MissingLimits::Record } else { MissingLimits::Refuse }
}

fn run(said: Said) -> Result<RunOptions, String> {
    let own = |options: &[Opt]| options.iter().map(|option| option.long).collect::<Vec<_>>();
    said.alone("bundle", &own(BOX))?;
    let word = said.word(0, |text| Ok::<_, String>(text.to_owned()))?.unwrap_or_default();
    let parent = said.values("cgroup-parent")?.pop().unwrap_or_else(|| DEFAULT_CGROUP_PARENT.to_owned());
    // No container's name has these in it.
    let is_image = word.contains([':', '/', '@']) && !said.has("rootfs") && !said.has("bundle");
    let (id, asked, image) = if is_image {
        let id = match said.value("name", Id::new)? {
            Some(id) => id,
            None => id_for(&word)?,
        };
        let mut spec = spec(id.clone(), Path::new("/"), parent, &said)?;
        spec.env = said.values("env")?;
        let user = said.value("user", user)?.map(|(uid, gid)| User { uid, gid, groups: Vec::new() });
        let image = FromImage { name: word, cwd: said.path("cwd"), user };
        (id, Asked::Options(Box::new(spec)), Some(image))
    } else {
        let id = Id::new(&word).map_err(|error| error.to_string())?;
        said.only_with("rootfs", &own(BOX))?;
        if let Some(option) = own(FROM_IMAGE).into_iter().find(|option| said.has(option)) {
            return Err(format!("--{option} has a meaning only with an image (such as {word}:latest)"));
        }
        let asked = match said.path("rootfs") {
            Some(_) if said.rest.is_empty() => {
                return Err("the command to execute is missing: give it after --".into());
            }
            Some(rootfs) => Asked::Options(Box::new(spec(id.clone(), &rootfs, parent, &said)?)),
            None if !said.rest.is_empty() => {
                return Err("a command has a meaning only with --rootfs or an image".into());
            }
            None => Asked::Bundle(request(id.clone(), &said, &parent)),
        };
        (id, asked, None)
    };
    Ok(RunOptions {
        detach: said.has("detach"),
        asked,
        image,
        marks: said.path("marks"),
        outside: outside(&said),
        id,
    })
}

/// A name for a container of an image: the image's own, and a number by chance.
fn id_for(image: &str) -> Result<Id, String> {
    let name = image.split('@').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    let name = name.split(':').next().unwrap_or_default();
    let chance = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 0) as u32;
    let name: String =
        name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')).take(40).collect();
    Id::new(&format!("{}-{chance:08x}", if name.is_empty() { "box" } else { &name }))
        .map_err(|error| error.to_string())
}

fn spec(id: Id, rootfs: &Path, cgroup_parent: String, said: &Said) -> Result<Spec, String> {
    let rootfs = std::path::absolute(rootfs).map_err(|e| format!("--rootfs {}: {e}", rootfs.display()))?;
    let mut spec = Spec::new(id, rootfs, said.rest.clone());
    if let Some(hostname) = said.values("hostname")?.pop() {
        spec.hostname = hostname;
    }
    let env = said.values("env")?;
    if env.iter().any(|entry| entry.starts_with("PATH=")) {
        spec.env.clear();
    }
    spec.env.extend(env);
    spec.cwd = said.path("cwd").unwrap_or_else(|| "/".into());
    spec.limits = Limits {
        memory: said.value("memory", bytes)?,
        pids: Some(said.value("pids", str::parse)?.unwrap_or(DEFAULT_PIDS)),
        cpus: said.value("cpus", cpus)?,
    };
    let words = |error: tare_runtime::Error| error.to_string();
    for text in said.values("volume")? {
        spec.volumes.push(Volume::parse(&text).map_err(words)?);
    }
    for text in said.values("tmpfs")? {
        spec.volumes.push(Volume::parse_tmpfs(&text).map_err(words)?);
    }
    spec.cgroup_parent = cgroup_parent;
    spec.missing_limits = missing_limits(said);
    spec.terminal = said.has("terminal");
    spec.network = said.path("network-namespace");
    spec.until = said.values("until")?.pop();
    spec.marks = said.has("marks");
    Ok(spec)
}

fn exec(id: Id, said: Said) -> Result<ExecOptions, String> {
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
    Ok(ExecOptions { detach: said.has("detach"), spec, outside: outside(&said), id })
}

fn one_of<T: Copy>(text: &str, values: &[(&str, T)]) -> Result<T, String> {
    let names = || values.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" or ");
    let found = values.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| format!("expected {}", names()))
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

    fn parse(line: &[&str]) -> Result<Options, Stop> {
        Options::parse(line.iter().map(OsString::from))
    }

    fn wrong(line: &[&str]) -> String {
        match parse(line) {
            Err(Stop::Wrong(why)) => why,
            other => panic!("{line:?}: {other:?}"),
        }
    }

    #[test]
    fn options_may_follow_the_name() {
        let options = parse(&["create", "box", "--bundle", "/b", "--log=/l", "--log-format", "json"]);
        let options = options.expect("parsed");
        assert_eq!((options.log, options.log_format), (Some("/l".into()), LogFormat::Json));
        let Command::Create { request, .. } = options.command else { panic!("create") };
        assert_eq!((request.id.as_str(), request.bundle), ("box", PathBuf::from("/b")));
    }

    #[test]
    fn a_command_to_execute_keeps_its_dashes() {
        let line =
            ["run", "box", "--rootfs", "/r", "-e", "A=1", "-e", "B=2", "--", "sh", "--", "-c", "--help"];
        let Command::Run(run) = parse(&line).expect("parsed").command else { panic!("run") };
        let Asked::Options(spec) = run.asked else { panic!("options") };
        assert_eq!(spec.args, ["sh", "--", "-c", "--help"]);
        assert_eq!(spec.env[1..], ["A=1", "B=2"]);
        for line in
            [&["exec", "-d", "box", "-u", "7", "ls", "-u"][..], &["exec", "-du7", "box", "--", "ls", "-u"]]
        {
            let Command::Exec(exec) = parse(line).expect("parsed").command else { panic!("exec") };
            assert_eq!(
                (exec.detach, exec.spec.user, exec.spec.args.len()),
                (true, Some((7, 0)), 2),
                "{line:?}"
            );
        }
    }

    #[test]
    fn a_wrong_line_is_told_what_is_wrong_with_it() {
        for (line, why) in [
            (&[][..], "no command given"),
            (&["fly"], "no command is called \"fly\""),
            (&["run"], "ID|IMAGE is missing"),
            (&["run", "box", "--rootfs", "/r"], "the command to execute is missing"),
            (&["run", "box", "--", "sh"], "only with --rootfs"),
            (&["run", "box", "--memory", "1M"], "--memory has a meaning only with --rootfs"),
            (&["run", "box", "-b", "/b", "--rootfs", "/r", "--", "x"], "--bundle and --rootfs exclude"),
            (
                &["run", "box", "--rootfs", "/r", "--memory", "x", "--", "x"],
                "--memory x: \"x\" does not begin",
            ),
            (&["run", "box", "--rootfs", "/r", "more", "--", "x"], "unexpected word \"more\""),
            (&["run", "box", "--cwd", "/", "--cwd", "/"], "--cwd is given twice"),
            (&["run", "..box"], "..box"),
            (&["run", "box", "--name", "b"], "--name has a meaning only with an image"),
            (&["import", "/x"], "NAME:TAG is missing"),
            (&["import", "/x", "y:1", "--max-size", "much"], "--max-size much"),
            (&["state", "box", "--force"], "--force"),
            (&["delete", "box", "--force=yes"], "yes"),
            (&["kill", "box", "-9"], "-9"),
            (&["kill", "box", "0"], "0 is no signal"),
            (&["exec", "box"], "either a command"),
            (&["exec", "-p", "/dev/null", "box", "ls"], "either a command"),
            (&["list", "--format", "xml"], "expected table or json"),
        ] {
            let said = wrong(line);
            assert!(said.contains(why), "{line:?}: {said}");
        }
    }

    #[test]
    fn help_names_every_option_and_every_command() {
        let asked = |line: &[&str]| match parse(line) {
            Err(Stop::Asked(text)) => text,
            other => panic!("{line:?}: {other:?}"),
        };
        for verb in PROGRAM.verbs {
            assert!(asked(&["--help"]).contains(verb.about), "{}", verb.name);
            let help = asked(&[verb.name, "-h"]);
            assert_eq!(help, asked(&["help", verb.name]));
            for option in verb.options.iter().copied().flatten().chain(PROGRAM.options) {
                assert!(help.contains(&format!("--{} ", option.long)), "{} {}", verb.name, option.long);
            }
        }
        assert_eq!(asked(&["-V"]), format!("tare-runtime {}\n", env!("CARGO_PKG_VERSION")));
    }
}
