//! What the chapters on images say.

use super::Words;

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
