//! What real tools keep on disk of images that share layers, and of boxes; and what they fetch.

mod common;

use common::{document, finish, left_of, root, row, samples, skip, tare, values};
use tare_reports::document::{Document, Status};
use tare_reports::transfer::STEPS;

const MIB: u64 = 1 << 20;

/// The figures of one contender in one form.
fn figure(document: &Document, contender: &str, quantity: &str, form: &str) -> u64 {
    let found = document.series.iter().find(|it| {
        it.contender == contender && it.quantity == quantity && it.parameters.form.as_deref() == Some(form)
    });
    let series = found.unwrap_or_else(|| panic!("no {quantity} of {contender}, {form}"));
    series.samples[0].value.unwrap_or_else(|| panic!("{:?}", series.samples[0]))
}

#[test]
fn layers_are_kept_and_moved_once_and_a_box_adds_what_it_writes() {
    if !root() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let output = finish(&mut tare(out.path(), &["disk", "--only", "tare,docker,qemu", "--rounds", "1"]));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let document = document(out.path());
    assert_eq!(left_of(&document.run.id), Vec::<std::path::PathBuf>::new());
    let census = document.run.census.as_ref().unwrap();
    assert_eq!((census.after.mounts, census.after.files, census.after.cgroups), (0, 0, 0));
    transfers(&document);
    for contender in ["tare", "docker"] {
        if row(&document, contender).status == Status::Skipped
            || samples(&document, contender, "image").is_empty()
        {
            skip(
                contender,
                row(&document, contender).reason.as_deref().unwrap_or("it keeps what is not ours too"),
            );
            continue;
        }
        let one = |quantity| values(&document, contender, quantity)[0];
        let (image, second) = (one("image"), one("second"));
        assert!((27 * MIB..70 * MIB).contains(&image), "{contender}: three layers of 27 MiB took {image}");
        // One layer of 1 MiB, and the same once more where it is kept as it came.
        assert!((MIB..3 * MIB).contains(&second), "{contender}: a layer of 1 MiB more took {second}");
        let (idle, written) = (one("instance"), one("written"));
        assert!(idle < MIB / 2, "{contender}: a box that wrote nothing took {idle}");
        assert!(
            (MIB..MIB + MIB / 8).contains(&(written - idle)),
            "{contender}: 1 MiB took {}",
            written - idle
        );
    }
    if row(&document, "qemu").status == Status::Skipped {
        return skip("qemu", row(&document, "qemu").reason.as_deref().unwrap_or("?"));
    }
    let (backed, whole) = ("qcow2 on a backing file", "whole copy");
    let of = |quantity, form| figure(&document, "qemu", quantity, form);
    assert_eq!(of("image", backed), of("second", backed), "a disk shares nothing");
    assert!(of("instance", backed) < 2 * MIB, "{}", of("instance", backed));
    assert!(of("written", backed) - of("instance", backed) >= MIB);
    // All files, and nothing of what the disk has free: that was never written to.
    let copy = of("instance", whole);
    assert!((27 * MIB..of("image", whole) + MIB).contains(&copy), "{copy}");
}

/// What each transfer of a contender took, in one of its ways.
fn moved(document: &Document, contender: &str, form: Option<&str>, quantity: &str) -> [u64; 3] {
    STEPS.map(|transfer| {
        let found = document.series.iter().find(|it| {
            (it.contender.as_str(), it.quantity.as_str()) == (contender, quantity)
                && it.parameters.transfer.as_deref() == Some(transfer)
                && it.parameters.form.as_deref() == form
                && it.parameters.aa.is_none()
        });
        let series = found.unwrap_or_else(|| panic!("no {quantity} of {contender}, {form:?}, {transfer}"));
        series.samples[0].value.unwrap_or_else(|| panic!("{transfer}: {:?}", series.samples[0]))
    })
}

/// An update moves what has changed, and a whole disk moves whole.
fn transfers(document: &Document) {
    if let Err(why) = tare::registry::possible() {
        return skip("registry", why);
    }
    // Half of 27 MiB is noise, and half of the 1 MiB that changes.
    let (whole, layer) = (13 * MIB..17 * MIB, MIB / 2..MIB);
    let forms = [
        ("tare", None, true),
        ("docker", None, true),
        ("qemu", Some("qcow2 on a backing file"), true),
        ("qemu", Some("whole copy"), false),
    ];
    for (contender, form, saves) in forms {
        let row = row(document, contender);
        if row.status == Status::Skipped || row.fetch.is_none() {
            skip(contender, row.reason.as_deref().unwrap_or("it keeps what is not ours too"));
            continue;
        }
        let [first, second, update] = moved(document, contender, form, "wire");
        assert!(whole.contains(&first), "{contender}, {form:?}: {first}");
        let expected = if saves { &layer } else { &whole };
        let others = [second, update];
        assert!(others.iter().all(|it| expected.contains(it)), "{contender}, {form:?}: {others:?}");
        assert!(moved(document, contender, form, "pull").iter().all(|it| *it > 1_000_000));
    }
}
