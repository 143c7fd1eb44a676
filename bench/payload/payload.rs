//! The payload: the tiny static program that every contender runs, and a virtual machine's `/init`.
//!
//! `payload NONCE [machine=TTY | channel=DIRECTORY] [address=ADDRESS/BITS] [connect=ADDRESS:PORT] [probe]
//! [off=MONITOR] [image=DISK] [word=ANYTHING]`. With `channel=` it first opens the FIFOs `in` and
//! `out` of that directory as descriptors 0 and 1: for boxes that hand no descriptor through.
//! With `address=` a machine's network is brought up before READY, as that of a container is by whoever makes it;
//! a line `AT init` comes before, and `AT modules` where modules were loaded for it.
//! With `image=` a machine's `/init` goes over to the image on that disk, see `image.rs`; `word=` changes nothing and
//! stands in the answer of `digest`.
//!
//! Its very first act is to write `READY <nonce>`; with `connect=` its second is to say the nonce over TCP too, once,
//! and `ERR connect errno N` on its channel where that fails; then it obeys one-line
//! commands on descriptor 0 and answers on descriptor 1, each answer ending with a line `OK <command> ...`
//! or `ERR <command> <reason>` (`PONG <nonce>` for `ping`). End of input is `exit`. No C library, no
//! allocator: what it costs is what the box costs. `bench/build.rs` compiles it.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

mod channel;
mod commands;
mod image;
mod input;
mod machine;
mod network;
mod output;
mod report;
mod sys;
mod tree;

use input::{Input, Line};
use output::Output;

/// The longest nonce that is taken.
const LONGEST_NONCE: usize = 64;

/// What the payload knows of itself from its start on.
pub(crate) struct Start {
    pub(crate) arguments: sys::Arguments,
    pub(crate) nonce: &'static [u8],
    /// Whether this is a machine's `/init`: then the box is mounted on demand, and leaving restarts it.
    pub(crate) machine: bool,
    /// CLOCK_MONOTONIC and CLOCK_BOOTTIME right after READY, in nanoseconds.
    pub(crate) ready: [u64; 2],
}

fn main(arguments: sys::Arguments) -> ! {
    let mut output = Output::new();
    let Understood { nonce, place, own, peer, disk, probe, pause } = match understand(arguments) {
        Ok(understood) => understood,
        Err(reason) => {
            let _ = sys::write(2, reason.as_bytes());
            leave(2);
        }
    };
    if probe {
        machine::mark(machine::INIT);
    }
    // A service of a machine's own system has a terminal too.
    let machine = matches!(place, Place::Terminal(_)) && sys::number(sys::GETPID) == 1;
    match place {
        Place::Standard => {}
        Place::Terminal(terminal) => machine::open_channel(terminal),
        Place::Directory(directory) => {
            if channel::open(directory).is_err() {
                let _ = sys::write(2, b"payload: the channel's FIFOs cannot be opened\n");
                leave(2);
            }
        }
    }
    if let (Some(disk), Place::Terminal(terminal)) = (disk, place) {
        let image::Failed(step, errno) = image::go_over(disk, nonce, terminal);
        output.raw(b"ERR image cannot ").raw(step).raw(b": errno ").number(errno.0 as u64).end().flush();
        leave(2);
    }
    if let Some(own) = &own
        && let Err(errno) = network::bring_up(own, &mut output)
    {
        // A machine has no exit status: the line is all that the host learns.
        output.raw(b"ERR address errno ").number(errno.0 as u64).end().flush();
        leave(2);
    }
    if pause > 0 {
        sys::sleep(pause);
    }
    if probe {
        machine::mark(machine::CHANNEL);
    }
    output.raw(b"READY ").raw(nonce).end().flush();
    let ready = [sys::clock(sys::CLOCK_MONOTONIC), sys::clock(sys::CLOCK_BOOTTIME)];
    if let Some(peer) = &peer {
        network::report(peer, nonce, &mut output);
    }

    let start = Start { arguments, nonce, machine, ready };
    let mut input = Input::new();
    let mut commands = commands::Commands::new(&start);
    loop {
        match input.line() {
            Line::Text(line) => commands.obey(line, &mut output),
            Line::TooLong => {
                output.raw(b"ERR - the line is longer than ").number(input::LONGEST as u64);
                output.raw(b" bytes").end().flush();
            }
            Line::End => leave(0),
        }
    }
}

/// Where the channel is.
#[derive(Clone, Copy)]
enum Place {
    /// Descriptors 0 and 1, as they were inherited.
    Standard,
    /// A machine's terminal.
    Terminal(&'static [u8]),
    /// FIFOs in a directory.
    Directory(&'static [u8]),
}

/// What the arguments say.
struct Understood {
    nonce: &'static [u8],
    place: Place,
    /// What a machine's interface is given: address and mask.
    own: Option<[network::Address; 2]>,
    /// Where to say the nonce once more.
    peer: Option<network::Address>,
    /// The disk with a machine's image.
    disk: Option<&'static [u8]>,
    /// Whether to mark the way to READY on the machine's debug port.
    probe: bool,
    /// A delay planted in that way, ms: for the tests of whoever reads the marks.
    pause: u64,
}

/// Or what is wrong with them.
fn understand(arguments: sys::Arguments) -> Result<Understood, &'static str> {
    let nonce = arguments
        .get(1)
        .ok_or("payload: no nonce: usage: payload NONCE [machine=TTY | channel=DIRECTORY]\n")?;
    if nonce.is_empty() || nonce.len() > LONGEST_NONCE || !nonce.iter().all(u8::is_ascii_graphic) {
        return Err("payload: the nonce is not 1 to 64 visible ASCII characters\n");
    }
    let mut understood = Understood {
        nonce,
        place: Place::Standard,
        own: None,
        peer: None,
        disk: None,
        probe: false,
        pause: 0,
    };
    for index in 2..arguments.count() {
        let argument = arguments.get(index).unwrap_or(&[]);
        if let Some(directory) = argument.strip_prefix(b"channel=") {
            if !channel::is_directory_name(directory) {
                return Err("payload: channel= takes an absolute path of at most 64 bytes\n");
            }
            understood.place = Place::Directory(directory);
            continue;
        }
        if let Some(monitor) = argument.strip_prefix(b"off=") {
            if !machine::switch_off(monitor) {
                return Err("payload: off= takes the name of a monitor: cloud-hypervisor\n");
            }
            continue;
        }
        if argument.starts_with(b"word=") {
            continue;
        }
        if let Some(disk) = argument.strip_prefix(b"image=") {
            if !image::is_disk_name(disk) {
                return Err("payload: image= takes a disk's name such as vda\n");
            }
            understood.disk = Some(disk);
            continue;
        }
        if let Some(address) = argument.strip_prefix(b"connect=") {
            let peer = network::peer(address);
            understood.peer = Some(peer.ok_or("payload: connect= takes ADDRESS:PORT\n")?);
            continue;
        }
        if let Some(address) = argument.strip_prefix(b"address=") {
            let own = network::own(address);
            understood.own = Some(own.ok_or("payload: address= takes ADDRESS/BITS\n")?);
            continue;
        }
        match argument.strip_prefix(b"machine=") {
            Some(name) if machine::is_terminal_name(name) => understood.place = Place::Terminal(name),
            Some(_) => return Err("payload: machine= takes a terminal's name such as ttyS0\n"),
            None if argument == b"probe" => understood.probe = true,
            None => match argument.strip_prefix(b"pause=").and_then(commands::number) {
                Some(pause @ ..=10_000) => understood.pause = pause,
                _ => {
                    return Err(
                        "payload: unknown argument: usage: payload NONCE [machine=TTY | channel=DIRECTORY] \
                         [address=ADDRESS/BITS] [connect=ADDRESS:PORT] [probe] [off=MONITOR] [image=DISK] \
                         [word=ANYTHING]\n",
                    );
                }
            },
        }
    }
    if understood.own.is_some() && !matches!(understood.place, Place::Terminal(_)) {
        return Err("payload: address= is for a machine: a container's network is made for it\n");
    }
    if understood.disk.is_some() && !matches!(understood.place, Place::Terminal(_)) {
        return Err("payload: image= is for a machine: a container has its image for a root\n");
    }
    Ok(understood)
}

/// Leaves the box: the process ends; a machine restarts, which ends its virtual machine monitor when that
/// was told not to reboot.
pub(crate) fn leave(code: u8) -> ! {
    // Pid 1 of a container may ask too; it has no right to, and then simply exits.
    if sys::number(sys::GETPID) == 1 && machine::is_machine() {
        machine::leave();
    }
    sys::exit(code)
}

/// A bug in the payload: its own exit code, so that it cannot be taken for `crash`.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    let _ = sys::write(2, b"payload: internal error\n");
    sys::exit(101)
}
