//! The words of a command line, sorted by a table: what may be said is data, and `--help` prints the same data.
//!
//! lexopt takes the line apart; this file looks each word up. The usual library, clap, builds a model of all
//! options before it reads the first word: with it a start of a box took 0.2 ms more, a fifteenth of the whole,
//! most of it for memory that is touched for the first time.
//!
//! Man page: getopt(3) has the customs. Look at it: `tare-runtime run --help`

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Parser};

/// One option.
#[derive(Debug)]
pub(crate) struct Opt {
    pub(crate) long: &'static str,
    pub(crate) short: Option<char>,
    /// What its value is called in `--help`; `None`: it has no value.
    pub(crate) value: Option<&'static str>,
    /// Whether it may be said more than once.
    pub(crate) many: bool,
    pub(crate) help: &'static str,
}

/// One command.
#[derive(Debug)]
pub(crate) struct Verb {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) options: &'static [&'static [Opt]],
    /// Its words: name, and what each is. Those in brackets may be missing.
    pub(crate) words: &'static [(&'static str, &'static str)],
    pub(crate) rest: Rest,
}

/// Whether a command to be executed ends the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    None,
    /// After `--` only.
    AfterDashes,
    /// From the first further word on, dashes or not.
    FromNextWord,
}

/// Why there is nothing to carry out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Text that was asked for.
    Asked(String),
    /// The line is wrong, and why.
    Wrong(String),
}

impl From<lexopt::Error> for Stop {
    fn from(error: lexopt::Error) -> Self {
        Self::Wrong(error.to_string())
    }
}

impl From<String> for Stop {
    fn from(why: String) -> Self {
        Self::Wrong(why)
    }
}

/// What was said.
#[derive(Debug, Default)]
pub(crate) struct Said {
    options: Vec<(&'static str, OsString)>,
    words: Vec<OsString>,
    /// The command to be executed.
    pub(crate) rest: Vec<String>,
}

/// The options that stand before or after any command, and what is known of the program.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) about: &'static str,
    pub(crate) options: &'static [Opt],
    pub(crate) verbs: &'static [Verb],
}

impl Program {
    /// Takes a line apart, the program's own name not among its words.
    ///
    /// # Errors
    /// [`Stop`].
    pub(crate) fn sort(
        &'static self,
        line: impl IntoIterator<Item = OsString>,
    ) -> Result<(&'static Verb, Said), Stop> {
        let mut parser = Parser::from_args(line);
        let mut said = Said::default();
        let mut verb: Option<&'static Verb> = None;
        loop {
            // lexopt drops a lone "--", which is where some commands begin.
            let dashes =
                parser.try_raw_args().is_some_and(|raw| raw.as_slice().first().is_some_and(|w| w == "--"));
            let Some(arg) = parser.next()? else { break };
            match (arg, verb) {
                (Arg::Short('h') | Arg::Long("help"), _) => return Err(Stop::Asked(self.help(verb))),
                (Arg::Short('V') | Arg::Long("version"), None) => {
                    return Err(Stop::Asked(format!("{} {}\n", self.name, self.version)));
                }
                (Arg::Value(word), None) => verb = Some(self.verb(word, &mut parser)?),
                (Arg::Value(word), Some(verb)) => {
                    let begins = match verb.rest {
                        Rest::None => false,
                        Rest::AfterDashes => dashes,
                        Rest::FromNextWord => dashes || said.words.len() == verb.words.len(),
                    };
                    if begins {
                        said.rest = rest(word, &mut parser)?;
                    } else if said.words.len() == verb.words.len() {
                        return Err(format!("unexpected word {word:?}").into());
                    } else {
                        said.words.push(word);
                    }
                }
                (arg, verb) => {
                    let option = self.option(verb, &arg).ok_or_else(|| arg.unexpected())?;
                    let value = if option.value.is_some() { parser.value()? } else { OsString::new() };
                    if !option.many && said.has(option.long) {
                        return Err(format!("--{} is given twice", option.long).into());
                    }
                    said.options.push((option.long, value));
                }
            }
        }
        let verb = verb.ok_or_else(|| Stop::Wrong(format!("no command given: {}", self.names())))?;
        let mut needed = verb.words.iter().filter(|(name, _)| !name.starts_with('['));
        match needed.nth(said.words.len()) {
            Some((name, what)) => Err(format!("{name} is missing: {what}").into()),
            None => Ok((verb, said)),
        }
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.verbs.iter().map(|verb| verb.name).collect();
        format!("one of {}", names.join(", "))
    }

    fn verb(&'static self, word: OsString, parser: &mut Parser) -> Result<&'static Verb, Stop> {
        let find = |word: &OsString| self.verbs.iter().find(|verb| *word == *verb.name);
        let unknown =
            |word: &OsString| Stop::Wrong(format!("no command is called {word:?}: {}", self.names()));
        if word == "help" {
            return Err(match parser.next()? {
                Some(Arg::Value(word)) => {
                    find(&word).map_or_else(|| unknown(&word), |verb| Stop::Asked(self.help(Some(verb))))
                }
                _ => Stop::Asked(self.help(None)),
            });
        }
        find(&word).ok_or_else(|| unknown(&word))
    }

    fn option(&self, verb: Option<&'static Verb>, arg: &Arg<'_>) -> Option<&'static Opt> {
        let own = verb.iter().flat_map(|verb| verb.options.iter().copied().flatten());
        own.chain(self.options).find(|option| match arg {
            Arg::Long(long) => *long == option.long,
            Arg::Short(short) => Some(*short) == option.short,
            Arg::Value(_) => false,
        })
    }

    fn help(&self, verb: Option<&'static Verb>) -> String {
        let Some(verb) = verb else {
            let commands = self.verbs.iter().map(|verb| (verb.name.to_owned(), verb.about));
            let commands = columns(commands.chain([("help".to_owned(), "Explain one of them")]));
            let asked =
                [("-h, --help".to_owned(), "Print this"), ("-V, --version".to_owned(), "Print the version")];
            let options = columns(self.options.iter().map(Opt::head).chain(asked));
            let Self { name, about, .. } = self;
            return format!(
                "{about}\n\nUsage: {name} [OPTIONS] COMMAND\n\nCommands:\n{commands}\nOptions:\n{options}"
            );
        };
        let words: String = verb.words.iter().map(|(name, _)| format!(" {name}")).collect();
        let rest = match verb.rest {
            Rest::None => "",
            Rest::AfterDashes => " [-- COMMAND...]",
            Rest::FromNextWord => " COMMAND...",
        };
        let arguments = columns(verb.words.iter().map(|(name, what)| ((*name).to_owned(), *what)));
        let arguments = if arguments.is_empty() { arguments } else { format!("Words:\n{arguments}\n") };
        let own = verb.options.iter().copied().flatten().chain(self.options).map(Opt::head);
        let options = columns(own.chain([("-h, --help".to_owned(), "Print this")]));
        let (program, name, about) = (self.name, verb.name, verb.about);
        format!("{about}\n\nUsage: {program} {name} [OPTIONS]{words}{rest}\n\n{arguments}Options:\n{options}")
    }
}

impl Opt {
    /// As `--help` prints it.
    fn head(&self) -> (String, &'static str) {
        let short = self.short.map_or_else(|| "    ".into(), |short| format!("-{short}, "));
        let value = self.value.map_or_else(String::new, |value| format!(" {value}"));
        (format!("{short}--{}{value}", self.long), self.help)
    }
}

/// The word and all that follow, whatever they look like.
fn rest(word: OsString, parser: &mut Parser) -> Result<Vec<String>, Stop> {
    let words = [word].into_iter().chain(parser.raw_args()?);
    words.map(|word| text(word, "a word of the command").map_err(Stop::from)).collect()
}

fn text(word: OsString, what: &str) -> Result<String, String> {
    word.into_string().map_err(|word| format!("{what}: {word:?} is not UTF-8"))
}

fn columns(lines: impl Iterator<Item = (String, &'static str)>) -> String {
    lines.map(|(left, right)| format!("  {left:<28} {right}\n")).collect()
}

impl Said {
    /// Whether the option was said.
    pub(crate) fn has(&self, long: &str) -> bool {
        self.options.iter().any(|(name, _)| *name == long)
    }

    /// Its value as it is.
    pub(crate) fn path(&self, long: &str) -> Option<PathBuf> {
        self.options.iter().find(|(name, _)| *name == long).map(|(_, value)| value.into())
    }

    /// Its value, understood.
    ///
    /// # Errors
    /// What is wrong with it, and which option.
    pub(crate) fn value<T, E: std::fmt::Display>(
        &self,
        long: &str,
        understand: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, String> {
        let words = self.values(long)?;
        words.first().map(|word| understand(word).map_err(|e| format!("--{long} {word}: {e}"))).transpose()
    }

    /// All its values.
    ///
    /// # Errors
    /// What is not UTF-8.
    pub(crate) fn values(&self, long: &str) -> Result<Vec<String>, String> {
        let said = self.options.iter().filter(|(name, _)| *name == long);
        said.map(|(_, value)| text(value.clone(), &format!("--{long}"))).collect()
    }

    /// The word at this place, understood.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn word<T, E: std::fmt::Display>(
        &self,
        index: usize,
        understand: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, String> {
        let word = self.words.get(index).cloned().map(|word| text(word, "a word")).transpose()?;
        word.map(|word| understand(&word).map_err(|e| e.to_string())).transpose()
    }

    /// Refuses `one` beside any of `others`.
    ///
    /// # Errors
    /// Which two were said.
    pub(crate) fn alone(&self, one: &str, others: &[&str]) -> Result<(), String> {
        match others.iter().find(|other| self.has(one) && self.has(other)) {
            Some(other) => Err(format!("--{one} and --{other} exclude each other")),
            None => Ok(()),
        }
    }

    /// Refuses any of `those` without `one`.
    ///
    /// # Errors
    /// Which was said.
    pub(crate) fn only_with(&self, one: &str, those: &[&str]) -> Result<(), String> {
        match those.iter().find(|that| self.has(that) && !self.has(one)) {
            Some(that) => Err(format!("--{that} has a meaning only with --{one}")),
            None => Ok(()),
        }
    }
}
