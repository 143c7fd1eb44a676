//! What the chapters on images say.

use super::{Both, Words};

/// How boxes of an image are started.
const CHANGES: Both = (
    "Boxes of an image are started by the command lines below, with these changes. `process`: the payload is executed after \
             chroot(2) and chdir(2), on an overlay of the tree. `runc` and its like: the tree as lower layer, command, environment and \
             directory in the bundle. `tare` and the engines: the image's name instead of the common root's; before that \
             `import ARCHIVE NAME`, `docker load --input ARCHIVE`, `podman load --input ARCHIVE`, `ctr images import ARCHIVE`. \
             `tare-lib`: the same by calls of the library. A machine: another initramfs with six modules, `image=vda` for its \
             `/init`, `-drive file=DISK,format=qcow2,if=none,id=disk` and `-device virtio-blk-pci,drive=disk`.",
    "与下列命令行相比的变化：`process` 在该目录树的 overlay 上经 chroot(2) 与 chdir(2) 之后执行负载；`runc` 等以该目录树为下层，\
             命令、环境与目录写在 bundle 中；`tare` 与各引擎以镜像名代替公共根，事先执行 `import ARCHIVE NAME`、`docker load --input ARCHIVE`、\
             `podman load --input ARCHIVE`、`ctr images import ARCHIVE`；`tare-lib` 以库调用完成同样的事；\
             虚拟机使用另一个带六个模块的 initramfs，其 `/init` 得到 `image=vda`，另加 `-drive file=DISK,format=qcow2,if=none,id=disk` 与 \
             `-device virtio-blk-pci,drive=disk`。",
);

pub(super) const SAMENESS: Words = Words {
    measure: "sameness",
    title: ("Sameness", "一致性"),
    question: (
        "Build once, run anywhere: is one image the same thing in every box, file by file? And in what do the boxes differ?",
        "一次构建，到处运行：同一镜像在每个盒子里是否逐文件相同？盒子之间又有哪些不同？",
    ),
    how: &[
        (
            "One image with each kind of thing that tools are known to lose: owners other than root, modes, set-user-id and \
             sticky bits, a file capability, extended attributes, symbolic and hard links, an empty directory and an empty \
             file, names with blanks and letters that are not ASCII, a file of 3 MiB.",
            "一个镜像，包含工具容易丢失的各类内容：非 root 属主、模式、set-user-id 与粘滞位、文件能力、扩展属性、符号链接与硬链接、空目录与空文件、\
             含空格与非 ASCII 字符的名称，以及一个 3 MiB 的文件。",
        ),
        (
            "Each tool is given it in its own way: `process` is a process whose root is the image's tree, and nothing else; \
             `runc` and its like get that tree as the lower layer of an overlay; engines load an archive, `tare` imports \
             it; a machine has it as an ext4 file system made by mke2fs from the tree, on a virtio disk, because an initramfs \
             can carry no extended attributes.",
            "各工具以自己的方式获得它：`process` 为以该目录树为根的进程，别无其他；`runc` 等以该目录树作为 overlay 的下层；\
             各引擎加载归档，`tare` 导入归档；虚拟机则使用由 mke2fs 从该目录树制作的 ext4 文件系统，置于 virtio 磁盘上，因为 initramfs 无法携带扩展属性。",
        ),
        CHANGES,
        (
            "The payload itself walks its file system from inside, in the order of the names' bytes, and says a line for each \
             file, directory, link and attribute, with SHA-256 of what is in it; then one for command, environment and working \
             directory. The lab compares the lines with those that follow from what the image was made of, not with another \
             box.",
            "负载在盒子内部按名称的字节顺序遍历自己的文件系统，对每个文件、目录、链接与扩展属性给出一行，并附其内容的 SHA-256；\
             此外还有命令、环境与工作目录。框架将这些行与制作镜像的原始内容所应得的行比较，而不是与另一个盒子比较。",
        ),
        (
            "Environment and working directory stand in the image, for whoever reads them there. The words of the command are \
             said anew for each box, as the words of a tool's own command line: the lab's nonce is one of them.",
            "环境与工作目录写在镜像中，由能读取者从中读取；命令的参数则在每个盒子的命令行上重新给出，因为框架的 nonce 也在其中。",
        ),
        (
            "One file system only: what is on another mount than `/` is the box and not the image, and is listed beside the \
             content; so are the paths and variables that tools are known to add, the same list for all.",
            "只看一个文件系统：与 `/` 不在同一挂载上的内容属于盒子而非镜像，列在内容之外；已知由工具添加的路径与变量也是如此，对所有参与者使用同一清单。",
        ),
    ],
    not_shown: &[
        (
            "Not times of files: the lab does not set them alike in tree and archive. Of attributes only those of the kind \
             `user` and capabilities; not access control lists, labels, and what is `trusted`.",
            "不含文件时间：框架在目录树与归档中并未将其设为一致。扩展属性只含 `user` 类与文件能力，不含访问控制列表、安全标签与 `trusted` 类。",
        ),
        (
            "Not that a program behaves the same: kernel, limits, rights and devices are the box's, and the table shows how \
             they differ.",
            "不说明程序的行为相同：内核、限额、权限与设备属于盒子，其差异见表格。",
        ),
        (
            "Not other processors: an image is built for one kind.",
            "不涉及其他处理器：镜像只为一种处理器构建。",
        ),
    ],
};

pub(super) const DISK: Words = Words {
    measure: "disk",
    title: ("Disk", "磁盘"),
    question: (
        "What does an image take on disk, a second one that shares its layers, and one more box: before and after it writes? \
         And what does it take to fetch them, and an update of one layer: time, and bytes that travel? Beside it a machine's \
         disk, whole and on a backing file.",
        "一个镜像占用多少磁盘？共享其层的第二个镜像呢？每多一个盒子，写入前后各占多少？拉取它们以及更新其中一层，又需要多少时间与传输字节？\
         并列给出虚拟机的磁盘：完整副本与后备文件两种方式。",
    ),
    how: &[
        (
            "The lab makes two images for every look, of bytes that nobody has seen before: 20, 6 and 1 MiB in three layers, \
             half of it noise and half a line over and over; the second has the first two layers and another third.",
            "框架为每次测量制作两个镜像，其内容从未出现过：三层分别为 20、6 与 1 MiB，一半为噪声、一半为重复的文本行；\
             第二个镜像有相同的前两层和不同的第三层。",
        ),
        (
            "Figures are blocks that are allocated in the directories in which a tool keeps images and boxes (its whole data \
             directory; of a machine its image's disk and initramfs, and the disks of boxes), each file once, after a sync, \
             before and after.",
            "数字为工具保存镜像与盒子的目录中已分配的块（即其整个数据目录；对虚拟机为镜像的磁盘与 initramfs 以及各盒子的磁盘），每个文件只计一次，\
             同步之后于操作前后各读一次。",
        ),
        (
            "Engines are private ones of the lab, which load an archive; `tare` imports the same archive, and keeps each layer as \
             it came beside what it has unpacked, as `containerd` does; a machine's disk is an ext4 file system made from the tree, with 64 MiB \
             free.",
            "各引擎均为框架自有，加载归档；`tare` 导入同一归档，并与 `containerd` 一样在解开的内容之外保留原样的层；虚拟机的磁盘为由该目录树制作的 ext4 文件系统，另留 64 MiB 空闲。",
        ),
        CHANGES,
        (
            "A whole copy is `format=raw`, made by `cp --sparse=auto`: what was never written to takes no room in it either. A \
             backed disk is made by `qemu-img create -f qcow2 -F raw -b IMAGE DISK`, the image's by `mke2fs -t ext4 -d TREE`.",
            "完整副本为 `format=raw`，由 `cp --sparse=auto` 制作，从未写过之处在副本中同样不占空间；带后备文件的磁盘由 `qemu-img create -f qcow2 -F raw -b IMAGE DISK` 创建，镜像磁盘由 \
             `mke2fs -t ext4 -d TREE` 创建。",
        ),
        (
            "One more box is a fourth of what four add that are held at once: an engine's own notes come in steps. Each then \
             writes 1 MiB of noise to a file and syncs it.",
            "每多一个盒子为同时持有的四个盒子所增加之量的四分之一：引擎自身的记录呈阶梯状增长。随后每个盒子写入 1 MiB 噪声到文件并同步。",
        ),
        (
            "Fetched in rounds of their own: from Debian's docker-registry, started anew and empty for each visit, over a line of \
             the lab's that counts what comes from the registry, headers included. Three times: the first image; another that \
             has two of its layers; the first again, by the same name, once its last layer has other files. The three are new \
             to everybody: published before (layers packed by gzip), synced, and in the registry's page cache for all alike.",
            "拉取在单独的轮次中进行：仓库为 Debian 的 docker-registry，每次访问都新启动且为空；经由框架的线路，统计来自仓库的字节（含报头）。\
             共三次：首个镜像；与其共享两层的另一个；首个镜像的最后一层换了文件之后，以同名再次拉取。三者对所有人都是全新的：事先发布（层以 gzip 压缩）、\
             同步，且对所有参与者都在仓库的页缓存中。",
        ),
        (
            "Inside the clock, from the request to start the first program until the last has ended: `tare-runtime pull NAME` and \
             `docker pull --quiet NAME`, which verify digests, unpack and store (of docker the client; its engine runs already); \
             for a machine `curl --output DISK URL` and `sha256sum --check`. Then a box of it can be started: containers need \
             their layers unpacked for that, a machine nothing more.",
            "计时从请求启动第一个程序起，到最后一个程序结束止：`tare-runtime pull NAME` 与 `docker pull --quiet NAME`，二者校验摘要、解包并存储\
             （docker 为客户端，其引擎已在运行）；虚拟机为 `curl --output DISK URL` 与 `sha256sum --check`。之后即可启动盒子：容器为此需解开各层，虚拟机则无需更多步骤。",
        ),
        (
            "After each transfer, outside the clock, a box of the image is started and asked for all that it sees, which must be \
             what was published, to the byte; a machine's disk is compared by `qemu-img compare`.",
            "每次传输之后，在计时之外启动该镜像的一个盒子并询问其所见全部内容，须与发布的逐字节一致；虚拟机的磁盘由 `qemu-img compare` 比较。",
        ),
        (
            "A machine's disk travels as qcow2, compressed (`qemu-img convert -c`). `whole copy`: each time all of it. `qcow2 on a \
             backing file`: the second and the update hold only the clusters of 64 KiB that differ from the first, which they \
             name as their backing file (`qemu-img rebase`, `convert -c -B`). No machine runs here: these times are the host's \
             own, whatever emulates its machines.",
            "虚拟机的磁盘以压缩的 qcow2 传输（`qemu-img convert -c`）。`whole copy`：每次传输全部。`qcow2 on a backing file`：第二个与更新只含与首个不同的 \
             64 KiB 簇，并以首个为后备文件（`qemu-img rebase`、`convert -c -B`）。此处不运行任何虚拟机：这些时间都是宿主机自身的，与用什么模拟虚拟机无关。",
        ),
    ],
    not_shown: &[
        (
            "Not a wide-area network: the registry is on this host. Nor a registry's own speed, or many who fetch at once.",
            "不涉及广域网：仓库就在本机。也不说明仓库自身的速度或许多人同时拉取的情形。",
        ),
        (
            "Not that what was fetched is safe on the disk: whether a tool syncs what it wrote is its own choice and in its time; \
             curl does not.",
            "不保证拉取的内容已落盘：工具是否同步其写入由其自行决定并计入其时间；curl 不同步。",
        ),
        (
            "Not a box that changes large files of its image: overlayfs copies a whole file up when it is first written to, a \
             machine's disk only its blocks.",
            "不涉及修改镜像中大文件的盒子：overlayfs 在首次写入时复制整个文件，而虚拟机磁盘只复制所写的块。",
        ),
        (
            "Not the inodes that directories of an overlay take: file systems make them beforehand.",
            "不含 overlay 目录所占的 inode：文件系统会预先分配。",
        ),
        (
            "Not the programs themselves, which a host has once: an engine, a runtime, QEMU and a machine's kernel.",
            "不含程序本身，每台主机只需一份：引擎、运行时、QEMU 与虚拟机内核。",
        ),
    ],
};
