//! Bounded fuzzing: configurations that were mangled, and life cycles in any order.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::Lab;
use common::bundle::Bundle;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};
use tare_runtime::oci::{self, Request};
use tare_runtime::{Container, Directory, Error, ExecSpec, Exit, Id, MissingLimits, Runtime, Status};

/// A change of one place in a configuration.
#[derive(Clone, Debug)]
enum Change {
    Delete,
    Replace(Value),
    Twice,
    Wrap,
    Rename(String),
}

fn odd_value() -> impl Strategy<Value = Value> {
    let strings = [
        "",
        "/",
        "..",
        "/../..",
        "a\0b",
        "-1",
        "1.0.2",
        "CAP_SYS_ADMIN",
        "bind",
        "%s%n",
        "\u{202e}",
        "/proc/self/fd/3",
    ];
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        select(vec![0_i64, -1, 1, i64::MAX, i64::MIN, 4_294_967_295, 4_294_967_296]).prop_map(Value::from),
        Just(json!(u64::MAX)),
        any::<i64>().prop_map(Value::from),
        Just(json!(1e300)),
        Just(json!(0.5)),
        select(strings.to_vec()).prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        (1_usize..5000).prop_map(|length| Value::from("x".repeat(length))),
        Just(json!([])),
        Just(json!({})),
        Just(json!([[[]], {"a": {}}, null])),
    ]
}

fn change() -> impl Strategy<Value = (Index, Change)> {
    let change = prop_oneof![
        Just(Change::Delete),
        odd_value().prop_map(Change::Replace),
        Just(Change::Twice),
        Just(Change::Wrap),
        ".{0,10}".prop_map(Change::Rename),
    ];
    (any::<Index>(), change)
}

/// The places of all values.
fn pointers(value: &Value, here: &str, all: &mut Vec<String>) {
    let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| {
            pointers(value, &format!("{here}/{}", escaped(name)), all);
        }),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(at, value)| pointers(value, &format!("{here}/{at}"), all));
        }
        _ => {}
    }
    all.push(here.to_owned());
}

fn apply(config: &mut Value, index: &Index, change: &Change) {
    let mut all = Vec::new();
    pointers(config, "", &mut all);
    let pointer = index.get(&all).clone();
    let Some((parent, name)) = pointer.rsplit_once('/') else {
        if let Change::Replace(value) = change {
            *config = value.clone();
        }
        return;
    };
    let name = name.replace("~1", "/").replace("~0", "~");
    let Some(parent) = config.pointer_mut(parent) else { return };
    match (parent, change) {
        (Value::Object(map), Change::Delete) => drop(map.remove(&name)),
        (Value::Object(map), Change::Rename(other)) => {
            let value = map.remove(&name).unwrap_or(Value::Null);
            map.insert(other.clone(), value);
        }
        (Value::Array(list), Change::Delete) => drop(name.parse().ok().map(|at: usize| list.remove(at))),
        (Value::Array(list), Change::Twice) => {
            if let Some(value) = name.parse().ok().and_then(|at: usize| list.get(at)).cloned() {
                list.push(value);
            }
        }
        (parent, change) => {
            let place = match parent {
                Value::Object(map) => map.get_mut(&name),
                Value::Array(list) => name.parse().ok().and_then(|at: usize| list.get_mut(at)),
                _ => None,
            };
            match (place, change) {
                (Some(place), Change::Replace(value)) => *place = value.clone(),
                (Some(place), Change::Wrap) => *place = json!([place.clone()]),
                _ => {}
            }
        }
    }
}

/// Everything that a configuration can say, so that every field is a place to change.
fn full() -> Value {
    let mut config = oci::default_config(None);
    config["annotations"] = json!({"a": "b"});
    config["domainname"] = json!("d");
    config["root"]["path"] = json!("/bin");
    config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}]);
    config["process"]["oomScoreAdj"] = json!(5);
    config["process"]["user"] = json!({"uid": 1, "gid": 2, "additionalGids": [3], "umask": 18});
    config["linux"]["sysctl"] = json!({"net.core.somaxconn": "5"});
    config["linux"]["devices"] =
        json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": 11, "fileMode": 438, "uid": 1}]);
    config["linux"]["cgroupsPath"] = json!("/a/b");
    config["linux"]["rootfsPropagation"] = json!("rslave");
    config["linux"]["resources"]["memory"] = json!({"limit": 1_000_000});
    config["linux"]["resources"]["cpu"] = json!({"quota": 5000, "period": 10_000});
    config["linux"]["seccomp"]["syscalls"][0]["args"] =
        json!([{"index": 0, "value": 5, "valueTwo": 6, "op": "SCMP_CMP_MASKED_EQ"}]);
    let mounts = config["mounts"].as_array_mut().expect("mounts");
    mounts.push(json!({"destination": "/v", "type": "bind", "source": "/tmp", "options": ["rbind", "rro", "rslave", "noatime"]}));
    config
}

fn request() -> Request {
    Request {
        id: Id::new("fuzz").expect("id"),
        bundle: PathBuf::from("/"),
        cgroup_parent: "/tare".into(),
        missing_limits: MissingLimits::Refuse,
    }
}

/// A box or a refusal in one line, and soon.
fn check(text: &str) -> Result<(), TestCaseError> {
    let start = Instant::now();
    if let Err(error) = oci::check(&request(), text) {
        prop_assert!(matches!(error, Error::Spec { .. } | Error::Step { .. }), "{error:?}");
        let words = error.to_string();
        prop_assert!(words.contains(": "), "{words}");
    }
    prop_assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    Ok(())
}

#[test]
fn what_is_mangled_was_a_box_before() {
    oci::check(&request(), &full().to_string()).expect("a box");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_mangled_configuration_panics_or_hangs(changes in prop::collection::vec(change(), 1..5)) {
        let mut config = full();
        for (index, change) in &changes {
            apply(&mut config, index, change);
        }
        check(&config.to_string())?;
    }

    #[test]
    fn no_mangled_text_does_either(at in any::<Index>(), length in 0_usize..40, with in "[\\x00-\\x7f]{0,20}") {
        let text = full().to_string();
        let start = at.index(text.len());
        let end = (start + length).min(text.len());
        if text.is_char_boundary(start) && text.is_char_boundary(end) {
            check(&format!("{}{with}{}", &text[..start], &text[end..]))?;
            check(&text[..start])?;
        }
    }
}

/// One thing that somebody does to a box.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Create,
    Start,
    Exec,
    Kill,
    Delete,
    Force,
}

const IDS: [&str; 2] = ["one", "two"];

/// The real boxes, and what they should be.
struct World<'a> {
    lab: &'a Lab,
    runtime: Runtime,
    requests: Vec<Request>,
    children: BTreeMap<usize, Container>,
    model: [Option<Status>; 2],
}

impl World<'_> {
    fn act(&mut self, who: usize, deed: Deed) -> Result<(), String> {
        use Status::{Created, Running, Stopped};
        let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null").expect("/dev/null");
        let stdio = [null.as_fd(); 3];
        let id = Id::new(IDS[who]).expect("id");
        let before = self.model[who];
        let (answer, expected, after) = match deed {
            Deed::Create => {
                let made = self.runtime.create(&self.requests[who], stdio, None).map(|child| {
                    self.children.insert(who, child);
                });
                let fits = before.is_none();
                (made, if fits { "ok" } else { "exists" }, if fits { Some(Created) } else { before })
            }
            Deed::Start => {
                let expected = match before {
                    None => "not found",
                    Some(Created) => "ok",
                    Some(_) => "not created",
                };
                (
                    self.runtime.start(&id),
                    expected,
                    if before == Some(Created) { Some(Running) } else { before },
                )
            }
            Deed::Exec => {
                let spec = ExecSpec { args: vec!["true".into()], ..ExecSpec::default() };
                let done = self.runtime.exec(&id, &spec, stdio, None).and_then(|child| child.wait());
                (done.map(|exit| assert_eq!(exit, Exit::Code(0))), Self::living(before), before)
            }
            Deed::Kill => {
                let killed = self.runtime.kill(&id, 9);
                if killed.is_ok() {
                    self.reap(who)?;
                }
                (killed, Self::living(before), if before.is_some() { Some(Stopped) } else { None })
            }
            Deed::Delete | Deed::Force => {
                let force = matches!(deed, Deed::Force);
                let expected = match before {
                    None => "not found",
                    Some(Created | Running) if !force => "running",
                    _ => "ok",
                };
                let deleted = self.runtime.delete(&id, force);
                if deleted.is_ok() {
                    self.reap(who)?;
                }
                (deleted, expected, if expected == "ok" { None } else { before })
            }
        };
        let found = match &answer {
            Ok(()) => "ok",
            Err(Error::Exists(_)) => "exists",
            Err(Error::NotFound { .. }) => "not found",
            Err(Error::NotCreated { .. }) => "not created",
            Err(Error::NotRunning { .. }) => "not running",
            Err(Error::Running { .. }) => "running",
            Err(other) => return Err(format!("{deed:?} of {id}: {other}")),
        };
        self.model[who] = after;
        let directory = Directory::new(self.runtime.root(), &id);
        let now = self.runtime.load(&id).ok().map(|state| state.status(&directory));
        match (found == expected, now == after) {
            (true, true) => Ok(()),
            _ => Err(format!(
                "{deed:?} of {id}, which was {before:?}: {found}, and now {now:?}; {expected} and {after:?} expected"
            )),
        }
    }

    fn living(status: Option<Status>) -> &'static str {
        match status {
            None => "not found",
            Some(Status::Stopped | Status::Creating) => "not running",
            Some(Status::Created | Status::Running) => "ok",
        }
    }

    fn reap(&mut self, who: usize) -> Result<(), String> {
        match self.children.remove(&who).map(|child| child.wait()) {
            None | Some(Ok(Exit::Signal(9))) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }

    fn end(mut self) -> Result<(), String> {
        for who in 0..IDS.len() {
            if self.model[who].is_some() {
                self.act(who, Deed::Force)?;
            }
        }
        let left = self.lab.leftovers();
        if left.is_empty() { Ok(()) } else { Err(format!("left: {left:?}")) }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, max_shrink_iters: 50, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_deeds_ends_as_the_model_says(
        deeds in prop::collection::vec((0_usize..2, select(vec![Deed::Create, Deed::Create, Deed::Start, Deed::Start, Deed::Exec, Deed::Kill, Deed::Delete, Deed::Force])), 1..16)
    ) {
        let Some(lab) = Lab::new() else { return Ok(()) };
        let requests = IDS.map(|id| {
            let bundle = Bundle::new(&lab, id, "exec sleep 1000");
            bundle.write();
            Request { id: Id::new(id).expect("id"), bundle: bundle.directory.clone(), ..request() }
        });
        let descriptors = common::entries(std::path::Path::new("/proc/self/fd")).len();
        let mut world =
            World { lab: &lab, runtime: lab.runtime(), requests: requests.into(), children: BTreeMap::new(), model: [None; 2] };
        let done = deeds.iter().try_for_each(|(who, deed)| world.act(*who, *deed)).and_then(|()| world.end());
        prop_assert!(done.is_ok(), "{}", done.unwrap_err());
        // The fuzzing of texts runs beside this and opens few.
        let now = common::entries(std::path::Path::new("/proc/self/fd")).len();
        prop_assert!(now <= descriptors + 4, "{} descriptors became {}", descriptors, now);
    }
}
