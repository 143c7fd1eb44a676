//! The items' titles, in both languages.

use crate::Lang;

/// Title of an item of `METHOD.md`, from 1 to 27; empty for any other number.
pub fn title(item: u32, lang: Lang) -> &'static str {
    let index = (item as usize).wrapping_sub(1);
    TITLES.get(index).map_or("", |(en, zh)| lang.pick(en, zh))
}

const TITLES: [(&str, &str); 27] = [
    ("clocks that start or end in different places", "计时的起点或终点不一致"),
    ("teardown inside one side's figure", "把销毁时间算进其中一方"),
    ("guest clock taken to equal host clock", "把客户机时钟当作宿主机时钟"),
    ("a full distribution against a bare `sleep`", "完整发行版对比一个 `sleep`"),
    ("TCG taken for KVM", "把 TCG 当作 KVM"),
    ("nested virtualisation, noisy cloud host", "嵌套虚拟化、嘈杂的云主机"),
    ("a restore or a warm pool called a cold start", "把恢复或预热池称为冷启动"),
    ("restore time without the page faults paid afterwards", "恢复时间未计入之后的缺页开销"),
    ("RSS summed over processes", "把各进程的 RSS 相加"),
    ("virtual size called memory", "把虚拟大小称为内存"),
    (
        "VMM overhead quoted as VM memory; a shim quoted as the container",
        "以 VMM 开销代替虚拟机内存，以 shim 代替容器",
    ),
    ("guest RAM recognised by the size of a mapping", "凭映射大小认定客户机内存"),
    (
        "page cache counted twice, shared, or charged to the first toucher",
        "页缓存被重复计算、共享或记在首个访问者名下",
    ),
    ("KSM, THP, ballooning, hugepages, swap left to chance", "KSM、THP、气球、大页、交换听任默认"),
    ("idle density sold as capacity", "把空闲密度当作容量"),
    ("density decided by the declared size", "密度由声明的大小决定"),
    ("stop rule \"fixed N\" or \"until it crashes\"", "停止规则为“固定 N”或“直到崩溃”"),
    ("coordinated omission", "协同遗漏"),
    ("all of A, then all of B", "先测完全部 A，再测全部 B"),
    ("mean of ten, outliers trimmed, p99 from 100", "十次取均值、剔除离群值、100 个样本算 p99"),
    ("the harness inside the figure", "测试框架自身被算进结果"),
    ("preparation moved out of the clock", "把准备工作移出计时"),
    ("network on one side only", "只有一方带网络"),
    ("one side tuned", "只调优一方"),
    ("failed starts dropped", "丢弃失败的启动"),
    ("leaks between runs", "各次运行之间的泄漏"),
    ("one host generalised", "以一台主机推及全部"),
];
