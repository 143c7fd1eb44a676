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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line_is_read_whatever_a_process_is_called() {
        let text = "# tracer: nop\n#\n\
            a [1] b: c-d-4711    [001] ..... 33409.175208: task_newtask: pid=11401 comm=x pid=1 clone_flags=16c025100 oom_score_adj=0\n\
            tare-8837    [000] ..... 33366.408530: sys_enter: NR 47 (4, 7ffcbf0ad648, 40000000, 66b838173507fc6d, 20, 0)\n\
            tare-8837    [000] d..1. 33366.409218: cgroup_mkdir: root=4 id=6077414 level=3 path=/tare/a: b\n\
            tare-8837    [000] ..... 33366.408538: sys_exit: NR 47 = -22\n\
            <idle>-0     [001] d..2. 33366.500000: sched_switch: prev_comm=a ==> b prev_pid=5 prev_prio=120 prev_state=R+ ==> next_comm=c next_pid=6 next_prio=120\n\
            <idle>-0     [001] d..2. 33366.500001: sched_switch: prev_comm=p prev_pid=7 prev_prio=120 prev_state=D ==> next_comm=c next_pid=6 next_prio=120\n\
            payload-9    [001] d..3. 33409.177515: sched_waking: comm=a pid=3 pid=11400 prio=120 target_cpu=001\n\
            payload-9    [001] ..... 33409.177514: sched_process_exec: filename=/a pid=1/payload pid=9 old_pid=12\n\
            runc-9       [001] ..... 33409.177600: sched_process_exit: comm=runc pid=9 prio=120 group_dead=true\n\
            runc-9       [001] ..... 33409.177600: sched_stat_runtime: comm=runc pid=9 runtime=1 [ns]\n";
        let mut found = events(text).unwrap();
        found.sort_by_key(|it| it.task);
        let what: Vec<(u32, u64, What)> = found.into_iter().map(|it| (it.task, it.at_ns, it.what)).collect();
        let arguments = [4, 0x7ffc_bf0a_d648, 0x4000_0000, 0x66b8_3817_3507_fc6d, 0x20, 0];
        assert_eq!(
            what,
            [
                (0, 33_366_500_001_000, What::Off(7, true)),
                (9, 33_409_177_514_000, What::Exec("/a pid=1/payload".into(), 12)),
                (9, 33_409_177_515_000, What::Woken(11400)),
                (9, 33_409_177_600_000, What::End),
                (8837, 33_366_408_530_000, What::Enter(47, arguments)),
                (8837, 33_366_408_538_000, What::Exit(-22)),
                (8837, 33_366_409_218_000, What::Cgroup),
            ],
            "two lines whose processes are called like fields are left out, not misread"
        );
    }

    #[test]
    fn lost_events_are_said() {
        assert!(events("CPU:1 [LOST 7 EVENTS]\n").unwrap_err().contains("LOST 7"));
        assert_eq!(events("").unwrap(), []);
    }

    #[test]
    fn a_real_recording_is_read_whole() {
        let text = include_str!("../../tests/fixtures/trace-process.txt");
        let found = events(text).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(found.len(), lines);
        assert!(found.is_sorted_by_key(|it| it.at_ns));
        let programs =
            found.iter().filter(|it| matches!(&it.what, What::Exec(name, _) if name.ends_with("/payload")));
        assert_eq!(programs.count(), 1);
    }
}
