//! What each chapter says. A measure without an entry gets its charts and its name alone.

use crate::Lang;

/// A text in both languages.
pub(super) type Both = (&'static str, &'static str);

/// The words of one chapter.
pub(super) struct Words {
    measure: &'static str,
    title: Both,
    /// The question that the measure answers.
    pub(super) question: Both,
    /// How it was measured.
    pub(super) how: &'static [Both],
    /// What a reader must not conclude.
    pub(super) not_shown: &'static [Both],
}

/// The chapter of a measure.
pub(super) fn of(measure: &str) -> Option<&'static Words> {
    CHAPTERS.iter().find(|it| it.measure == measure)
}

/// The title of a measure's chapter.
pub(in crate::page) fn title(measure: &str, lang: Lang) -> String {
    of(measure).map_or_else(|| measure.to_owned(), |it| lang.pick(it.title.0, it.title.1).to_owned())
}

/// A quantity in words.
pub(super) fn quantity(name: &str, lang: Lang) -> String {
    match name {
        "ready" => lang
            .pick("Ready: from the first call to the payload's answer", "就绪：从第一个系统调用到负载应答"),
        "teardown" => lang
            .pick("Teardown: from the stop request until nothing is left", "销毁：从停止请求到不留任何痕迹"),
        "cpu" => lang
            .pick("CPU time: what one start burns, helpers included", "CPU 时间：一次启动的消耗，含辅助进程"),
        other => other,
    }
    .to_owned()
}

const CHAPTERS: [Words; 1] = [Words {
    measure: "startup",
    title: ("Start-up", "启动"),
    question: (
        "How long until the box runs what it was made for? The same static program runs in every box; the clock \
         stops when the host reads its `READY`.",
        "盒子要多久才开始运行它的负载？每个盒子里运行同一个静态程序；宿主机读到它的 `READY` 时停止计时。",
    ),
    how: &[
        (
            "One clock for everybody: the host's CLOCK_MONOTONIC, from just before the first system call made for the \
             instance until the host has read the nonce. An event, never a poll.",
            "所有参与者共用一个时钟：宿主机的 CLOCK_MONOTONIC，从为该实例发出的第一个系统调用之前，到宿主机读到随机数为止。靠事件通知，绝不轮询。",
        ),
        (
            "Rounds visit every contender once, in seeded, shuffled order; ratios are paired within rounds.",
            "每轮以带种子的随机顺序访问每个参与者一次；比值在轮内成对计算。",
        ),
        (
            "Preparation per image is outside the clock, everything per instance is inside it, for everybody; each \
             command line below lists what is inside.",
            "按镜像的准备在计时之外，按实例的一切都在计时之内，对所有参与者一视同仁；下方每条命令行列出计时所含内容。",
        ),
        (
            "`teardown` is a series of its own; `cpu` is the CPU time of the instance with its helpers.",
            "`teardown` 单独成列；`cpu` 为实例及其辅助进程的 CPU 时间。",
        ),
        (
            "Nothing is trimmed and nothing subtracted. `process` and `floor` are the calibration rows: no box at all, \
             and the least that the kernel allows.",
            "不剔除、不扣减任何数据。`process` 与 `floor` 为校准行：没有盒子，以及内核允许的最低限度。",
        ),
        (
            "Medians with 95 % percentile-bootstrap intervals; p90 from 100 samples, p99 from 1,000, else n/a; a sign-flip \
             permutation test says `differs` below p = 0.05.",
            "中位数附 95 % 百分位自助法区间；p90 需 100 个样本，p99 需 1,000 个，否则为 n/a；符号翻转置换检验在 p < 0.05 时判为有差异。",
        ),
    ],
    not_shown: &[
        (
            "Not how fast the box runs, what it costs in memory, or how many fit.",
            "不说明盒子运行多快、占用多少内存、能装多少个。",
        ),
        (
            "Not the start of an application: the payload writes `READY` as its first act and has no libc.",
            "不是应用程序的启动：负载的第一个动作就是写出 `READY`，且没有 libc。",
        ),
        (
            "Not cold caches and not many starts at once, unless a setting above says so.",
            "除非上方注明，否则不含冷缓存，也不含并发启动。",
        ),
        (
            "A VM here is a kernel and the payload, not a distribution. Under `tcg` its figures are upper bounds.",
            "此处的虚拟机只有内核与负载，并非发行版。`tcg` 下的数字是上界。",
        ),
        (
            "Not your host: kernel, firmware, neighbours and versions move every figure.",
            "不代表你的主机：内核、固件、邻居与版本都会改变每个数字。",
        ),
    ],
}];
