//! The audit can fail: for each computed item an edit of a good document that makes it fail, and none other.

#[path = "../examples/demo/held.rs"]
#[allow(dead_code)]
mod held;
#[path = "../examples/demo/document.rs"]
#[allow(dead_code)]
mod made_up;

use tare_reports::Lang;
use tare_reports::audit::{KEEPERS, audit, title};
use tare_reports::document::*;

fn verdict(document: &Document, item: u32) -> Verdict {
    judged(document, item).verdict
}

fn judged(document: &Document, item: u32) -> AuditItem {
    audit(document).into_iter().find(|it| it.item == item).unwrap()
}

/// The contender of that name.
fn row<'a>(document: &'a mut Document, name: &str) -> &'a mut Contender {
    document.contenders.iter_mut().find(|it| it.name == name).unwrap()
}

/// Edits a good document; the item must pass before and fail after, with the evidence naming the fault.
fn fails(item: u32, evidence: &str, edit: impl FnOnce(&mut Document)) {
    let mut document = made_up::good(20);
    assert_eq!(verdict(&document, item), Verdict::Passed, "item {item} of the good document");
    edit(&mut document);
    let found = judged(&document, item);
    assert_eq!(found.verdict, Verdict::Failed, "item {item} after the edit: {}", found.evidence);
    assert!(found.evidence.contains(evidence), "item {item}: {}", found.evidence);
}

#[test]
fn all_27_items_are_there_in_order_with_titles() {
    let items = audit(&made_up::good(20));
    assert_eq!(items.iter().map(|it| it.item).collect::<Vec<_>>(), (1..=27).collect::<Vec<_>>());
    assert!(items.iter().all(|it| !it.title.is_empty() && !it.evidence.is_empty()));
    assert!((1..=27).all(|it| title(it, Lang::En) != title(it, Lang::Zh)));
    assert_eq!((title(0, Lang::En), title(28, Lang::En)), ("", ""));
}

#[test]
fn a_good_document_fails_nothing() {
    let failed: Vec<_> =
        audit(&made_up::good(20)).into_iter().filter(|it| it.verdict == Verdict::Failed).collect();
    assert_eq!(failed, []);
}

#[test]
fn items_by_design_name_their_test() {
    let items = audit(&made_up::good(20));
    let by_design: Vec<_> = items.iter().filter(|it| it.verdict == Verdict::ByDesign).collect();
    assert_eq!(by_design.len(), KEEPERS.len());
    for (number, _, test) in KEEPERS {
        let found = by_design.iter().find(|it| it.item == number).unwrap();
        assert!(found.evidence.contains(test) && test.contains(".rs: "), "{}", found.evidence);
    }
}

#[test]
fn start_up_alone_cannot_check_memory_density_restore_and_load() {
    let items = audit(&made_up::good(20));
    for number in [8, 9, 10, 11, 12, 13, 15, 16, 17, 18] {
        assert_eq!(items[number - 1].verdict, Verdict::NotCheckable, "item {number}");
    }
}

#[test]
fn item_2_teardown_missing() {
    fails(2, "runc has no teardown", |it| {
        it.series.retain(|series| !(series.contender == "runc" && series.quantity == "teardown"));
    });
}

#[test]
fn item_4_another_payload() {
    fails(4, "runc ran 0123", |it| row(it, "runc").payload_sha256 = Some("0123456789abcdef".into()));
}

#[test]
fn item_4_no_digest_at_all() {
    fails(4, "no row carries", |it| it.contenders.iter_mut().for_each(|row| row.payload_sha256 = None));
}

#[test]
fn item_5_tcg_sold_as_kvm() {
    fails(5, "claims KVM", |it| row(it, "qemu").accel = Accel::Kvm);
    fails(5, "a VM cannot be native", |it| row(it, "qemu").accel = Accel::Native);
    fails(5, "must be native", |it| row(it, "runc").accel = Accel::Tcg);
    fails(5, "not probed", |it| it.host.kvm = "probably".into());
    fails(5, "is kvm-nested", |it| {
        it.host.kvm = "usable".into();
        row(it, "qemu").accel = Accel::Kvm;
    });
}

#[test]
fn item_5_kvm_on_bare_metal_passes() {
    let mut document = made_up::good(20);
    document.host.kvm = "usable".into();
    document.host.hypervisor = "none".into();
    row(&mut document, "qemu").accel = Accel::Kvm;
    assert_eq!(verdict(&document, 5), Verdict::Passed);
}

#[test]
fn item_6_host_facts_missing() {
    fails(6, "governor", |it| drop(it.host.facts.remove("governor")));
    fails(6, "smt", |it| drop(it.host.facts.remove("smt")));
    fails(6, "hypervisor", |it| it.host.hypervisor.clear());
    fails(6, "steal", |it| it.run.readings.clear());
}

#[test]
fn item_7_modes_mixed() {
    fails(7, "qemu-restore is in the warm table", |it| {
        for series in it.series.iter_mut().filter(|it| it.contender == "qemu") {
            series.contender = "qemu-restore".into();
        }
    });
    fails(7, "is there twice", |it| {
        let twice = it.series[0].clone();
        it.series.push(twice);
    });
    fails(7, "tare is in the pool table", |it| made_up::find(it, "tare", "ready", false).mode = Mode::Pool);
}

#[test]
fn item_14_memory_tricks_unrecorded() {
    for key in ["ksm", "thp", "swap"] {
        fails(14, key, |it| drop(it.host.facts.remove(key)));
    }
}

#[test]
fn item_19_not_shuffled() {
    fails(19, "the same order in all 20 rounds", |it| {
        let names: Vec<String> = it.contenders.iter().map(|it| it.name.clone()).collect();
        for series in &mut it.series {
            let place = names.iter().position(|name| *name == series.contender).unwrap() as u32 * 2;
            let place = place + u32::from(series.parameters.aa == Some(true));
            series.samples.iter_mut().for_each(|sample| sample.position = place);
        }
    });
    fails(19, "all of A, then all of B", |it| {
        let count = it.series.len() as u32;
        for (number, series) in (0..count).zip(&mut it.series) {
            let visitor = it.contenders.iter().position(|row| row.name == series.contender).unwrap() as u32;
            let second = u32::from(series.parameters.aa == Some(true)) * 50;
            series.samples.iter_mut().for_each(|sample| sample.round += 100 * (visitor + second));
            let _ = number;
        }
    });
    fails(19, "qemu stands too often late", |it| {
        for series in it.series.iter_mut().filter(|it| it.contender == "qemu") {
            series.samples.iter_mut().for_each(|sample| sample.position = 99);
        }
    });
}

#[test]
fn item_19_two_rounds_prove_nothing() {
    let document = made_up::good(1);
    assert_eq!(verdict(&document, 19), Verdict::NotCheckable);
}

/// Makes the starts of a good document transfers of images.
fn transfers(document: &mut Document) {
    document.series.retain(|it| it.quantity == "ready");
    for series in &mut document.series {
        (series.measure, series.quantity) = ("disk".into(), "pull".into());
        series.parameters =
            Parameters { transfer: Some("first".into()), aa: series.parameters.aa, ..Parameters::default() };
    }
}

/// Transfers are timed one at a time, so what holds of starts is asked of them too.
#[test]
fn items_6_and_19_are_asked_of_a_run_that_only_fetched() {
    let mut document = made_up::good(20);
    transfers(&mut document);
    for item in [6, 19] {
        let found = judged(&document, item);
        assert_eq!(found.verdict, Verdict::Passed, "item {item}: {}", found.evidence);
    }
    let names: Vec<String> = document.contenders.iter().map(|it| it.name.clone()).collect();
    for series in &mut document.series {
        let place = names.iter().position(|name| *name == series.contender).unwrap() as u32 * 2;
        let place = place + u32::from(series.parameters.aa == Some(true));
        series.samples.iter_mut().for_each(|sample| sample.position = place);
    }
    assert!(judged(&document, 19).evidence.contains("the same order"), "{:?}", judged(&document, 19));
    document.run.readings.clear();
    assert!(judged(&document, 6).evidence.contains("were not read"), "{:?}", judged(&document, 6));
}

/// Where nothing was timed one at a time, the reason says so, and does not deny the contenders that there are.
#[test]
fn item_19_has_nothing_to_judge_in_a_run_that_timed_nothing() {
    let mut document = made_up::good(20);
    document.series.clear();
    held::add(&mut document);
    let found = judged(&document, 19);
    assert_eq!(found.verdict, Verdict::NotCheckable);
    assert!(found.evidence.contains("this run has none"), "{}", found.evidence);
}

#[test]
fn item_20_trimmed() {
    fails(20, "tare: 1 starts have no cpu sample", |it| {
        made_up::find(it, "tare", "cpu", false).samples.remove(4);
    });
    fails(20, "tare: 1 rounds are missing", |it| {
        for quantity in ["ready", "teardown", "cpu"] {
            made_up::find(it, "tare", quantity, false).samples.remove(4);
        }
    });
}

#[test]
fn item_20_every_nth_round_is_a_plan_and_a_hole_in_it_is_not() {
    let every_fourth = |it: &mut Document| {
        for quantity in ["ready", "teardown", "cpu"] {
            made_up::find(it, "tare", quantity, false).samples.retain(|sample| sample.round % 4 == 0);
        }
    };
    let mut document = made_up::good(20);
    every_fourth(&mut document);
    assert_eq!(verdict(&document, 20), Verdict::Passed);
    fails(20, "tare: 1 rounds are missing", |it| {
        every_fourth(it);
        for quantity in ["ready", "teardown", "cpu"] {
            made_up::find(it, "tare", quantity, false).samples.remove(2);
        }
    });
}

#[test]
fn item_21_no_calibration_or_too_heavy_a_lab() {
    for name in ["process", "floor", "hand-loop"] {
        fails(21, name, |it| {
            it.contenders.retain(|row| row.name != name);
            it.series.retain(|series| series.contender != name);
        });
    }
    fails(21, "the lab adds", |it| {
        for sample in &mut made_up::find(it, "process", "ready", false).samples {
            sample.value = sample.value.map(|it| it + 60_000);
        }
    });
}

#[test]
fn item_21_a_skipped_floor_is_said_not_failed() {
    let mut document = made_up::good(20);
    document.series.retain(|it| it.contender != "floor");
    let floor = row(&mut document, "floor");
    floor.status = Status::Skipped;
    floor.reason = Some("needs root".into());
    let found = judged(&document, 21);
    assert_eq!(found.verdict, Verdict::Passed, "{}", found.evidence);
    assert!(found.evidence.contains("needs root"));
}

#[test]
fn item_22_silent_about_the_clock() {
    fails(22, "runc does not say", |it| row(it, "runc").inside_clock.clear());
}

#[test]
fn item_23_network_on_one_side() {
    fails(23, "different networks", |it| {
        made_up::find(it, "qemu", "ready", false).parameters.network = Some("tap".into());
    });
    fails(23, "no series records", |it| it.series.iter_mut().for_each(|it| it.parameters.network = None));
}

#[test]
fn item_24_no_command_line() {
    fails(24, "qemu has no command line", |it| row(it, "qemu").command.clear());
}

#[test]
fn item_25_failures_dropped() {
    fails(25, "runc failed without a sample", |it| {
        row(it, "runc").status = Status::Failed;
        row(it, "runc").reason = Some("gone".into());
        it.series.retain(|series| series.contender != "runc");
    });
    fails(25, "runc is `measured` without a value", |it| it.series.retain(|it| it.contender != "runc"));
    fails(25, "runc is `failed` with", |it| row(it, "runc").status = Status::Failed);
    fails(25, "gives no reason", |it| row(it, "qemu-microvm").reason = None);
}

#[test]
fn item_26_something_was_left_behind() {
    fails(26, "1 mounts", |it| it.run.census.as_mut().unwrap().after.mounts = 1);
    fails(26, "1 samples left", |it| {
        let samples = &mut made_up::find(it, "tare", "ready", false).samples;
        samples[0] = Sample::failure(0, samples[0].position, Failure::Leak, "a cgroup");
    });
}

#[test]
fn item_26_without_a_census_cannot_be_checked() {
    let mut document = made_up::good(20);
    document.run.census = None;
    assert_eq!(verdict(&document, 26), Verdict::NotCheckable);
}

#[test]
fn item_27_an_anonymous_host() {
    fails(27, "not recorded", |it| it.host.cpu.clear());
}

#[test]
fn item_6_steal_is_not_asked_of_a_run_without_single_starts() {
    let mut document = made_up::good(20);
    document.run.readings.clear();
    document.series.clear();
    held::add(&mut document);
    let found = judged(&document, 6);
    assert_eq!(found.verdict, Verdict::NotCheckable, "{}", found.evidence);
    document.host.facts.remove("governor");
    assert_eq!(verdict(&document, 6), Verdict::Failed, "what does not need them is asked all the same");
}

/// As [`fails`], of a document that measured memory and density too.
fn fails_held(item: u32, evidence: &str, edit: impl FnOnce(&mut Document)) {
    let mut document = held();
    let before = judged(&document, item);
    assert_eq!(before.verdict, Verdict::Passed, "item {item} before the edit: {}", before.evidence);
    edit(&mut document);
    let found = judged(&document, item);
    assert_eq!(found.verdict, Verdict::Failed, "item {item} after the edit: {}", found.evidence);
    assert!(found.evidence.contains(evidence), "item {item}: {}", found.evidence);
}

fn held() -> Document {
    let mut document = made_up::good(20);
    row(&mut document, "qemu").command.push("memory-backend-memfd,id=ram,size=128M".into());
    held::add(&mut document);
    document
}

/// The series of a contender's measure and quantity, at all numbers of boxes.
fn own<'a>(
    document: &'a mut Document,
    contender: &'a str,
    quantity: &'a str,
) -> impl Iterator<Item = &'a mut Series> {
    let wanted = move |it: &&mut Series| {
        it.contender == contender && it.quantity == quantity && matches!(&*it.measure, "memory" | "density")
    };
    document.series.iter_mut().filter(wanted)
}

#[test]
fn memory_and_density_fail_nothing_either() {
    let failed: Vec<_> = audit(&held()).into_iter().filter(|it| it.verdict == Verdict::Failed).collect();
    assert_eq!(failed, []);
}

#[test]
fn item_9_pss_beside_the_host() {
    fails_held(9, "`pss` is missing", |it| it.series.retain(|it| it.quantity != "pss"));
    fails_held(9, "runc has no `pss`", |it| {
        it.series.retain(|it| it.quantity != "pss" || it.contender != "runc");
    });
    fails_held(9, "tare: PSS sees", |it| {
        // A sum of RSS in disguise: each process counted for the pages that all share.
        for sample in own(it, "tare", "pss").flat_map(|it| &mut it.samples) {
            sample.value = sample.value.map(|it| it * 400);
        }
    });
}

#[test]
fn item_10_virtual_size() {
    fails_held(10, "`vsize` of qemu", |it| {
        own(it, "qemu", "pss").for_each(|it| it.quantity = "vsize".into())
    });
}

#[test]
fn item_11_a_ledger_with_holes() {
    fails_held(11, "runc idle has no ledger", |it| {
        own(it, "runc", "host").flat_map(|it| &mut it.samples).for_each(|it| it.parts.clear());
    });
    fails_held(11, "qemu idle has no line `VMM`", |it| {
        for sample in own(it, "qemu", "host").flat_map(|it| &mut it.samples) {
            let vmm = sample.parts.remove("VMM").unwrap_or(0);
            *sample.parts.entry("slab".into()).or_default() += vmm;
        }
    });
    fails_held(11, "is unexplained", |it| {
        for sample in own(it, "tare", "host").flat_map(|it| &mut it.samples) {
            sample.parts.remove("slab");
        }
    });
}

#[test]
fn item_12_guest_ram_by_its_size() {
    fails_held(12, "no memory-backend", |it| drop(row(it, "qemu").command.pop()));
    fails_held(12, "was not seen by its name", |it| {
        for sample in own(it, "qemu", "host").flat_map(|it| &mut it.samples) {
            sample.parts.remove("guest RAM");
        }
    });
}

#[test]
fn item_13_page_cache_in_with_the_rest() {
    fails_held(13, "`cgroup` is missing", |it| it.series.retain(|it| it.quantity != "cgroup"));
    fails_held(13, "no ledger has a line", |it| {
        for sample in it.series.iter_mut().flat_map(|it| &mut it.samples) {
            sample.parts.remove("page cache and tmpfs");
        }
    });
}

#[test]
fn item_15_idle_alone() {
    fails_held(15, "tare was not searched serving", |it| {
        it.series.retain(|it| it.quantity != "serving" || it.contender != "tare");
    });
}

#[test]
fn item_16_ended_by_nobody_knows_what() {
    fails_held(16, "runc touched does not say", |it| {
        own(it, "runc", "touched").for_each(|it| it.binding = None)
    });
    fails_held(16, "by something unknown", |it| {
        own(it, "runc", "idle").for_each(|it| it.binding.as_mut().unwrap().resource = "unknown".into());
    });
    fails_held(16, "names memory without evidence", |it| {
        own(it, "tare", "idle").for_each(|it| it.binding.as_mut().unwrap().evidence.clear());
    });
}

#[test]
fn item_17_a_limit_that_nobody_saw() {
    fails_held(17, "tare idle: no number above 12400", |it| {
        own(it, "tare", "idle").for_each(|it| it.binding.as_mut().unwrap().failed_at = None);
    });
    fails_held(17, "yet 12400 is said to have failed", |it| {
        own(it, "tare", "idle").for_each(|it| it.binding.as_mut().unwrap().failed_at = Some(12_400));
    });
    // The number started and the number that the figures are over must be the same.
    fails_held(17, "nothing was looked at with 12401 boxes", |it| {
        own(it, "tare", "idle").for_each(|it| it.samples[0].value = Some(12_401));
    });
    let confirmed = |it: &&mut Series| it.parameters.instances == Some(12_400);
    fails_held(17, "999 pings at 12400", |it| {
        own(it, "tare", "canary").filter(confirmed).for_each(|it| it.samples.truncate(999));
    });
    fails_held(17, "11 of them failed", |it| {
        for sample in own(it, "tare", "canary").filter(confirmed).flat_map(|it| &mut it.samples).take(11) {
            *sample = Sample::failure(0, sample.position, Failure::Timeout, "no answer");
        }
    });
    fails_held(17, "the canary's p99", |it| {
        for sample in own(it, "tare", "canary").filter(confirmed).flat_map(|it| &mut it.samples) {
            sample.value = sample.value.map(|it| it * 10);
        }
    });
}

#[test]
fn a_prediction_checks_nothing_of_density() {
    let mut document = held();
    document.series.retain(|it| it.measure != "density" || it.predicted);
    for item in [15, 16, 17] {
        assert_eq!(verdict(&document, item), Verdict::NotCheckable, "item {item}");
    }
}

#[test]
fn restore_must_touch_memory() {
    let mut document = made_up::good(20);
    let mut series = made_up::find(&mut document, "qemu", "ready", false).clone();
    series.mode = Mode::Restore;
    series.samples.iter_mut().for_each(|it| it.spans.extend([("touch".to_owned(), 5)]));
    document.series.push(series);
    assert_eq!(verdict(&document, 8), Verdict::Passed);
    document.series.last_mut().unwrap().samples[3].spans.clear();
    assert_eq!(verdict(&document, 8), Verdict::Failed);
}

#[test]
fn an_empty_document_is_judged_without_panic() {
    let mut document = made_up::good(1);
    document.series.clear();
    document.contenders.clear();
    assert_eq!(audit(&document).len(), 27);
    document.host = Host::default();
    document.run.readings.clear();
    document.run.census = None;
    assert_eq!(audit(&document).len(), 27);
}
