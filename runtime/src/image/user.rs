//! Who an image's command runs as: a name or a number, looked up in the image's own /etc/passwd and /etc/group.
//!
//! Man page: passwd(5), group(5). Look at it: `tare-runtime run IMAGE -- id`

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

use nix::fcntl::OFlag;

use super::{Image, refuse, tree};
use crate::error::{Error, Result, describe};
use crate::resolve;
use crate::spec::User;

/// No sensible list of users is longer.
const LONGEST: u64 = 4 << 20;

impl Image {
    /// The user that the configuration names ("web", "1000", "1000:100", "web:staff"), or root.
    ///
    /// # Errors
    /// [`Error::Image`] for a name that the image does not know.
    pub fn user(&self) -> Result<User> {
        let said = self.config.config().as_ref().and_then(|config| config.user().clone()).unwrap_or_default();
        if said.is_empty() {
            return Ok(User::default());
        }
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
            let read = |path| {
                let Ok(found) = resolve::inside(root.as_fd(), path) else { return String::new() };
                let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&found));
                let opened = nix::fcntl::open(
                    link.as_str(),
                    OFlag::O_RDONLY | OFlag::O_NONBLOCK,
                    nix::sys::stat::Mode::empty(),
                );
                let mut bytes = Vec::new();
                // What is no list of users names nobody.
                let _ = opened.map(|fd| File::from(fd).take(LONGEST).read_to_end(&mut bytes));
                String::from_utf8_lossy(&bytes).into_owned()
            };
            Ok([read(c"etc/passwd"), read(c"etc/group")])
        };
        tree::apart(read).map_err(|errno| Error::at("clone", "a mount namespace", errno))?.map_err(failed)
    }
}

fn find(said: &str, passwd: &str, group: &str) -> std::result::Result<User, String> {
    let (user, own_group) = said.split_once(':').map_or((said, None), |(user, group)| (user, Some(group)));
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
    Ok(User { uid, gid, groups: further.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/:/bin/false\nodd:x:y:z::/:/bin/false\n";
    const GROUP: &str = "root:x:0:\nwww:x:34:\nlog:x:4:adm,web\nstaff:x:50:web\n";

    #[test]
    fn names_and_numbers_are_looked_up_in_the_image() {
        let user = |said: &str| find(said, PASSWD, GROUP);
        let of = |uid, gid, groups: &[u32]| Ok(User { uid, gid, groups: groups.to_vec() });
        assert_eq!(user("web"), of(33, 34, &[4, 50]));
        assert_eq!(user("33"), of(33, 34, &[4, 50]));
        assert_eq!(user("web:staff"), of(33, 50, &[]));
        assert_eq!(user("1000"), of(1000, 0, &[]));
        assert_eq!(user("1000:100"), of(1000, 100, &[]));
        for bad in ["nobody", "web:none", "odd", "-1", "4294967295", ":5"] {
            assert!(user(bad).is_err(), "{bad}");
        }
    }
}
