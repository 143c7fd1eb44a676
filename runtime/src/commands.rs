//! What may be said to `tare-runtime`: its commands and their options, as a table. The words are those of runc(8),
//! where it has them.
//!
//! Man page: runc(8). Look at it: `tare-runtime help run`

use crate::words::{Opt, Program, Rest, Verb};

const fn flag(long: &'static str, short: Option<char>, help: &'static str) -> Opt {
    Opt { long, short, value: None, many: false, help }
}

const fn with(long: &'static str, short: Option<char>, value: &'static str, help: &'static str) -> Opt {
    Opt { long, short, value: Some(value), many: false, help }
}

/// Where a process's terminal and id go.
const OUTSIDE: &[Opt] = &[
    with("pid-file", None, "FILE", "Write the process id here"),
    with("console-socket", None, "SOCKET", "Send the terminal's other end to this socket"),
];

const DETACH: &[Opt] = &[flag("detach", Some('d'), "Return once the command runs, and leave it running")];

const RECORD: &[Opt] = &[flag(
    "record-missing-limits",
    None,
    "Start even where a limit cannot be applied, and record which (see `state`)",
)];

const BUNDLE: &[Opt] =
    &[with("bundle", Some('b'), "DIR", "The directory with config.json [default: the current one]")];

/// What makes sense only without a bundle.
pub(crate) const BOX: &[Opt] = &[
    with("rootfs", None, "DIR", "Without a bundle: the directory seen as /; it is not written to"),
    flag("terminal", Some('t'), "Give it a terminal"),
    with("memory", None, "BYTES", "Most memory, such as 256MiB"),
    with("pids", None, "N", "Most processes and threads [default: 2048]"),
    with("cpus", None, "X", "Most CPUs, such as 1.5"),
    with("hostname", None, "NAME", "Host name [default: the id]"),
    Opt {
        many: true,
        ..with(
            "env",
            Some('e'),
            "NAME=VALUE",
            "Environment variable, beside the image's; without an image only PATH is set by default",
        )
    },
    with("cwd", None, "DIR", "Working directory inside [default: the image's, or /]"),
    Opt {
        many: true,
        ..with(
            "volume",
            Some('v'),
            "SOURCE:TARGET[:OPTIONS]",
            "Mount a file or directory (with a / in SOURCE) or a named volume, which begins with what is at TARGET unless it is \
             nocopy; options of mount(8), such as ro",
        )
    },
    Opt {
        many: true,
        ..with("tmpfs", None, "TARGET[:OPTIONS]", "Mount memory there, such as /tmp:size=64m")
    },
    with(
        "network",
        None,
        "KIND",
        "Whom it can talk to: none, nobody; bridge, the host and other boxes; host: it shares all of the host's \
         interfaces and ports, may listen to what passes there (CAP_NET_RAW), and reaches abstract sockets [default: none]",
    ),
    Opt {
        many: true,
        ..with(
            "publish",
            Some('p'),
            "[[IP:]HOSTPORT:]PORT",
            "With a bridge: let a TCP port of the host lead to one of the box; without HOSTPORT a free one (see `list`); \
             without IP at 127.0.0.1, which only this host reaches: others do with 0.0.0.0",
        )
    },
    with(
        "subnet",
        None,
        "NET",
        "With a bridge, for its first box: its net, such as 172.30.0.0/22 [default: a free one]",
    ),
    with(
        "network-namespace",
        None,
        "FILE",
        "Join this network namespace of somebody's, instead of --network",
    ),
    with("until", None, "STEP", "Climb the ladder of mechanisms no further than this; to measure and teach"),
    with("marks", None, "FILE", "Write when each step ended, JSON, nanoseconds of CLOCK_MONOTONIC"),
];

/// What makes sense only with an image.
pub(crate) const FROM_IMAGE: &[Opt] = &[
    with("name", None, "ID", "With an image: the new container's name [default: the image's, and a number]"),
    with(
        "user",
        Some('u'),
        "USER[:GROUP]",
        "With an image: names that it knows, or numbers [default: the image's]",
    ),
    with(
        "entrypoint",
        None,
        "PROGRAM",
        "With an image: instead of its entry point, and then without its command; \"\" is none [default: the image's]",
    ),
];

const WHICH: &[Opt] = &[with(
    "ref",
    None,
    "NAME",
    "Which of several images in it: its org.opencontainers.image.ref.name, or its tag in an archive of `docker save`",
)];

const IMPORT: &[Opt] =
    &[with("max-size", None, "BYTES", "Refuse an image that is larger when it is unpacked [default: 32GiB]")];

const REGISTRY: &[Opt] = &[
    flag(
        "plain-http",
        None,
        "Without TLS, though it is not this host; anybody between can then read and change it",
    ),
    with("timeout", None, "SECONDS", "Give up once the registry sends nothing for so long [default: 30]"),
];

const IMAGES: &[Opt] =
    &[flag("json", None, "As JSON, sizes in bytes"), flag("quiet", Some('q'), "Only the names")];

const PARENT: &[Opt] =
    &[with("cgroup-parent", None, "PATH", "The cgroup below which the container's is made [default: /tare]")];

const INSIDE: &[Opt] = &[
    flag("tty", Some('t'), "Give it a terminal; the same as --terminal"),
    flag("terminal", None, "Give it a terminal"),
    Opt { many: true, ..with("env", Some('e'), "NAME=VALUE", "Environment, beside the container's own") },
    with("cwd", None, "DIR", "Working directory inside [default: the container's]"),
    with("user", Some('u'), "UID[:GID]", "User, and group if it is not 0 [default: the container's]"),
    with("process", Some('p'), "FILE", "A file with a process object of OCI, instead of all of these"),
];

const FORCE: &[Opt] = &[flag("force", Some('f'), "Kill it first if it runs")];

const LIST: &[Opt] = &[
    flag("json", None, "As JSON; the same as --format json"),
    flag("quiet", Some('q'), "Only the names"),
    with("format", Some('f'), "FORMAT", "In which form: table or json [default: table]"),
];

const SPEC: &[Opt] = &[
    with("bundle", Some('b'), "DIR", "Into this directory [default: the current one]"),
    flag("rootless", None, "For use without root"),
];

const NEW: &[(&str, &str)] = &[("ID", "The new container's name")];
const NEW_OR_IMAGE: &[(&str, &str)] = &[(
    "ID|IMAGE",
    "The new container's name; or an image, which has a : or a / in its name, such as busybox:1",
)];
const IMPORTED: &[(&str, &str)] = &[
    ("PATH", "An OCI layout, an archive of `docker save`, or a root file system; directory or archive"),
    ("NAME:TAG", "What the image is to be called"),
];
const PULLED: &[(&str, &str)] =
    &[("NAME", "HOST[:PORT]/NAME[:TAG|@DIGEST] of a registry; without HOST what it means to Docker")];
const PUSHED: &[(&str, &str)] =
    &[("LOCAL", "The image in the store"), ("REMOTE", "What it is to be called, HOST[:PORT]/NAME[:TAG]")];
const IMAGE: &[(&str, &str)] = &[("NAME:TAG", "The image")];
const EXISTING: &[(&str, &str)] = &[("ID", "The container")];
const SIGNALLED: &[(&str, &str)] =
    &[("ID", "The container"), ("[SIGNAL]", "A name or a number [default: what its image says, else TERM]")];

const fn verb(
    name: &'static str,
    about: &'static str,
    options: &'static [&'static [Opt]],
    words: &'static [(&'static str, &'static str)],
) -> Verb {
    Verb { name, about, options, words, rest: Rest::None }
}

pub(crate) static PROGRAM: Program = Program {
    name: "tare-runtime",
    version: env!("CARGO_PKG_VERSION"),
    about: "A minimal container runtime, one file per kernel mechanism",
    options: &[
        with(
            "root",
            None,
            "DIR",
            "State directory, and in it .images for images [default: /run/tare, and /var/lib/tare for images; without \
             root $XDG_RUNTIME_DIR/tare or /tmp/tare-UID, and $XDG_DATA_HOME/tare]",
        ),
        with("log", None, "FILE", "Append errors to this file too"),
        with(
            "log-format",
            None,
            "FORMAT",
            "In which form: text, or json as engines read it, with level, msg and time [default: text]",
        ),
    ],
    verbs: &[
        Verb {
            rest: Rest::AfterDashes,
            ..verb(
                "run",
                "Start a container: from an image, from a directory (--rootfs), or from a bundle",
                &[DETACH, BUNDLE, BOX, FROM_IMAGE, PARENT, RECORD, OUTSIDE],
                NEW_OR_IMAGE,
            )
        },
        verb(
            "create",
            "Make a container from a bundle; its command waits for `start`",
            &[BUNDLE, RECORD, OUTSIDE],
            NEW,
        ),
        verb("start", "Let a created container execute its command", &[], EXISTING),
        Verb {
            rest: Rest::FromNextWord,
            ..verb(
                "exec",
                "Execute one more command in a container that runs",
                &[DETACH, INSIDE, OUTSIDE],
                EXISTING,
            )
        },
        verb("kill", "Send a signal to a container's first process", &[], SIGNALLED),
        verb("delete", "Remove a stopped container", &[FORCE], EXISTING),
        verb("state", "Show the state of a container, as OCI has it", &[], EXISTING),
        verb("list", "List containers", &[LIST], &[]),
        verb("import", "Bring an image into the store", &[WHICH, IMPORT], IMPORTED),
        verb("pull", "Bring an image into the store from a registry", &[IMPORT, REGISTRY], PULLED),
        verb("push", "Send an image of the store to a registry", &[REGISTRY], PUSHED),
        verb("images", "List the images in the store", &[IMAGES], &[]),
        verb("rm", "Remove an image from the store, and what only it needs", &[], IMAGE),
        verb("volumes", "List the named volumes", &[], &[]),
        verb("rm-volume", "Remove a named volume and what is in it", &[], &[("NAME", "The volume")]),
        verb("spec", "Write the default profile as a bundle's config.json", &[SPEC], &[]),
    ],
};
