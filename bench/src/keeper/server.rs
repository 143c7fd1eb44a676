//! A keeper's own side: a loop over the lab's socket, a timer, and the outputs of its boxes.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::unistd::setsid;

use super::protocol::{Done, Order, PIECE, Pinged, Word};
use super::schedule::Schedule;
use crate::channel::{Channel, Read};
use crate::clock;
use crate::helper::{receive, send};

/// What the events of the socket and of the timer are known by; those of boxes by their number.
const SOCKET: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;
/// Set in the events of a box's process.
const PROCESS: u64 = 1 << 32;

/// So many events are taken at a time.
const EVENTS: usize = 64;

/// Runs a keeper on the socket at descriptor 0 until the lab is gone; returns the exit status.
pub fn main() -> i32 {
    match serve() {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("tare: keeper: {error}");
            1
        }
    }
}

fn serve() -> io::Result<()> {
    // As the spawner: the terminal's Ctrl-C is for the lab alone, who then takes the boxes down in order.
    let _ = setsid();
    let mut keeper = Keeper::new(io::stdin().as_fd().try_clone_to_owned()?)?;
    keeper.say(&Word::Hello)?;
    let mut buffer = Vec::new();
    let mut events = [EpollEvent::empty(); EVENTS];
    loop {
        let count = match keeper.epoll.wait(&mut events, EpollTimeout::NONE) {
            Ok(count) => count,
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        // Answers first: theirs is the time that is measured.
        for event in &events[..count] {
            match event.data() {
                SOCKET | TIMER => {}
                data if data & PROCESS != 0 => keeper.ended(data as u32)?,
                data => keeper.hear(data as u32)?,
            }
        }
        let of = |which| events[..count].iter().any(|it| it.data() == which);
        if of(TIMER) {
            // It only wakes.
            let _ = keeper.timer.wait();
        }
        keeper.go_on()?;
        if of(SOCKET) {
            // The lab holds the only other end: when it dies, however it dies, this is how we learn of it.
            let Some((order, fds)) = receive(keeper.socket.as_fd(), &mut buffer)? else { return Ok(()) };
            keeper.obey(order, fds)?;
        }
    }
}

/// A box whose channel is held.
struct Kept {
    channel: Channel,
    process: Option<OwnedFd>,
    last_line: String,
    /// Whether it was asked to exit.
    leaving: bool,
    gone: bool,
}

/// A schedule that is being followed.
struct Round {
    schedule: Schedule,
    /// The pings that are for our boxes and have not left yet, the next one last.
    pings: Vec<u32>,
    /// Those that have left, with their boxes, and are not answered yet.
    under_way: BTreeMap<u32, u32>,
    /// Requests of the load that have not left yet, by the moment they are meant to: number and turn of each box.
    requests: BTreeMap<(u64, u32), u64>,
    results: Vec<(u32, Pinged)>,
    done: Done,
}

struct Keeper {
    socket: OwnedFd,
    epoll: Epoll,
    timer: TimerFd,
    boxes: HashMap<u32, Kept>,
    round: Option<Round>,
}

impl Keeper {
    fn new(socket: OwnedFd) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
        epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, SOCKET))?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        Ok(Self { socket, epoll, timer, boxes: HashMap::new(), round: None })
    }

    fn say(&self, word: &Word) -> io::Result<()> {
        send(self.socket.as_fd(), word, &[])
    }

    fn obey(&mut self, order: Order, fds: Vec<OwnedFd>) -> io::Result<()> {
        match order {
            Order::Take { number } => {
                let word = match self.take(number, fds) {
                    Ok(()) => Word::Taken,
                    Err(why) => Word::Refused(why),
                };
                self.say(&word)
            }
            Order::Keep(schedule) => {
                self.begin(schedule);
                self.go_on()
            }
            Order::Leave { from } => {
                for kept in self.boxes.iter_mut().filter(|(number, _)| **number >= from).map(|(_, it)| it) {
                    kept.leaving = true;
                    // One that is gone already cannot be written to; its end tells.
                    let _ = kept.channel.send("exit");
                }
                Ok(())
            }
            Order::Forget { from } => {
                self.boxes.retain(|number, _| *number < from);
                Ok(())
            }
        }
    }

    fn take(&mut self, number: u32, fds: Vec<OwnedFd>) -> Result<(), String> {
        let mut fds = fds.into_iter();
        // What finds no place in the table is left out of the message (recvmsg(2), MSG_CTRUNC).
        let (Some(input), Some(output)) = (fds.next(), fds.next()) else {
            let of = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE);
            let allowed = of.map_or(0, |(soft, _)| soft);
            return Err(format!(
                "the keeper takes no further channel: Too many open files (ulimit -n is {allowed})"
            ));
        };
        let failed = |errno: Errno| format!("watch the channel of box {number}: {errno}");
        // A box that reads nothing any more must not hold up the others.
        let flags = OFlag::from_bits_truncate(fcntl(&input, FcntlArg::F_GETFL).map_err(failed)?);
        fcntl(&input, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map_err(failed)?;
        let watch = |fd: BorrowedFd<'_>, data| self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, data));
        watch(output.as_fd(), u64::from(number)).map_err(failed)?;
        let process = fds.next();
        if let Some(process) = &process {
            watch(process.as_fd(), u64::from(number) | PROCESS).map_err(failed)?;
        }
        let kept = Kept {
            channel: Channel::over(input, output),
            process,
            last_line: String::new(),
            leaving: false,
            gone: false,
        };
        self.boxes.insert(number, kept);
        Ok(())
    }

    /// Reads once from a box, and every line that came along.
    fn hear(&mut self, number: u32) -> io::Result<()> {
        let Some(kept) = self.boxes.get_mut(&number) else { return Ok(()) };
        let mut line = match kept.channel.read() {
            Ok(Read::Line(line)) => Some(line),
            Ok(Read::Partial) => None,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => None,
            Ok(Read::End) | Err(_) => return self.lost(number),
        };
        while let Some(found) = line {
            if let Some(round) = &mut self.round {
                round.hear(&found.text, found.at_ns);
            }
            kept.last_line = found.text;
            line = kept.channel.buffered();
        }
        Ok(())
    }

    /// The box has closed its output.
    fn lost(&mut self, number: u32) -> io::Result<()> {
        let Some(kept) = self.boxes.get_mut(&number) else { return Ok(()) };
        let _ = self.epoll.delete(kept.channel.readable());
        kept.gone = true;
        let asked = kept.leaving;
        if let Some(round) = &mut self.round {
            round.lost(number);
        }
        if asked { Ok(()) } else { self.say(&Word::Lost(number)) }
    }

    /// The process of a box that another daemon started has ended: what it said last is in the channel.
    fn ended(&mut self, number: u32) -> io::Result<()> {
        while self.boxes.get(&number).is_some_and(|it| !it.gone && has_more(it)) {
            self.hear(number)?;
        }
        let Some(kept) = self.boxes.get_mut(&number) else { return Ok(()) };
        if let Some(process) = kept.process.take() {
            let _ = self.epoll.delete(&process);
        }
        let said = kept.last_line.clone();
        self.say(&Word::Ended(number, said))
    }

    fn begin(&mut self, schedule: Schedule) {
        let ours = |k: &u32| self.boxes.contains_key(&schedule.box_of(*k));
        let mut pings: Vec<u32> = (0..schedule.pings).filter(ours).collect();
        pings.reverse();
        let requests = schedule.load.iter().flat_map(|load| {
            self.boxes.keys().map(|&number| ((schedule.turn_ns(load, number, 0), number), 0))
        });
        self.round = Some(Round {
            requests: requests.collect(),
            schedule,
            pings,
            under_way: BTreeMap::new(),
            results: Vec::new(),
            done: Done::default(),
        });
    }

    /// Sends what is due, and says when all is done; else sets the timer for what comes next.
    fn go_on(&mut self) -> io::Result<()> {
        let Some(round) = &mut self.round else { return Ok(()) };
        round.send(&mut self.boxes);
        let Some(next) = round.next_ns() else {
            let Some(Round { mut results, done, .. }) = self.round.take() else { return Ok(()) };
            results.sort_by_key(|(k, _)| *k);
            for piece in results.chunks(PIECE) {
                self.say(&Word::Pinged(piece.to_vec()))?;
            }
            return self.say(&Word::Done(done));
        };
        let at = TimeSpec::from(std::time::Duration::from_nanos(next));
        self.timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        Ok(())
    }
}

impl Round {
    /// Sends what was meant to have left by now, and gives up what nobody waits for any longer.
    fn send(&mut self, boxes: &mut HashMap<u32, Kept>) {
        let Self { schedule, pings, under_way, requests, results, done } = self;
        let mut tell = |number: u32, line: &str| match boxes.get_mut(&number) {
            Some(kept) if !kept.gone => kept.channel.send(line).map_err(|e| Pinged::NotSent(e.to_string())),
            _ => Err(Pinged::Gone),
        };
        while let Some(&k) = pings.last()
            && schedule.leaves_ns(k) <= clock::now_ns()
        {
            pings.pop();
            done.late_ns = done.late_ns.max(clock::now_ns() - schedule.leaves_ns(k));
            let number = schedule.box_of(k);
            match tell(number, &format!("ping {}", nonce(k))) {
                Ok(()) => drop(under_way.insert(k, number)),
                Err(why) => results.push((k, why)),
            }
        }
        let end = schedule.end_ns();
        while let Some(load) = &schedule.load
            && let Some(entry) = requests.first_entry()
            && entry.key().0 <= clock::now_ns()
        {
            let ((meant, number), turn) = entry.remove_entry();
            if meant < end && tell(number, &load.line).is_ok() {
                done.asked += 1;
                requests.insert((schedule.turn_ns(load, number, turn + 1), number), turn + 1);
            }
        }
        while let Some(entry) = under_way.first_entry()
            && schedule.leaves_ns(*entry.key()) + schedule.patience_ns <= clock::now_ns()
        {
            results.push((entry.remove_entry().0, Pinged::Unanswered));
        }
        if clock::now_ns() >= end + schedule.patience_ns {
            // What is not served by now will not be.
            requests.clear();
        }
    }

    /// When there is something to do again, ns; `None` when all is done.
    fn next_ns(&self) -> Option<u64> {
        let schedule = &self.schedule;
        let given_up = |k: u32| schedule.leaves_ns(k) + schedule.patience_ns;
        let end = schedule.end_ns() + schedule.patience_ns;
        let unserved = self.done.served < self.done.asked && clock::now_ns() < end;
        [
            self.pings.last().map(|k| schedule.leaves_ns(*k)),
            self.under_way.first_key_value().map(|(k, _)| given_up(*k)),
            self.requests.first_key_value().map(|((meant, _), _)| *meant),
            unserved.then_some(end),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// A line of one of the boxes.
    fn hear(&mut self, text: &str, at_ns: u64) {
        let answered = text.strip_prefix("PONG ").and_then(ping_of);
        if let Some(k) = answered.filter(|k| self.under_way.remove(k).is_some()) {
            let after = at_ns.saturating_sub(self.schedule.leaves_ns(k));
            self.results.push((k, Pinged::After(after)));
        } else if self.schedule.load.as_ref().is_some_and(|it| text.strip_prefix("OK ") == Some(&it.line)) {
            self.done.served += 1;
        } else {
            self.done.strange.get_or_insert_with(|| text.to_owned());
        }
    }

    /// A box is gone, and will not answer what it was asked.
    fn lost(&mut self, number: u32) {
        let asked: Vec<u32> =
            self.under_way.iter().filter(|(_, it)| **it == number).map(|(k, _)| *k).collect();
        for k in asked {
            self.under_way.remove(&k);
            self.results.push((k, Pinged::Gone));
        }
    }
}

/// What ping `k` carries.
fn nonce(k: u32) -> String {
    format!("c{k}")
}

fn ping_of(nonce: &str) -> Option<u32> {
    nonce.strip_prefix('c')?.parse().ok()
}

/// Whether a read would bring something: a line, or the end.
fn has_more(kept: &Kept) -> bool {
    let mut fds = [PollFd::new(kept.channel.readable(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}
