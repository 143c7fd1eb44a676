//! Who an image's command runs as: a name or a number, looked up in the image's own /etc/passwd and /etc/group.
//!
//! Man page: passwd(5), group(5). Look at it: `tare-runtime run IMAGE -- id`

use std::ffi::CStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::stat::{SFlag, fstat};

use super::{Image, refuse, tree};
use crate::error::{Error, Result, describe};
use crate::resolve;
use crate::spec::User;

/// No sensible list of users is longer.
const LONGEST: u64 = 4 << 20;

/// Who a command runs as, and where he is at home.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// His numbers.
    pub user: User,
    /// His directory, `/` if nothing is known of it.
    pub home: String,
}

impl Image {
    /// The user of these words ("web", "1000", "1000:100", "web:staff"), or of the configuration's, or root.
    ///
    /// # Errors
    /// [`Error::Image`] for a name that the image does not know.
    pub fn account(&self, said: Option<&str>) -> Result<Account> {
        let own =
            || self.config.config().as_ref().and_then(|config| config.user().clone()).unwrap_or_default();
        let said = said.map_or_else(own, str::to_owned);
        let [passwd, group] = self.lists()?;
        find(&said, &passwd, &group)
            .map_err(|why| refuse(self.name.clone(), format!("its user {said:?}: {why}")))
    }

    /// /etc/passwd and /etc/group as the image has them, empty where it has none.
    fn lists(&self) -> Result<[String; 2]> {
        let failed = |errno| refuse(self.name.clone(), format!("look into it: {}", describe(errno)));
        let read = || {
            let layers = tree::open_all(&self.layers).map_err(|(_, errno)| errno)?;
            let root = tree::view(layers, &self.layers)?;
            Ok([list(root.as_fd(), c"etc/passwd"), list(root.as_fd(), c"etc/group")])
        };
        tree::apart(read).map_err(|errno| Error::at("clone", "a mount namespace", errno))?.map_err(failed)
    }
}

/// A list of an image, empty where there is none. What is no file is not even opened: to open a device of the image's
/// is to do something to the host.
fn list(root: BorrowedFd<'_>, path: &CStr) -> String {
    let Ok(found) = resolve::inside(root, path) else { return String::new() };
    if fstat(&found).is_ok_and(|stat| stat.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFREG.bits()) {
        return String::new();
    }
    let mut bytes = Vec::new();
    let opened = File::open(format!("/proc/self/fd/{}", found.as_raw_fd()));
    // What cannot be read names nobody.
    let _ = opened.map(|file| file.take(LONGEST).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn find(said: &str, passwd: &str, group: &str) -> std::result::Result<Account, String> {
    let (user, own_group) = said.split_once(':').map_or((said, None), |(user, group)| (user, Some(group)));
    // Root too is looked up: he may have further groups.
    let user = if user.is_empty() { "0" } else { user };
    let lines = |list: &str| -> Vec<Vec<String>> {
        list.lines().map(|line| line.split(':').map(str::to_owned).collect()).collect()
    };
    let (users, groups) = (lines(passwd), lines(group));
    let number = |text: &str| text.parse::<u32>().ok().filter(|id| *id != u32::MAX);
    let field =
        |line: &[String], index: usize| line.get(index).map(String::as_str).unwrap_or_default().to_owned();
    let known = users
        .iter()
        .find(|line| field(line, 0) == user || (number(user).is_some() && field(line, 2) == user));
    let (uid, gid) = match known {
        Some(line) => (number(&field(line, 2)), number(&field(line, 3))),
        None => (number(user), Some(0)),
    };
    let uid = uid.ok_or_else(|| format!("{user:?} is no number, and not in its /etc/passwd"))?;
    let gid = match own_group {
        None => gid.ok_or("its group is no number")?,
        Some(name) => {
            let line = groups.iter().find(|line| field(line, 0) == name);
            line.and_then(|line| number(&field(line, 2)))
                .or_else(|| number(name))
                .ok_or_else(|| format!("{name:?} is no number, and not in its /etc/group"))?
        }
    };
    let name = known.map_or_else(String::new, |line| field(line, 0));
    // Whoever names a group gets that one alone, as with Docker.
    let member = |line: &&Vec<String>| {
        own_group.is_none() && !name.is_empty() && field(line, 3).split(',').any(|member| member == name)
    };
    let further =
        groups.iter().filter(member).filter_map(|line| number(&field(line, 2))).filter(|id| *id != gid);
    let home = known.map(|line| field(line, 5)).filter(|home| home.starts_with('/'));
    Ok(Account {
        user: User { uid, gid, groups: further.collect() },
        home: home.unwrap_or_else(|| "/".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/false\nodd:x:y:z::here:/bin/false\n";
    const GROUP: &str = "root:x:0:\nwww:x:34:\nlog:x:4:adm,web\nstaff:x:50:web,root\n";

    #[test]
    fn names_and_numbers_are_looked_up_in_the_image() {
        let user = |said: &str| find(said, PASSWD, GROUP);
        let of = |uid, gid, groups: &[u32], home: &str| {
            Ok(Account { user: User { uid, gid, groups: groups.to_vec() }, home: home.into() })
        };
        assert_eq!(user("web"), of(33, 34, &[4, 50], "/srv"));
        assert_eq!(user("33"), of(33, 34, &[4, 50], "/srv"));
        assert_eq!(user("web:staff"), of(33, 50, &[], "/srv"));
        assert_eq!(user("1000"), of(1000, 0, &[], "/"));
        assert_eq!(user("1000:100"), of(1000, 100, &[], "/"));
        assert_eq!(user(""), of(0, 0, &[50], "/root"));
        assert_eq!(user(":5"), of(0, 5, &[], "/root"));
        assert_eq!(find("", "", ""), of(0, 0, &[], "/"));
        for bad in ["nobody", "web:none", "odd", "-1", "4294967295", "5:"] {
            assert!(user(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_device_in_the_place_of_a_list_is_not_opened() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: only root makes devices");
            return;
        }
        let dir = tempfile::tempdir().expect("tempdir");
        std::fs::create_dir(dir.path().join("etc")).expect("mkdir");
        let (mode, zero) = (nix::sys::stat::Mode::S_IRUSR, nix::sys::stat::makedev(1, 5));
        nix::sys::stat::mknod(&dir.path().join("etc/passwd"), SFlag::S_IFCHR, mode, zero).expect("mknod");
        std::fs::write(dir.path().join("etc/group"), "a:x:1:").expect("write");
        let root = File::open(dir.path()).expect("open");
        assert_eq!(list(root.as_fd(), c"etc/passwd"), "");
        assert_eq!(list(root.as_fd(), c"etc/group"), "a:x:1:");
    }
}
