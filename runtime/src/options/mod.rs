//! What was said to `tare-runtime`, understood: units, defaults, and what excludes what.
//!
//! Man page: runc(8). Look at it: `tare-runtime run --help`

mod images;
mod inside;
mod network;
mod run;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;

pub(crate) use images::{FromImage, Transfer};
pub(crate) use inside::ExecOptions;
pub(crate) use run::{Asked, RunOptions};
use tare_runtime::image::Budget;
use tare_runtime::oci::Request;
use tare_runtime::{DEFAULT_CGROUP_PARENT, Id};
use values::one_of;
pub(crate) use values::signal;

use crate::commands::PROGRAM;
use crate::log::{Log, LogFormat};
use crate::words::{Said, Stop, Verb};

/// What the line asks for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) root: Option<PathBuf>,
    pub(crate) log: Option<Log>,
    pub(crate) command: Command,
}

#[derive(Debug)]
pub(crate) enum Command {
    Run(Box<RunOptions>),
    Create { request: Request, outside: Outside },
    Start { id: Id },
    Exec(Box<ExecOptions>),
    Kill { id: Id, signal: Option<i32> },
    Delete { id: Id, force: bool },
    State { id: Id },
    List { json: bool, quiet: bool },
    Spec { bundle: PathBuf, rootless: bool },
    Import { path: PathBuf, chosen: Option<String>, name: String, budget: Budget },
    Transfer(Transfer),
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

impl Outside {
    fn parse(said: &Said) -> Self {
        Self { pid_file: said.path("pid-file"), console_socket: said.path("console-socket") }
    }
}

impl Options {
    /// Understands a line, the program's own name not among its words.
    ///
    /// # Errors
    /// [`Stop`].
    pub(crate) fn parse(line: impl IntoIterator<Item = OsString>) -> Result<Self, Stop> {
        let (verb, said) = PROGRAM.sort(line)?;
        let form = |text: &str| one_of(text, &[("text", LogFormat::Text), ("json", LogFormat::Json)]);
        let format = said.value("log-format", form)?.unwrap_or_default();
        Ok(Self {
            root: said.path("root"),
            log: said.path("log").map(|path| Log { path, format }),
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
        "run" => Command::Run(Box::new(run::run(said)?)),
        "create" => Command::Create {
            request: run::request(id()?, &said, DEFAULT_CGROUP_PARENT),
            outside: Outside::parse(&said),
        },
        "start" => Command::Start { id: id()? },
        "exec" => Command::Exec(Box::new(inside::exec(id()?, said)?)),
        "kill" => Command::Kill { id: id()?, signal: said.word(1, signal)? },
        "delete" => Command::Delete { id: id()?, force: said.has("force") },
        "state" => Command::State { id: id()? },
        "list" => {
            let format = said.value("format", |text| one_of(text, &[("table", false), ("json", true)]))?;
            Command::List { json: said.has("json") || format == Some(true), quiet: said.has("quiet") }
        }
        "import" => Command::Import {
            path: name(0)?.into(),
            chosen: said.values("ref")?.pop(),
            name: name(1)?,
            budget: images::budget(&said)?,
        },
        "pull" | "push" => Command::Transfer(Transfer::parse(verb.name, name, &said)?),
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

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(options.log, Some(Log { path: "/l".into(), format: LogFormat::Json }));
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
            (&["help", "fly"], "no command is called \"fly\""),
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
            (&["pull", "a b"], "a b"),
            (&["pull", "x:1", "--timeout", "0"], "--timeout 0"),
            (&["push", "x:1"], "REMOTE is missing"),
            (&["push", "x:1", "x:1", "--max-size", "1"], "max-size"),
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
