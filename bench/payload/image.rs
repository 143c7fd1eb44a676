//! A machine whose image is on a disk: `/init` goes over to it and becomes the image's own command.
//!
//! What an engine knows of an image beside its files stands in `/command` of the initramfs, strings that a letter
//! begins and a null ends: `d` the working directory, `e` a variable of the environment, `a` a word of the command, the
//! first of which is the program. The nonce and the machine's terminal come right after that.

use core::ops::Range;

use crate::sys;
use crate::sys::files;

/// The longest `/command`, with what is added to it.
const LONGEST: usize = 4096;
/// How long a disk may take to appear after its driver has been loaded, in steps of 10 ms.
const PATIENCE: u32 = 500;

/// A name such as `vda`: it becomes a path below /dev.
pub(crate) fn is_disk_name(name: &[u8]) -> bool {
    !name.is_empty() && name.len() <= 16 && name.iter().all(u8::is_ascii_alphanumeric)
}

/// What went wrong on the way: the step and the kernel's number.
pub(crate) struct Failed(pub(crate) &'static [u8], pub(crate) sys::Errno);

/// Comes back only with an error.
pub(crate) fn go_over(disk: &[u8], nonce: &[u8], terminal: &[u8]) -> Failed {
    match try_to(disk, nonce, terminal) {
        Ok(errno) => Failed(b"execute the image's command", errno),
        Err(failed) => failed,
    }
}

fn try_to(disk: &[u8], nonce: &[u8], terminal: &[u8]) -> Result<sys::Errno, Failed> {
    let at = |step: &'static [u8]| move |errno| Failed(step, errno);
    let mut text = [0; LONGEST];
    let used = read_command(&mut text)?;
    let mut end_of_text = used;
    crate::network::load_modules().map_err(at(b"load a module"))?;
    let mut device = *b"/dev/................\0";
    device[5..5 + disk.len()].copy_from_slice(disk);
    device[5 + disk.len()] = 0;
    let device = &device[..6 + disk.len()];
    sys::mount(b"devtmpfs\0", b"/dev\0").map_err(at(b"mount /dev"))?;
    appears(device).map_err(at(b"find the disk"))?;
    files::mount_from(device, b"/image\0", b"ext4\0", 0).map_err(at(b"mount the disk"))?;
    // As switch_root(8) does: an initramfs cannot be left by pivot_root(2).
    files::enter(b"/image\0").map_err(at(b"enter the image"))?;
    files::mount_from(b".\0", b"/\0", b"none\0", files::MOVE).map_err(at(b"move the image to /"))?;
    files::root_here().map_err(at(b"make the image the root"))?;
    sys::mount(b"devtmpfs\0", b"/dev\0").map_err(at(b"mount the image's /dev"))?;

    let own = [&[nonce, b"\0"][..], &[b"machine=", terminal, b"\0"]];
    let mut words = Words { environment: [EMPTY; MOST], variables: 0, command: [EMPTY; MOST], count: 0 };
    let mut from = 0;
    while from < used {
        let ended = text[from..used].iter().position(|&byte| byte == 0);
        let end = from + ended.ok_or(Failed(b"understand /command", sys::ENOENT))? + 1;
        let (letter, word) = (text[from], from + 1..end);
        from = end;
        match letter {
            b'd' => files::enter(&text[word]).map_err(at(b"enter the working directory"))?,
            b'e' => words.variable(word)?,
            b'a' => {
                words.argument(word)?;
                if words.count == 1 {
                    for parts in own {
                        let begin = end_of_text;
                        for part in parts {
                            let rest = text.get_mut(end_of_text..end_of_text + part.len());
                            rest.ok_or(TOO_LONG)?.copy_from_slice(part);
                            end_of_text += part.len();
                        }
                        words.argument(begin..end_of_text)?;
                    }
                }
            }
            _ => return Err(Failed(b"understand /command", sys::ENOENT)),
        }
    }
    let Words { environment, variables, command, count } = words;
    Ok(files::execute(&text, &command[..count], &environment[..variables]))
}

/// The most words of a command or an environment.
const MOST: usize = 32;
const EMPTY: Range<usize> = 0..0;
const TOO_LONG: Failed = Failed(b"keep so many words", sys::Errno(7));

/// Where the strings stand in the text.
struct Words {
    environment: [Range<usize>; MOST],
    variables: usize,
    command: [Range<usize>; MOST],
    count: usize,
}

impl Words {
    fn variable(&mut self, word: Range<usize>) -> Result<(), Failed> {
        *self.environment.get_mut(self.variables).ok_or(TOO_LONG)? = word;
        self.variables += 1;
        Ok(())
    }

    fn argument(&mut self, word: Range<usize>) -> Result<(), Failed> {
        *self.command.get_mut(self.count).ok_or(TOO_LONG)? = word;
        self.count += 1;
        Ok(())
    }
}

/// Reads `/command`; a file that fills the buffer is too long.
fn read_command(text: &mut [u8; LONGEST]) -> Result<usize, Failed> {
    let at = |errno| Failed(b"read /command", errno);
    let fd = sys::open(b"/command\0", sys::O_RDONLY | sys::O_CLOEXEC).map_err(at)?;
    let mut used = 0;
    while let length @ 1.. = sys::read(fd, &mut text[used..]).map_err(at)? {
        used += length;
    }
    sys::close(fd);
    if used == text.len() { Err(TOO_LONG) } else { Ok(used) }
}

/// Waits for a device node: a driver may look for its devices after it has been loaded.
fn appears(device: &[u8]) -> Result<(), sys::Errno> {
    let mut tries = 0;
    loop {
        match files::Status::of(device) {
            Err(sys::ENOENT) if tries < PATIENCE => sys::sleep(10),
            other => return other.map(drop),
        }
        tries += 1;
    }
}
