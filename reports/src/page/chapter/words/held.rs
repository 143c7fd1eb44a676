//! What the chapters on memory and density say.

use super::Words;
use crate::Lang;

/// A quantity of the two measures in words.
pub(super) fn quantity<'a>(measure: &str, name: &'a str, lang: Lang) -> &'a str {
    match (measure, name) {
        ("memory", "host" | "cgroup" | "pss" | "kept") => lang.pick(
            "One more box, by the host's own change and by other methods",
            "每多一个盒子：宿主机自身的变化及其他方法",
        ),
        ("memory", "peak") => lang.pick(
            "Peak: the most that one start was charged for (high-water mark of its cgroup)",
            "峰值：一次启动被计入的最大内存（其 cgroup 的最高水位）",
        ),
        ("memory", "smallest") => {
            lang.pick("Smallest: the least guest RAM that still boots", "最小：仍能启动的最小客户机内存")
        }
        ("memory", "ksm") => lang.pick(
            "One more machine, with its pages merged with equal ones (KSM) and without",
            "每多一台虚拟机：合并相同页（KSM）与不合并",
        ),
        ("density", "idle") => {
            lang.pick("Idle: boxes that do nothing but answer", "空闲：除应答外什么都不做的盒子")
        }
        ("density", "touched") => lang
            .pick("Touched: boxes that have dirtied a share of their memory", "已触碰：写过一部分内存的盒子"),
        ("density", "serving") => {
            lang.pick("Serving: boxes with a request each second", "服务中：每秒处理一个请求的盒子")
        }
        ("density", "canary") => lang.pick("On the way: canary and host memory", "途中：金丝雀与宿主机内存"),
        ("density", "start") => {
            lang.pick("On the way: a start beside so many", "途中：在如此多盒子旁的一次启动")
        }
        ("density", "climb") => {
            lang.pick("On the way: wall time of each start of a step", "途中：每步中每次启动的挂钟时间")
        }
        ("density", "clear") => {
            lang.pick("Afterwards: wall time of taking down each box", "之后：销毁每个盒子的挂钟时间")
        }
        (_, other) => other,
    }
}

pub(super) const MEMORY: Words = Words {
    measure: "memory",
    title: ("Memory", "内存"),
    question: (
        "What does one more box cost the host in memory, and where does it go? Idle, and with a share of its memory \
         touched.",
        "每多一个盒子，宿主机要付出多少内存，又用在了哪里？分为空闲与触碰过部分内存两种状态。",
    ),
    how: &[
        (
            "In climbs: more and more boxes are held and looked at together. The cost of one is the slope over their number, \
             the median of the slopes of all pairs of looks within a climb (Theil and Sen), so that an outlier climb does not \
             move it.",
            "逐级攀升：持有越来越多的盒子并一起读数。单个代价为对数目的斜率，取同一次攀升内所有读数对之斜率的中位数（Theil–Sen），因而离群的攀升不会左右它。",
        ),
        (
            "The intercept, \"paid once\", holds what does not grow with the boxes: an engine's daemon, shared caches, the first \
             of its kind. It is below zero where the first boxes took memory that an earlier climb had left in the kernel's \
             slabs.",
            "截距即“只付一次”的部分，不随盒子增多：引擎的守护进程、共享缓存、第一个盒子带来的开销。若最初的盒子用了先前攀升留在内核 slab 中的内存，则其为负。",
        ),
        (
            "Its 95 % interval comes from drawing whole climbs anew, from six of them on; with fewer it is Sen's, widened to \
             hold the slope of every single climb, and by as much as these lie apart (Student's t: with two climbs that is \
             nine times their deviation, so that it is wide wherever they disagree).",
            "其 95 % 区间由整次攀升重新抽取得到，至少需六次；不足时为 Sen 区间，并扩大到包含每一次攀升自身的斜率，再按各次斜率之间的差距加宽\
             （Student t：仅两次攀升时为其标准差的九倍，因此凡两者不一致处区间都很宽）。",
        ),
        (
            "Three methods that cover different things. `pss` sees the mapped pages of the box's processes, `cgroup` what its \
             memory controller is charged for, `host` everything that the host uses more.",
            "三种方法覆盖的范围不同：`pss` 看到盒子进程所映射的页，`cgroup` 为其内存控制器计入的部分，`host` 为宿主机多用的一切。",
        ),
        (
            "The ledger's lines are slopes too, read beside the host's change; `unexplained` is what they leave of it. Guest RAM \
             lies on a named backend and is read by that name.",
            "账目各项同样是斜率，与宿主机的变化一同读取；“未解释”即它们所剩下的部分。客户机内存位于有名称的后端，并按名称读取。",
        ),
        (
            "Merging of equal pages (KSM) is measured only with `--allow-host`, in climbs of its own, without it and with it; the \
             kernel's settings are put back after each. All other figures are taken as the host had it.",
            "合并相同页（KSM）仅在 `--allow-host` 下测量，使用单独的攀升，分为不合并与合并；每次之后恢复内核设置。其余数字均按宿主机原有设置取得。",
        ),
    ],
    not_shown: &[
        (
            "Not virtual size, and not a sum of RSS, in which what all share is counted for each.",
            "不是虚拟内存大小，也不是 RSS 之和：后者把共享部分给每个进程都算一遍。",
        ),
        (
            "Not what was declared: a box may have its limit, a guest its RAM, and touch little of it.",
            "不是声明的大小：盒子有限额，客户机有内存，却可能只触碰其中一小部分。",
        ),
        (
            "Under `tcg` a machine's figure holds the emulator's translation cache: an upper bound. What it costs beside guest \
             RAM and that cache stands in the table of the ledger.",
            "`tcg` 下虚拟机的数字含模拟器的翻译缓存：这是上界。客户机内存与该缓存之外的代价见账目表。",
        ),
        (
            "What merging saves where guests differ: here all booted the same kernel. What the payload touches differs in each, as \
             data does. Containers are not merged: a program has to mark its memory for it. What it costs in CPU \
             time, and until when, is not shown.",
            "客户机各不相同时合并能节省多少：此处所有虚拟机启动同一内核；负载触碰的内容则像数据一样各不相同。容器不参与合并：程序须自行标记其内存。合并所耗的 CPU 时间与时长未示出。",
        ),
        (
            "Not what an application needs: the payload has no libc and touches a page or two unless told to.",
            "不是应用程序所需：负载没有 libc，除非另有要求，只触碰一两页。",
        ),
    ],
};

pub(super) const DENSITY: Words = Words {
    measure: "density",
    title: ("Density", "密度"),
    question: (
        "How many boxes does this host hold at once, all of them answering, and what is it that ends it? Idle, with memory \
         touched, and serving: three figures, since the first alone is no capacity.",
        "这台主机同时能容纳多少个盒子且全部应答，又是什么使之终止？空闲、触碰内存、服务中：三个数字，因为仅有第一个并不是容量。",
    ),
    how: &[
        (
            "By search: the number is doubled until something does not hold (and looked at sooner where starts become three times \
             as slow), then found by halves, confirmed for half a minute, and a larger number shown failing.",
            "通过搜索：数目逐次加倍直到某项条件不再成立（若启动慢了三倍则提前查看），再以折半查找确定，保持半分钟加以确认，并展示更大的数目失败。",
        ),
        (
            "Everything must hold at once: 99 % of at least 1,000 pings in open loop, spread over all boxes, answered within \
             100 ms (1 s where a machine is emulated), each counted from its intended moment; every start within its deadline; \
             memory pressure below 10 %; 5 % of the memory free; nothing killed, no box ended.",
            "各项须同时成立：开环发往全部盒子的至少 1,000 次 ping 中 99 % 在 100 ms 内应答（模拟的虚拟机为 1 s），均从预定时刻算起；\
             每次启动都在时限之内；内存压力低于 10 %；5 % 的内存空闲；无进程被杀，无盒子终止。",
        ),
        (
            "The resource that ended it is named from what was seen: the failed call and its object, the kernel's counters, a \
             limit that is reached.",
            "终止搜索的资源依据所见命名：失败的调用及其对象、内核的计数器、已达到的上限。",
        ),
        (
            "The lab holds no descriptor of a box: small keepers do, each of at most 2,000.",
            "框架自身不持有盒子的描述符：由若干小的保管进程持有，每个至多 2,000 个盒子。",
        ),
        (
            "What grows with the number (seen on Linux 6.18): for each memory cgroup the kernel keeps a table with room for \
             every file system that was ever mounted at the same time. After 10,000 containers with eight file systems each, an \
             empty memory cgroup took 1,251 objects of 1 KiB, one for each 64 of them, and the table does not shrink when they are \
             gone. Compare memory on a host that was started anew.",
            "随数目增长的部分（在 Linux 6.18 上所见）：内核为每个内存 cgroup 维护一张表，其大小可容纳曾经同时挂载的所有文件系统。\
             在 10,000 个各挂载八个文件系统的容器之后，一个空的内存 cgroup 占用 1,251 个 1 KiB 的对象，即每 64 个文件系统一个；\
             它们消失后该表并不缩小。比较内存应在重新启动的主机上进行。",
        ),
        (
            "Where the time of a start goes at thousands of boxes (perf, Linux 6.18, between 5,000 and 10,000 containers): a whole \
             CPU to the kernel's memory reclaim, which looks through the table above of each memory cgroup (shrink_slab), although \
             gigabytes are free; then to walks over all boxes, one in each start: all groups when a CPU quota is set \
             (tg_set_bandwidth), all sysfs mounts when one is made (kernfs_test_super), all processes at pivot_root \
             (chroot_fs_refs).",
            "有数千个盒子时启动的时间花在何处（perf，Linux 6.18，5,000 至 10,000 个容器之间）：内核的内存回收占满一个 CPU，\
             它要遍历每个内存 cgroup 的上述表格（shrink_slab），尽管仍有数 GB 空闲内存；其次是每次启动中对所有盒子的遍历：\
             设置 CPU 配额时遍历所有组（tg_set_bandwidth），挂载 sysfs 时遍历所有 sysfs 挂载（kernfs_test_super），\
             pivot_root 时遍历所有进程（chroot_fs_refs）。",
        ),
    ],
    not_shown: &[
        (
            "Not the capacity of a service: the payload's request is one short piece of work a second.",
            "不是服务的容量：负载的请求只是每秒一小段工作。",
        ),
        (
            "Where a search ended by its time budget, more may fit: nobody saw it fail. What is said to end it next is a \
             prediction from the host's limits, and from what a box was seen to take of its memory.",
            "若搜索因时间预算终止，则可能还能装更多：没有观察到失败。所说的下一个限制是依据主机上限及所见每个盒子内存用量的预测。",
        ),
        (
            "Not another host: limits of the kernel are as they are here, and a predicted figure is marked as one.",
            "不代表其他主机：内核上限即此处的值；预测的数字会注明为预测。",
        ),
    ],
};
