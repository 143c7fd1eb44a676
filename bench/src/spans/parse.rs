//! The lines of tracefs' `trace` file.
//!
//! `            runc-4711    [001] d..1. 12345.678901: sys_enter: NR 165 (1, 2, 3, 4, 5, 6)`: the name and id of the
//! thread that was running, its CPU, flags, seconds, the event and its fields. A name may hold spaces.

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The thread went into the kernel with this call and these arguments.
    Enter(u32, [u64; 6]),
    /// The call returned this.
    Exit(i64),
    /// It made this thread, by a clone with these flags.
    New(u32, u64),
    /// It executes this program now; before, it had the other id.
    Exec(String, u32),
    /// It ended.
    End,
    /// It made, entered or left a cgroup.
    Cgroup,
    /// This thread, not the one that was running, was woken.
    Woken(u32),
    /// This thread left its CPU; whether to sleep.
    Off(u32, bool),
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When, ns of the host's monotonic clock; the kernel prints microseconds.
    pub at_ns: u64,
    /// The thread that was running.
    pub task: u32,
    /// What happened.
    pub what: What,
}

/// The events of a recording, in order; an error where the kernel says that it lost some.
pub fn events(text: &str) -> Result<Vec<Event>, String> {
    let lost = text.lines().find(|line| line.starts_with("CPU:") && line.contains("LOST"));
    if let Some(lost) = lost {
        return Err(format!("the buffer was too small: {lost}"));
    }
    let mut events: Vec<Event> = text.lines().filter_map(event).collect();
    // The kernel merges the CPUs' buffers already; equal microseconds keep their order.
    events.sort_by_key(|event| event.at_ns);
    Ok(events)
}

fn event(line: &str) -> Option<Event> {
    // `] ` can stand in a name; the CPU is three digits or more between the last such brackets before the time.
    let (head, rest) = line.split_once(": ")?;
    let (who, when) = head.rsplit_once(" [")?;
    let task = who.trim_end().rsplit_once('-')?.1.parse().ok()?;
    let at_ns = nanoseconds(when.rsplit_once(' ')?.1)?;
    let (name, fields) = rest.split_once(": ")?;
    let what = match name {
        "sys_enter" => {
            let (number, arguments) = fields.strip_prefix("NR ")?.split_once(" (")?;
            let mut values = [0; 6];
            let each = arguments.trim_end_matches(')').split(", ");
            for (value, text) in values.iter_mut().zip(each) {
                *value = u64::from_str_radix(text, 16).ok()?;
            }
            What::Enter(number.parse().ok()?, values)
        }
        "sys_exit" => What::Exit(fields.strip_prefix("NR ")?.split_once(" = ")?.1.trim().parse().ok()?),
        "task_newtask" => {
            let flags = u64::from_str_radix(field(fields, "clone_flags=")?, 16).ok()?;
            What::New(field(fields, "pid=")?.parse().ok()?, flags)
        }
        "sched_process_exec" => {
            // The name may hold spaces, the two numbers come last.
            let (program, _) = fields.strip_prefix("filename=")?.rsplit_once(" pid=")?;
            What::Exec(program.to_owned(), last(fields, "old_pid=")?.parse().ok()?)
        }
        "sched_process_exit" => What::End,
        "sched_waking" => What::Woken(last(fields, " pid=")?.parse().ok()?),
        "sched_switch" => {
            let (before, _) = fields.split_once(" ==> ")?;
            let state = last(before, "prev_state=")?;
            // R is runnable, and R+ was put off its CPU; all else sleeps, is stopped or ends.
            What::Off(last(before, "prev_pid=")?.parse().ok()?, !state.starts_with('R'))
        }
        "cgroup_mkdir" | "cgroup_attach_task" | "cgroup_transfer_tasks" => What::Cgroup,
        _ => return None,
    };
    Some(Event { at_ns, task, what })
}

/// The word after the first `name`.
fn field<'a>(fields: &'a str, name: &str) -> Option<&'a str> {
    fields.split_once(name)?.1.split(' ').next()
}

/// The word after the last `name`: what a process is called, which comes before, may hold anything.
fn last<'a>(fields: &'a str, name: &str) -> Option<&'a str> {
    fields.rsplit_once(name)?.1.split(' ').next()
}

/// Seconds with six decimals.
fn nanoseconds(text: &str) -> Option<u64> {
    let (seconds, micros) = text.split_once('.')?;
    Some(seconds.parse::<u64>().ok()? * 1_000_000_000 + micros.parse::<u64>().ok()? * 1_000)
}
