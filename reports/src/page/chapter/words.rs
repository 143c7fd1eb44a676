//! What each chapter says. A measure without an entry gets its charts and its name alone.

use crate::Lang;

mod held;
mod image;

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

/// A quantity of a measure in words.
pub(super) fn quantity(measure: &str, name: &str, lang: Lang) -> String {
    match name {
        "ready" if measure == "concurrency" => lang.pick(
            "Ready: from when the start was meant to leave to the payload's answer",
            "就绪：从预定发出时刻到负载应答",
        ),
        "ready" => lang
            .pick("Ready: from the first call to the payload's answer", "就绪：从第一个系统调用到负载应答"),
        "teardown" => lang
            .pick("Teardown: from the stop request until nothing is left", "销毁：从停止请求到不留任何痕迹"),
        "cpu" => lang
            .pick("CPU time: what one start burns, helpers included", "CPU 时间：一次启动的消耗，含辅助进程"),
        "memory" => lang.pick("Host memory of one idle box", "一个空闲盒子占用的宿主机内存"),
        "late" => lang.pick(
            "Late: how much later than meant the lab came to a start",
            "延误：框架实际发出启动比预定晚多少",
        ),
        "reachable" => lang.pick(
            "Reachable: from the first call until the host has read the nonce over TCP",
            "可达：从第一个系统调用到宿主机经 TCP 读到随机数",
        ),
        "content" => lang.pick("Content: what differs from the image", "内容：与镜像不同之处"),
        "image" => lang.pick("An image of three layers", "一个三层镜像"),
        "second" => lang.pick("A second image that has two of the three layers", "共享其中两层的第二个镜像"),
        "instance" => lang.pick("One more box, that has written nothing", "每多一个未写入任何内容的盒子"),
        "pull" => lang.pick("Fetching an image: how long it takes", "拉取镜像：所需时间"),
        "wire" => lang.pick("Fetching an image: bytes that travel", "拉取镜像：传输的字节数"),
        "written" => lang.pick("One more box, that has written 1 MiB", "每多一个写入了 1 MiB 的盒子"),
        other => held::quantity(measure, other, lang),
    }
    .to_owned()
}

const CHAPTERS: [Words; 10] = [
    STARTUP,
    SPANS,
    LADDER,
    CONCURRENCY,
    RUNNING,
    NETWORK,
    held::MEMORY,
    held::DENSITY,
    image::SAMENESS,
    image::DISK,
];

const STARTUP: Words = Words {
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
            "A table named `cold` (only with `--allow-host`): rounds of their own, in which the host's page cache, directory \
             entries and inodes are dropped before each start, outside the clock. A start counts only when payload, program \
             and every file on the command line were then really out of memory; the others are failed samples.",
            "名为“冷启动”的表（仅在使用 `--allow-host` 时）：单独的若干轮，每次启动前在计时之外清空宿主机的页缓存、目录项与 inode。\
             仅当负载、程序以及命令行上的每个文件确已不在内存中时，该次启动才算数；否则记为失败样本。",
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
            "A cold start is not the first one after power-on: a daemon that runs, and the pages that running processes \
             have mapped, stay in memory; so does what a hypervisor or a disk remembers.",
            "冷启动并非开机后的首次启动：运行中的守护进程以及运行中进程已映射的页仍在内存中；虚拟机监控器或磁盘缓存的内容也是如此。",
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
};

const LADDER: Words = Words {
    measure: "ladder",
    title: ("The ladder", "阶梯"),
    question: (
        "What does each mechanism of a container cost? The runtime stops after each of its steps in turn: first no \
         box at all, then one mechanism more on every rung, up to the whole box with its confinement.",
        "容器的每一种机制各要付出多少？运行时依次在每一步之后停下：起初没有盒子，之后每一级多一种机制，直到带有全部约束的完整盒子。",
    ),
    how: &[
        (
            "Each rung is a box that runs the payload, made by the same library call (`run --until STEP` on the command \
             line); below `pivot` the payload is run from the image's path on the host.",
            "每一级都是运行同一负载的盒子，由同一个库调用创建（命令行为 `run --until STEP`）；在 `pivot` 之前，负载从宿主机上的镜像路径运行。",
        ),
        (
            "`ready`: one start per rung and round, the rungs in seeded, shuffled order. What a mechanism adds is the \
             median of the differences to the rung before within rounds, with a 95 % bootstrap interval; a sign-flip \
             permutation test and that interval must both say that it is not nothing.",
            "`ready`：每级每轮启动一次，各级以带种子的随机顺序进行。一种机制增加的量为轮内与上一级之差的中位数，附 95 % 自助法区间；符号翻转置换检验与该区间须同时表明其不为零。",
        ),
        (
            "`memory`: what the host uses with many idle boxes more (how many, the setting above says), divided by their \
             number. Use is MemTotal - MemFree - Buffers - \
             Cached + Shmem, less the free pages in the CPUs' own lists, read once it has settled, with one box running already, so that what is shared is not \
             charged to each. One climb is thrown away first; rounds go there and back (ABBA).",
            "`memory`：再多若干空闲盒子（数目见上方设置）时宿主机多用的内存除以其数目。用量为 MemTotal - MemFree - Buffers - Cached + Shmem，\
             再减去各 CPU 自有列表中的空闲页，待其稳定后读取，且事先已有一个盒子在运行，因而共享部分不计入每个盒子。先舍弃一次攀升；各轮往返进行（ABBA）。",
        ),
        (
            "The first rung, `process`, is no box: its time holds pipes, spawner and exec, its memory the payload's \
             process and its two pipes.",
            "第一级 `process` 不是盒子：其用时包含管道、启动器与 exec，其内存为负载进程及其两条管道。",
        ),
    ],
    not_shown: &[
        (
            "Not what a mechanism costs alone or in another order: many need the ones before, and some are paid for \
             later (a mount namespace copies every mount of the host, and `detach` gives most of them back).",
            "不是某机制单独使用或换一种顺序时的代价：许多机制依赖之前的机制，有些代价要到后来才体现（挂载命名空间会复制宿主机的全部挂载，`detach` 再归还其中大部分）。",
        ),
        (
            "Not what another runtime pays for the same mechanism, nor what it costs to take the box down.",
            "不是其他运行时为同一机制付出的代价，也不是销毁盒子的代价。",
        ),
        (
            "About one in twenty mechanisms that cost nothing will show a difference by chance; look at the interval.",
            "毫无代价的机制也约有二十分之一会偶然显示差异；请看区间。",
        ),
        (
            "Host memory holds whatever else changed on the host meanwhile, and slab that an earlier climb left is used \
             again and not seen.",
            "宿主机内存还包含期间主机上的其他变化；先前攀升留下的 slab 会被复用，因而看不到。",
        ),
    ],
};

const SPANS: Words = Words {
    measure: "spans",
    title: ("Where the time goes", "时间去了哪里"),
    question: (
        "What does a start spend its time on? Containers and virtual machines, side by side, in named parts.",
        "一次启动的时间花在哪里？容器与虚拟机并排，按有名称的部分分解。",
    ),
    how: &[
        (
            "Rounds of their own, in which starts are watched. Being watched costs time, so `ready` is longer here than in \
             the chapter on start-up, and nothing is compared with it; where this run has both, the table shows both.",
            "单独的若干轮，其中的启动受到观察。观察本身有代价，因此这里的 `ready` 比启动一章更长，也不与之比较；若本次运行两者皆有，表中并列给出。",
        ),
        (
            "Our runtime notes the clock after each step of its recipe, in the caller and in the new process \
             (`tare-runtime run --marks FILE`); the library brings the notes back.",
            "我们的运行时在其配方的每一步之后记下时钟，在调用者与新进程中皆然（`tare-runtime run --marks FILE`）；库调用则将记录带回。",
        ),
        (
            "Everybody on the host's kernel is seen through its tracepoints: the system calls of all processes and threads \
             below the spawner, when they sleep and when they are woken, what they make and execute. Each instant goes to the \
             newest process of the chain from the spawner to the payload that has something to do, and to what it does: the \
             call of a mechanism, else `runtime`, the tool's own code and files. A thread that waits for a CPU, or sleeps \
             inside the call of a mechanism, is at work; one that waits for another process is not. Until the tool's \
             program runs all is `spawn`.",
            "宿主机内核上的所有参与者都通过其跟踪点观察：启动器之下所有进程与线程的系统调用、何时睡眠、何时被唤醒、创建并执行了什么。\
             每一瞬间归于从启动器到负载的链条中最新的、有事可做的进程，并归于它所做的事：某种机制的调用，否则为 `runtime`，即工具自身的代码与文件。\
             等待 CPU 或在机制的调用中睡眠的线程算作在工作；等待其他进程的则不算。工具的程序运行之前全部计为 `spawn`。",
        ),
        (
            "From the payload's execve on: `exec` until the call is done, `payload` until it writes READY, `notice` until the \
             host has read it.",
            "从负载的 execve 起：`exec` 到调用完成为止，`payload` 到写出 READY 为止，`notice` 到宿主机读到为止。",
        ),
        (
            "A virtual machine speaks for itself, and the host notes when its bytes arrive: `vmm` until QEMU's monitor (QMP) \
             greets, `machine` until the firmware's first sign (a byte on the debug port 0x402, or a request to QEMU's fw_cfg \
             device, which QEMU traces), `firmware` until it has asked for the last part of the kernel, `kernel` until the \
             payload runs as /init and writes to the debug port, `init` while it opens its terminal, `payload` until READY \
             begins to arrive, `notice` until it is there. Monitor, debug port and trace are there in these rounds only. A \
             resumed machine has other parts: `resume` until its monitor says that it runs, `answer` until it has answered a \
             ping, `touch` until it has touched memory.",
            "虚拟机自己发声，宿主机记录其字节到达的时刻：`vmm` 到 QEMU 的监视器（QMP）问候为止，`machine` 到固件的第一个迹象为止（调试端口 0x402 上的一个字节，\
             或对 QEMU 的 fw_cfg 设备的一次请求，由 QEMU 自己跟踪），`firmware` 到它请求内核的最后一部分为止，\
             `kernel` 到负载作为 /init 运行并写调试端口为止，`init` 为其打开终端的时间，`payload` 到 READY 开始到达为止，`notice` 到其完整到达为止。\
             监视器、调试端口与跟踪只存在于这些轮中。恢复的虚拟机有不同的部分：`resume` 到其监视器报告运行为止，`answer` 到它应答 ping 为止，`touch` 到它触碰完内存为止。",
        ),
    ],
    not_shown: &[
        (
            "What no probe saw is `unattributed` and never given to the next span; a span that could not be observed is \
             \"not measured\" and not zero.",
            "任何探针都没看到的时间为 `unattributed`，绝不并入下一段；无法观察的部分为“未测量”，而不是零。",
        ),
        (
            "The kernel does not tell which file is written: limits written into a cgroup's files, and id maps, are `runtime` \
             for tools that are not ours; an overlay that a tool mounts by itself is one of its `mounts`.",
            "内核不透露写的是哪个文件：对于非我们的工具，写入 cgroup 文件的限制与 id 映射计为 `runtime`；工具自己挂载的 overlay 计入其 `mounts`。",
        ),
        (
            "A daemon that works for a start outside of the spawner's processes is not seen.",
            "在启动器的进程之外为启动工作的守护进程看不到。",
        ),
        (
            "A kernel that comes packed unpacks itself; that is in `kernel`, and copying it into memory is in `firmware`. Where \
             QEMU cannot trace, both belong to the kernel of a firmware that writes, and of a silent one (qboot) firmware and \
             kernel are one part, `boot`.",
            "压缩的内核自行解压，这包含在 `kernel` 中；将其复制到内存则包含在 `firmware` 中。若 QEMU 不能跟踪，则对会输出的固件两者都计入内核，\
             而对沉默的固件（qboot），固件与内核合为一段 `boot`。",
        ),
    ],
};

const CONCURRENCY: Words = Words {
    measure: "concurrency",
    title: ("Many at once", "同时启动"),
    question: (
        "How long does a start take when many are wanted at the same moment: 1, 2, 4 and 8 for each CPU?",
        "当同一时刻需要许多个盒子（每个 CPU 1、2、4、8 个）时，一次启动要多久？",
    ),
    how: &[
        (
            "In open loop: all starts of a visit are meant to leave at the same moment, and none waits for another's \
             answer. Each latency counts from that moment, so the waiting in the queue is inside it (no coordinated \
             omission).",
            "开环：一次访问中的所有启动预定在同一时刻发出，互不等待对方的应答。每个延迟都从该时刻算起，因而包含排队等待（无协调遗漏）。",
        ),
        (
            "`late` is how long after that moment the lab came to the start: its own share, and inside the latency.",
            "`late` 为框架实际发出该启动比该时刻晚多少：这是框架自身的份额，也包含在延迟之内。",
        ),
        (
            "Every box is asked for a sign of life once all are there, and all are taken down before the next visit. Medians \
             are exact; p90 and p99 come from an HDR histogram with three significant figures, from 100 and 1,000 samples on.",
            "全部就绪后逐个确认其存活，并在下一次访问之前全部销毁。中位数为精确值；p90 与 p99 取自三位有效数字的 HDR 直方图，分别需 100 与 1,000 个样本。",
        ),
        (
            "Starts of one visit share their queue, so intervals come from drawing whole visits anew, from six visits on. A \
             visit that was broken off has no figures: its early starts alone would look fast.",
            "同一次访问中的启动共享队列，因此区间由整次访问重新抽取得到，至少需六次访问。中途中断的访问不给出任何数字：仅凭其中较早的启动会显得过快。",
        ),
        (
            "A start may take as much longer than its usual deadline as there are starts for each CPU.",
            "启动的时限按每个 CPU 的启动数目相应放宽。",
        ),
    ],
    not_shown: &[
        (
            "Not the capacity of a service: it is one burst, not a stream of requests.",
            "不是服务的容量：这是一次突发，而非持续的请求流。",
        ),
        (
            "Not what many threads would reach: one spawner sends all starts off. Where the box is made inside it (`floor`, \
             `tare-lib`), they are made one after another.",
            "不是多线程所能达到的结果：所有启动由同一个启动器发出；若盒子在其内部创建（`floor`、`tare-lib`），则逐个进行。",
        ),
    ],
};

const RUNNING: Words = Words {
    measure: "running",
    title: ("Beside many others", "与众多盒子并存"),
    question: (
        "Does a start take longer when 10, 100 or 1,000 boxes of the same kind run already?",
        "当已有 10、100 或 1,000 个同类盒子在运行时，启动会变慢吗？",
    ),
    how: &[
        (
            "Each visit makes its own herd of idle boxes, starts twenty beside it one at a time, and takes the herd down: the \
             levels stand in seeded, shuffled order. Making the herd is outside the clock.",
            "每次访问各自建立一群空闲盒子，在其旁逐个启动二十个，然后销毁这群盒子：各档位以带种子的随机顺序进行。建立这群盒子在计时之外。",
        ),
        (
            "Where one box of the herd did not end in order when asked to, all starts of the visit are failed samples: it was \
             not the herd that the level names. Intervals come from drawing whole visits anew, from six visits on.",
            "若其中有盒子未按要求正常结束，则该次访问中的所有启动均记为失败样本：那已不是该档位所说的一群盒子。区间由整次访问重新抽取得到，至少需六次访问。",
        ),
        (
            "Virtual machines go up to half of the memory that was available; levels beyond are named among what was left out.",
            "虚拟机的数目以可用内存的一半为限；超出的档位列在“未测”之中。",
        ),
    ],
    not_shown: &[
        (
            "Not a loaded host: the herd is idle. Emulated machines (tcg) are never quite idle.",
            "不是有负载的主机：这群盒子是空闲的；模拟的虚拟机（tcg）则从不完全空闲。",
        ),
        ("Not how many fit: that is density's question.", "不说明能装多少个：那是密度的问题。"),
    ],
};

const NETWORK: Words = Words {
    measure: "network",
    title: ("With a network", "带网络的启动"),
    question: (
        "What does a working network cost a start? The same box without one, and connected to a bridge: a container \
         by a veth pair, a virtual machine by a tap interface.",
        "一个可用的网络给启动增加多少代价？同一个盒子，分别在没有网络和接入网桥时启动：容器用 veth 对，虚拟机用 tap 接口。",
    ),
    how: &[
        (
            "The network is made inside the clock, for everybody by the same hand: the lab makes what an engine would, a \
             network namespace with address, route and loopback and one end of a veth pair in it, or a tap interface. The \
             bridge is made once per run.",
            "网络在计时之内建立，且对所有参与者由同一只手完成：框架替代引擎，建立带地址、路由与回环的网络命名空间和其中的 veth 一端，或建立一个 tap \
             接口。网桥每次运行只建立一次。",
        ),
        (
            "A container joins the namespace that was made for it. To the command lines below that adds: a path in the \
             bundle (`runc`, `crun`, `youki`), `--network-namespace FILE` (`tare`), `--network-namespace-path=FILE` \
             (`nspawn`), `--network ns:FILE` (`podman`), `--with-ns network:FILE` (`containerd`). `bwrap` has no such \
             option and is started in the namespace, without `--unshare-net`.",
            "容器加入为它建立的命名空间。与下列命令行相比增加：bundle 中的路径（`runc`、`crun`、`youki`）、`--network-namespace FILE`（`tare`）、\
             `--network-namespace-path=FILE`（`nspawn`）、`--network ns:FILE`（`podman`）、`--with-ns network:FILE`（`containerd`）。\
             `bwrap` 没有这样的选项，去掉 `--unshare-net` 在该命名空间中启动。",
        ),
        (
            "A machine gets `-netdev tap,id=net,fd=3,vhost=off` and `-device virtio-net-pci,netdev=net,status=off,romfile=` \
             (microvm: `virtio-net-device`, and `virtio_mmio.device=512@0xfeb00e00:12` for its kernel): no firmware of the \
             card's, and a cable that is plugged in from the start.",
            "虚拟机增加 `-netdev tap,id=net,fd=3,vhost=off` 与 `-device virtio-net-pci,netdev=net,status=off,romfile=`（microvm 用 \
             `virtio-net-device`，其内核另加 `virtio_mmio.device=512@0xfeb00e00:12`）：网卡不带固件，网线自始即插好。",
        ),
        (
            "Its `/init` gives the interface its address before READY, and under Debian's kernel loads eight modules first, \
             saying on its channel when that begins and ends: all of it is inside `ready`.",
            "其 `/init` 在 READY 之前为接口配置地址，在 Debian 内核下还要先加载八个模块，并在通道上说明开始与结束：这些都计入“就绪”。",
        ),
        (
            "After READY the box connects to the host by itself, once, and says its nonce: `reachable` ends when the host \
             has read it. A box whose connection does not come, or comes from another address, is a failed sample.",
            "READY 之后，盒子自行向宿主机发起一次连接并说出随机数：宿主机读到它时“可达”计时停止。连接未到，或来自别的地址，均为失败样本。",
        ),
        (
            "Teardown includes taking the link away and waiting for the kernel to say that it is gone.",
            "销毁包含移除链路，并等待内核确认其已消失。",
        ),
    ],
    not_shown: &[
        (
            "Not what an engine's own network costs: rules of a firewall, address management and name service are not in it. \
             The lab's bridge lies in a network namespace of its own, and nothing of the host's is touched.",
            "不是引擎自有网络的代价：不含防火墙规则、地址管理与名称服务。框架的网桥在自己的网络命名空间里，不触碰宿主机的任何设置。",
        ),
        (
            "Not how fast the network is: one connection carries a few bytes.",
            "不说明网络有多快：一个连接只传几个字节。",
        ),
    ],
};
