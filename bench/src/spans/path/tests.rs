//! The rule of the path on made-up events.

use super::*;

const ROOT: Root = Root { spawner: 10, client: true };

fn play(lines: &[(u64, u32, What)]) -> Vec<Event> {
    lines.iter().map(|(at_ns, task, what)| Event { at_ns: *at_ns, task: *task, what: what.clone() }).collect()
}

fn enter(number: libc::c_long) -> What {
    What::Enter(number as u32, [1, 0, 0, 0, 0, 0])
}

fn part(spans: &Spans, name: &str) -> u64 {
    spans.get(name).copied().unwrap_or(0)
}

/// A client (20) with a thread (21) makes a child (30), serves it while it waits, and the child becomes the
/// payload.
fn start() -> Vec<Event> {
    play(&[
        (1_010, 10, What::Exit(1)),
        (1_020, 10, enter(libc::SYS_clone3)),
        (1_030, 10, What::New(20, libc::CLONE_VFORK as u64)),
        (1_030, 10, What::Off(10, true)),
        (1_035, 20, What::Exit(0)),
        (1_040, 20, enter(libc::SYS_execve)),
        (1_050, 20, What::Exec("/usr/bin/tool".into(), 20)),
        (1_060, 20, What::Exit(0)),
        // A thread more is no clone of ours.
        (1_100, 20, enter(libc::SYS_clone3)),
        (1_110, 20, What::New(21, CLONE_THREAD)),
        (1_120, 20, What::Exit(21)),
        (1_125, 21, enter(libc::SYS_futex)),
        (1_126, 21, What::Off(21, true)),
        (1_150, 20, enter(libc::SYS_clone)),
        (1_160, 20, What::New(30, 0)),
        (1_170, 20, What::Exit(30)),
        (1_180, 30, What::Exit(0)),
        (1_190, 30, enter(libc::SYS_read)),
        (1_200, 30, What::Off(30, true)),
        // The child waits: the client makes its cgroup, and sleeps inside.
        (1_210, 20, enter(libc::SYS_mkdir)),
        (1_220, 20, What::Cgroup),
        (1_225, 20, What::Off(20, true)),
        (1_260, 20, What::Exit(0)),
        (1_270, 20, enter(libc::SYS_wait4)),
        (1_280, 20, What::Off(20, true)),
        // Nobody works until a timer wakes the child.
        (1_330, 0, What::Woken(30)),
        (1_350, 30, What::Exit(1)),
        (1_360, 30, enter(libc::SYS_mount)),
        (1_400, 30, What::Exit(0)),
        (1_410, 30, enter(libc::SYS_execve)),
        (1_440, 30, What::Exec("/payload".into(), 30)),
        (1_450, 30, What::Exit(0)),
        (1_470, 30, enter(libc::SYS_write)),
        (1_480, 30, What::Exit(23)),
    ])
}

#[test]
fn each_instant_goes_to_the_newest_process_that_has_something_to_do() {
    let (spans, seen) = spans(&start(), ROOT, 1_000, 1_500);
    // Also the exec of the client; then from its end to its clone, the thread with it; from the child's return
    // to its wait, and before and after its mount.
    assert_eq!(part(&spans, "spawn"), 60);
    assert_eq!(part(&spans, "clone"), 1_180 - 1_150);
    assert_eq!(part(&spans, "cgroup"), 1_260 - 1_210);
    assert_eq!(part(&spans, "mounts"), 40);
    assert_eq!(part(&spans, "runtime"), 90 + (1_210 - 1_180) + (1_280 - 1_260) + 30 + 10);
    assert_eq!((part(&spans, "exec"), part(&spans, "payload"), part(&spans, "notice")), (40, 20, 30));
    let nobody = 1_330 - 1_280;
    assert_eq!(spans.values().sum::<u64>(), 500 - nobody);
    assert_eq!(seen, Some(Seen { executed: 1_450, wrote: 1_470 }));
}

#[test]
fn a_planted_delay_appears_in_its_span_and_in_no_other() {
    let whole = spans(&start(), ROOT, 1_000, 1_500).0;
    // Everything from inside the call on is 5,000 later.
    for (inside, name) in [
        (1_055, "spawn"),
        (1_155, "clone"),
        (1_240, "cgroup"),
        (1_380, "mounts"),
        (1_420, "exec"),
        (1_460, "payload"),
        (1_475, "notice"),
        (1_405, "runtime"),
        (1_300, "nobody"),
    ] {
        let mut later = start();
        later.iter_mut().filter(|it| it.at_ns > inside).for_each(|it| it.at_ns += 5_000);
        let delayed = spans(&later, ROOT, 1_000, 6_500).0;
        for part_name in whole.keys() {
            let more = if part_name == name { 5_000 } else { 0 };
            assert_eq!(delayed[part_name], whole[part_name] + more, "{name}: {part_name}");
        }
    }
}

#[test]
fn a_box_that_the_spawner_makes_itself_has_no_client() {
    let events = play(&[
        (1_010, 10, What::Exit(1)),
        (1_020, 10, enter(libc::SYS_mkdir)),
        (1_030, 10, What::Cgroup),
        (1_040, 10, What::Exit(0)),
        (1_050, 10, enter(libc::SYS_clone3)),
        (1_060, 10, What::New(30, 0)),
        (1_065, 10, What::Off(10, true)),
        (1_080, 30, What::Exit(0)),
        (1_090, 30, enter(libc::SYS_pivot_root)),
        (1_100, 30, What::Exit(0)),
        (1_100, 30, enter(libc::SYS_execve)),
        (1_150, 30, What::Exec("/payload".into(), 30)),
        (1_150, 30, What::Exit(0)),
        (1_160, 30, enter(libc::SYS_write)),
    ]);
    let (spans, _) = spans(&events, Root { client: false, ..ROOT }, 1_000, 1_200);
    let expected = [
        ("spawn", 30),
        ("cgroup", 20),
        ("clone", 30),
        ("runtime", 10),
        ("pivot", 10),
        ("exec", 50),
        ("payload", 10),
        ("notice", 40),
    ];
    assert_eq!(spans, expected.map(|(name, ns)| (name.to_owned(), ns)).into());
}

#[test]
fn without_a_payload_on_this_kernel_the_newest_process_leads() {
    let mut events = start();
    events.retain(|it| it.at_ns < 1_405);
    let (spans, seen) = spans(&events, ROOT, 1_000, 1_500);
    assert_eq!(seen, None);
    assert!(["exec", "payload", "notice"].iter().all(|name| !spans.contains_key(*name)));
    assert_eq!(part(&spans, "mounts"), 40);
}
