//! The same tree as Docker's: an image that `docker build` made, in a box of each.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use sha2::{Digest, Sha256};

use crate::common::Lab;
use crate::common::docker::Docker;

/// Everything about each file of a tree but its times: name, kind, mode, owner, links, attributes, content.
fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut open = vec![PathBuf::new()];
    while let Some(inner) = open.pop() {
        let path = root.join(&inner);
        let metadata = path.symlink_metadata().expect("stat");
        let content = match metadata.file_type() {
            kind if kind.is_symlink() => format!("-> {}", fs::read_link(&path).expect("link").display()),
            kind if kind.is_file() => format!("{:x?}", Sha256::digest(fs::read(&path).expect("read"))),
            _ => String::new(),
        };
        let mut attributes: Vec<String> = xattr::list(&path)
            .expect("xattr")
            .map(|name| format!("{name:?}={:?}", xattr::get(&path, &name).expect("xattr")))
            .collect();
        attributes.sort();
        let links = if metadata.is_dir() { 0 } else { metadata.nlink() };
        let words = format!(
            "{:o} {}:{} {links} {} {attributes:?} {content}",
            metadata.mode(),
            metadata.uid(),
            metadata.gid(),
            metadata.rdev()
        );
        all.insert(inner.clone(), words);
        // These are the runtime's, not the image's.
        let others = ["proc", "sys", "dev", "etc/hosts", "etc/hostname", "etc/resolv.conf", ".dockerenv"];
        if metadata.is_dir() {
            let names =
                fs::read_dir(&path).expect("read").flatten().map(|entry| inner.join(entry.file_name()));
            open.extend(
                names.filter(|name| {
                    !others.iter().any(|other| name.as_os_str().as_bytes() == other.as_bytes())
                }),
            );
        }
    }
    all
}

const DOCKERFILE: &str = r#"FROM scratch
COPY root/ /
RUN mkdir -p /d/sub && echo old > /d/old && echo old > /d/sub/old && echo gone > /gone && ln /bin/busybox /bin/hard \
    && chown 7:8 /d/old && chmod 4751 /d/old && ln -s ../d /etc/link && mkfifo /pipe
RUN rm -r /d /gone && mkdir -m 700 /d && echo new > /d/new && rm /bin/ls && echo more >> /etc/passwd && mkdir /etc/e && rm /etc/motd
COPY more/ /
CMD ["/bin/sleep", "100"]
"#;

#[test]
fn an_image_that_docker_built_is_the_same_tree_here() {
    let Some(lab) = Lab::new() else { return };
    let Some(docker) = Docker::start(lab.path()) else { return };
    let context = lab.path().join("context");
    for dir in ["root/bin", "root/etc", "root/dev", "root/proc", "root/sys", "more/etc"] {
        fs::create_dir_all(context.join(dir)).expect("mkdir");
    }
    fs::copy("/bin/busybox", context.join("root/bin/busybox")).expect("copy");
    for name in ["sh", "ls", "mkdir", "echo", "rm", "ln", "chown", "chmod", "mkfifo", "sleep"] {
        std::os::unix::fs::symlink("busybox", context.join("root/bin").join(name)).expect("link");
    }
    fs::write(context.join("root/etc/passwd"), "root:x:0:0::/:/bin/sh\n").expect("write");
    fs::write(context.join("root/etc/motd"), "hello\n").expect("write");
    fs::write(context.join("more/etc/more"), "more\n").expect("write");
    fs::write(context.join("Dockerfile"), DOCKERFILE).expect("write");
    docker.must(&["build", "--network", "none", "--tag", "it:1", context.to_str().expect("utf-8")]);
    let archive = lab.path().join("it.tar").display().to_string();
    docker.must(&["save", "--output", &archive, "it:1"]);

    let import = lab.command(&["import", &archive, "it:1"]).output().expect("it starts");
    assert!(import.status.success(), "{import:?}");
    let theirs = docker.must(&["run", "--detach", "--network", "none", "it:1"]);
    let pid = docker.must(&["inspect", "--format", "{{.State.Pid}}", &theirs]);
    let file = lab.path().join("pid-of-ours");
    let started = lab
        .command(&["run", "--detach", "--cgroup-parent", &lab.parent, "--name", "ours", "--pid-file"])
        .arg(&file)
        .arg("it:1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("it starts");
    assert!(started.success());
    let ours = fs::read_to_string(&file).expect("pid");
    let [theirs_is, ours_is] = [&pid, &ours].map(|pid| tree(&Path::new("/proc").join(pid).join("root")));
    docker.must(&["rm", "--force", &theirs]);
    // Docker makes these as mount points of its own.
    let made = ["etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab", ".dockerenv"];
    let named = |path: &PathBuf| made.iter().any(|name| path == Path::new(name));
    let differ: Vec<_> = theirs_is
        .iter()
        .map(|(path, words)| (path, Some(words), ours_is.get(path)))
        .chain(
            ours_is
                .iter()
                .filter(|(path, _)| !theirs_is.contains_key(*path))
                .map(|(path, words)| (path, None, Some(words))),
        )
        .filter(|(path, one, other)| !named(path) && one != other)
        .collect();
    assert!(differ.is_empty(), "path, docker, here: {differ:#?}");
    for (path, there) in [
        ("d/new", true),
        ("d/old", false),
        ("d/sub", false),
        ("gone", false),
        ("bin/hard", true),
        ("pipe", true),
    ] {
        assert_eq!(ours_is.contains_key(Path::new(path)), there, "{path}");
    }
}
