//! Whether one image is the same in every box: what the boxes hold, and the table of what they are.

use crate::document::{Document, Looked, Sameness};

/// Name of the measure.
pub const MEASURE: &str = "sameness";

/// The rows of the table of boxes: the key in the document and on the payload's channel, in English, in Chinese.
pub const ROWS: [(&str, &str, &str); 17] = [
    ("kernel", "kernel", "内核"),
    ("hostname", "host name", "主机名"),
    ("pid", "its process id", "进程号"),
    ("user", "user and group", "用户与组"),
    ("namespaces", "namespaces of its own", "自有的命名空间"),
    ("mounts", "mounts that it sees", "可见的挂载数"),
    ("CapEff", "capabilities", "能力（capabilities）"),
    ("CapBnd", "capabilities it may ever have", "能力上限"),
    ("NoNewPrivs", "no new privileges", "禁止获得新特权"),
    ("Seccomp", "seccomp mode", "seccomp 模式"),
    ("cpus", "CPUs that it may use", "可用 CPU 数"),
    ("memory", "memory that its kernel has", "内核可见的内存"),
    ("umask", "umask", "umask"),
    ("limit/nofile", "limit of open files", "打开文件数上限"),
    ("limit/nproc", "limit of processes", "进程数上限"),
    ("limit/core", "limit of core dumps", "核心转储上限"),
    ("limit/memlock", "limit of locked memory", "锁定内存上限"),
];

/// What was seen, in the order of the contenders: in the document stands first who was visited first.
pub fn boxes(document: &Document) -> Vec<&Looked> {
    let mut boxes: Vec<&Looked> = document.sameness.iter().flat_map(|it| &it.boxes).collect();
    boxes.sort_by_key(|it| document.contenders.iter().position(|row| row.name == it.contender));
    boxes
}

/// Whether a box holds what the image holds: nothing that differs was found, and the sum over all of it is the image's.
pub fn is_same(seen: &Sameness, it: &Looked) -> bool {
    it.digest == seen.image && it.differ == 0
}

/// Who was to be looked into and never was, in the order of the contenders: it took no image, or its boxes failed.
pub fn unseen(document: &Document) -> Vec<&str> {
    let looked = |name: &str| boxes(document).iter().any(|it| it.contender == name);
    let asked = |name: &str| document.series.iter().any(|it| it.measure == MEASURE && it.contender == name);
    let names = document.contenders.iter().map(|row| row.name.as_str());
    names.filter(|name| asked(name) && !looked(name)).collect()
}

/// The boxes whose content is the image's, and those whose is not.
pub fn sides(document: &Document) -> Option<(&Sameness, Vec<&Looked>, Vec<&Looked>)> {
    let seen = document.sameness.as_ref()?;
    let (same, other) = boxes(document).into_iter().partition(|it| is_same(seen, it));
    Some((seen, same, other))
}
