//! What the chapters on images say.

use super::{Both, Words};

/// How boxes of an image are started.
const CHANGES: Both = (
    "To the command lines below that makes these changes. `process`: the payload is executed after chroot(2) and \
             chdir(2), on an overlay of the tree. `runc` and its like: the tree as lower layer, command, environment and \
             directory in the bundle. `tare` and `docker`: the image's name instead of the common root's, `import ARCHIVE NAME` \
             and `docker load --input ARCHIVE` before. A machine: another initramfs with six modules, `image=vda` for its \
             `/init`, `-drive file=DISK,format=qcow2,if=none,id=disk` and `-device virtio-blk-pci,drive=disk`.",
    "与下列命令行相比的变化：`process` 在该目录树的 overlay 上经 chroot(2) 与 chdir(2) 之后执行负载；`runc` 等以该目录树为下层，\
             命令、环境与目录写在 bundle 中；`tare` 与 `docker` 以镜像名代替公共根，事先 `import ARCHIVE NAME` 与 `docker load --input ARCHIVE`；\
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
             `runc` and its like get that tree as the lower layer of an overlay; `docker` loads an archive, `tare` imports \
             it; a machine has it as an ext4 file system made by mke2fs from the tree, on a virtio disk, because an initramfs \
             can carry no extended attributes.",
            "各工具以自己的方式获得它：`process` 为以该目录树为根的进程，别无其他；`runc` 等以该目录树作为 overlay 的下层；\
             `docker` 加载归档，`tare` 导入归档；虚拟机则使用由 mke2fs 从该目录树制作的 ext4 文件系统，置于 virtio 磁盘上，因为 initramfs 无法携带扩展属性。",
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
            "One file system only: what is on another mount than `/` is the box and not the image, and is listed beside the \
             content; so are the paths and variables that tools are known to add, the same list for all.",
            "只看一个文件系统：与 `/` 不在同一挂载上的内容属于盒子而非镜像，列在内容之外；已知由工具添加的路径与变量也是如此，对所有参与者使用同一清单。",
        ),
    ],
    not_shown: &[
        (
            "Not times of files, which tools set as they like, nor attributes of the kinds `trusted` and `system`, which \
             depend on who looks.",
            "不含文件时间（各工具自行设定），也不含 `trusted` 与 `system` 类扩展属性（取决于由谁查看）。",
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
         Beside it a machine's disk, whole and on a backing file.",
        "一个镜像占用多少磁盘？共享其层的第二个镜像呢？每多一个盒子，写入前后各占多少？并列给出虚拟机的磁盘：完整副本与后备文件两种方式。",
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
             directory; of a machine its image's disk and the disks of boxes), each file once, after a sync, before and after.",
            "数字为工具保存镜像与盒子的目录中已分配的块（即其整个数据目录；对虚拟机为镜像磁盘与各盒子的磁盘），每个文件只计一次，\
             同步之后于操作前后各读一次。",
        ),
        (
            "`docker` is the lab's private engine, which loads an archive; `tare` imports the same archive, and keeps each layer as \
             it came beside what it has unpacked; a machine's disk is an ext4 file system made from the tree, with 64 MiB \
             free.",
            "`docker` 为框架自有的引擎，加载归档；`tare` 导入同一归档，并在解开的内容之外保留原样的层；虚拟机的磁盘为由该目录树制作的 ext4 文件系统，另留 64 MiB 空闲。",
        ),
        CHANGES,
        (
            "A whole copy is `format=raw`; a backed disk is made by `qemu-img create -f qcow2 -F raw -b IMAGE DISK`, the image's by \
             `mke2fs -t ext4 -d TREE`.",
            "完整副本为 `format=raw`；带后备文件的磁盘由 `qemu-img create -f qcow2 -F raw -b IMAGE DISK` 创建，镜像磁盘由 \
             `mke2fs -t ext4 -d TREE` 创建。",
        ),
        (
            "One more box is a fourth of what four add that are held at once: an engine's own notes come in steps. Each then \
             writes 1 MiB of noise to a file and syncs it.",
            "每多一个盒子为同时持有的四个盒子所增加之量的四分之一：引擎自身的记录呈阶梯状增长。随后每个盒子写入 1 MiB 噪声到文件并同步。",
        ),
    ],
    not_shown: &[
        (
            "Not what goes over a network to bring an image here, nor how long that takes.",
            "不说明把镜像传输到本机需要多少网络流量与时间。",
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
    ],
};
