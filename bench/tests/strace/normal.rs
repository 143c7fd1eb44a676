//! Brings the lines of strace into a form that is the same from run to run and from contender to contender:
//! names instead of ids, addresses and directories; absolute paths as the box sees them.

use std::path::PathBuf;

/// Calls that say how memory is managed: the allocator's, and the new process's stack. And two that belong to
/// the way in which the suite is built and to the lab: Rust's debug assertion on a descriptor that is closed,
/// and the spawner's account of its own CPU time.
const UNTOLD: [&str; 8] = [
    "brk(",
    "mmap(",
    "munmap(",
    "mremap(",
    "mprotect(",
    "madvise(",
    "sigaltstack(",
    "clock_gettime(CLOCK_THREAD_CPUTIME_ID",
];

/// The names that differ between two runs.
pub(crate) struct Names {
    pub(crate) run: String,
    pub(crate) contender: String,
    pub(crate) out: PathBuf,
}

/// Normalises the lines of one process, in order.
pub(crate) struct Normaliser<'a> {
    names: &'a Names,
    /// The working directory as the process sees it, once it has said where it goes.
    cwd: String,
}

impl<'a> Normaliser<'a> {
    pub(crate) fn new(names: &'a Names) -> Self {
        Self { names, cwd: String::new() }
    }

    /// All calls that count; the same call many times in a row stands once.
    pub(crate) fn all(&mut self, lines: &[String]) -> Vec<String> {
        let lines = without_the_start_of_a_program(lines);
        let mut calls: Vec<String> = lines.iter().filter_map(|line| self.call(line)).collect();
        calls.dedup();
        calls
    }

    /// One call without its result, if it counts.
    fn call(&mut self, line: &str) -> Option<String> {
        if UNTOLD.iter().any(|call| line.starts_with(call)) || line.contains(", F_GETFD)") {
            return None;
        }
        // Signals and ends of processes have no result.
        let (call, _) = line.rsplit_once(" = ")?;
        let (name, arguments) = call.trim_end().strip_suffix(')')?.split_once('(')?;
        let mut arguments = split(&self.named(&addresses(&descriptors(arguments))));
        if name == "dup2" {
            // Here the number is what matters.
            arguments[1] = line.rsplit_once(", ")?.1.chars().take_while(char::is_ascii_digit).collect();
        }
        self.resolve(name, &mut arguments);
        simplify(name, &mut arguments);
        Some(format!("{name}({})", arguments.join(", ")))
    }

    /// Words for what is called differently in each run, the longest first.
    fn named(&self, text: &str) -> String {
        let Names { run, contender, out } = self.names;
        let text = text.replace(&format!("{}/latest", out.display()), "OUT");
        let text = text.replace(&format!("{}/{run}", out.display()), "OUT");
        let text = numbered(&text, &format!("{contender}-"), "ID");
        let site = format!("{}/{run}", tare::site::base().display());
        let text = text.replace(&format!("{site}/boxes/ID.pid"), "PIDFILE");
        let text =
            text.replace(&format!("{site}/boxes/ID"), "BOX").replace(&format!("{site}/runtime/ID"), "BOX");
        let text = text.replace(&site, "SITE").replace(&format!("/tare/{run}"), "/RUN");
        let text = numbered(&text, "/proc/", "/proc/PID");
        nonces(&text)
    }

    /// Paths relative to the working directory become absolute, and what lies below the overlay is what the box
    /// sees.
    fn resolve(&mut self, name: &str, arguments: &mut [String]) {
        let places: &[usize] = match name {
            "mount" if arguments.get(3).is_some_and(|flags| flags == "MS_BIND") => &[0, 1],
            "mount" | "mknodat" | "openat" => &[1],
            "mkdir" | "chdir" => &[0],
            "symlinkat" => &[2],
            "fchdir" => {
                self.cwd = seen(arguments[0].trim_matches(['<', '>']));
                &[]
            }
            _ => &[],
        };
        for &place in places {
            let Some(argument) = arguments.get_mut(place) else { continue };
            let Some(path) = argument.strip_prefix('"').and_then(|path| path.strip_suffix('"')) else {
                continue;
            };
            let path = seen(&join(&self.cwd, path));
            *argument = format!("\"{path}\"");
            if name == "chdir" {
                self.cwd = path;
            }
        }
    }
}

/// The C library and the standard library start every program in the same way, which tells nothing. Of a process
/// that becomes `tare-runtime`, what posix_spawn does about signals is left out, and all from the exec to the
/// first call on a cgroup or on the run's directory.
fn without_the_start_of_a_program(lines: &[String]) -> Vec<String> {
    let payload = |line: &str| line.starts_with("execve(\"/payload\"");
    let Some(exec) = lines.iter().position(|line| line.starts_with("execve(") && !payload(line)) else {
        return lines.to_vec();
    };
    let (before, after) = lines.split_at(exec + 1);
    let site = tare::site::base();
    let ours = |line: &&String| line.contains("/sys/fs/cgroup") || line.contains(&*site.to_string_lossy());
    let after = after.iter().skip_while(|line| !ours(line));
    before.iter().filter(|line| !line.starts_with("rt_sig")).chain(after).cloned().collect()
}

/// Numbers of descriptors go, what they stand for stays: `7</proc>` becomes `</proc>`, and `AT_FDCWD` is no place.
fn descriptors(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(open) = rest.find('<') {
        let (before, after) = (&rest[..open], &rest[open + 1..]);
        // A shift, as in `1<<CAP_CHOWN`.
        if let Some(after) = after.strip_prefix('<') {
            result = result + before + "<<";
            rest = after;
            continue;
        }
        let Some(close) = after.find('>') else { break };
        if before.ends_with("AT_FDCWD") {
            result.push_str(before);
        } else {
            result = result
                + before.trim_end_matches(|c: char| c.is_ascii_digit())
                + "<"
                + kind(&after[..close])
                + ">";
        }
        rest = &after[close + 1..];
    }
    result + rest
}

/// `pipe:[4711]` and `socket:[4711]` without the number; a path as it is.
fn kind(stands_for: &str) -> &str {
    match stands_for.split_once(":[") {
        Some((kind, id)) if id.starts_with(|c: char| c.is_ascii_digit()) => kind,
        _ => stands_for,
    }
}

/// Long hexadecimal numbers are addresses.
fn addresses(text: &str) -> String {
    let mut parts = text.split("0x");
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_hexdigit()).len();
        if digits >= 6 {
            result = result + "ADDRESS" + &part[digits..];
        } else {
            result = result + "0x" + part;
        }
    }
    result
}

/// Replaces `before` with the number behind it.
fn numbered(text: &str, before: &str, word: &str) -> String {
    let mut parts = text.split(before);
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let behind = part.trim_start_matches(|c: char| c.is_ascii_digit());
        result += if behind.len() < part.len() { word } else { before };
        result += if behind.len() < part.len() { behind } else { part };
    }
    result
}

/// A string of sixteen hexadecimal digits is what the payload must say.
fn nonces(text: &str) -> String {
    let nonce = |word: &&str| word.len() == 16 && word.chars().all(|c| c.is_ascii_hexdigit());
    let words: Vec<&str> =
        text.split('"').map(|word| Some(word).filter(|w| !nonce(w)).unwrap_or("NONCE")).collect();
    words.join("\"")
}

/// The arguments, at the commas that stand in no string and no brackets.
fn split(text: &str) -> Vec<String> {
    let (mut arguments, mut depth, mut quoted, mut escaped) = (vec![String::new()], 0, false, false);
    for c in text.chars() {
        match c {
            '"' if !escaped => quoted = !quoted,
            '[' | '{' | '(' if !quoted => depth += 1,
            ']' | '}' | ')' if !quoted => depth -= 1,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
        if c == ',' && depth == 0 && !quoted {
            arguments.push(String::new());
        } else if let Some(argument) = arguments.last_mut() {
            argument.push(c);
        }
    }
    arguments.iter().map(|argument| argument.trim().to_owned()).collect()
}

fn join(cwd: &str, path: &str) -> String {
    match path {
        _ if path.starts_with('/') || cwd.is_empty() => path.to_owned(),
        "." => cwd.to_owned(),
        _ => format!("{}/{path}", cwd.trim_end_matches('/')),
    }
}

/// What is mounted below the overlay is seen from it.
fn seen(path: &str) -> String {
    path.strip_prefix("BOX/merged").filter(|path| path.starts_with('/')).unwrap_or(path).to_owned()
}

/// Leaves out what is the kernel's answer, or nobody's business here.
fn simplify(name: &str, arguments: &mut Vec<String>) {
    match name {
        // Data are compared where they make the box: in its cgroups.
        "write" if arguments[0].starts_with("</sys/fs/cgroup/") => {}
        "read" | "write" | "getdents64" => arguments.truncate(1),
        "statx" | "newfstatat" | "prlimit64" => arguments.truncate(2),
        "getcwd" => arguments.clear(),
        // From which number to which depends on what is kept between them.
        "close_range" if arguments[2] == "0" => {
            arguments.drain(..2);
        }
        // Modes of directories that no box sees; the umask is another matter in it.
        "mkdir" if !arguments[0].starts_with("\"/") || arguments[0].starts_with("\"/sys/") => {
            arguments.truncate(1)
        }
        // For each of the 64, once in the list.
        "rt_sigaction" => arguments[0] = "SIGNAL".into(),
        // With the number of variables in its environment.
        "execve" if arguments[0] == "\"/payload\"" => {}
        "execve" => *arguments = vec!["\"tare-runtime\"".into(), "...".into()],
        _ => {}
    }
}
