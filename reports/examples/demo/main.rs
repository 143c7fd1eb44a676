//! Renders made-up documents, to look at the page without a run: `cargo run -p tare-reports --example demo DIR`.

mod document;
mod held;

use std::path::PathBuf;

use tare_reports::document::{Accel, Class, Document, Failure, Mode, Sample, Status};
use tare_reports::{Lang, charts, page, reliability, text};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "target/tare/demo".into()));
    std::fs::create_dir_all(&directory)?;
    let documents =
        [("good", document::good(20)), ("held", full()), ("hard", hard()), ("large", document::good(5_000))];
    for (name, document) in &documents {
        tare_reports::write(document, &directory.join(format!("{name}.json")))?;
        for (lang, tag) in [(Lang::En, "en"), (Lang::Zh, "zh")] {
            let page = page::render(document, lang)?;
            let path = directory.join(format!("{name}-{tag}.html"));
            println!("{} ({} KiB)", path.display(), page.len() / 1024);
            std::fs::write(path, page)?;
        }
    }
    for chart in charts::ALL {
        if let Some(svg) = charts::standalone(&documents[0].1, "ready", chart.name(), Lang::En)? {
            std::fs::write(directory.join(format!("{}.svg", chart.name())), svg)?;
        }
    }
    for (quantity, chart) in
        [("host", "ledger"), ("host", "slope"), ("idle", "capacity"), ("canary", "climb"), ("start", "curve")]
    {
        if let Some(svg) = charts::standalone(&documents[1].1, quantity, chart, Lang::En)? {
            std::fs::write(directory.join(format!("held-{chart}.svg")), svg)?;
        }
    }
    print!("{}", text::table(&documents[1].1));
    Ok(())
}

/// With memory and density.
fn full() -> Document {
    let mut document = document::good(20);
    held::add(&mut document);
    document
}

/// Everything that makes a page hard: twelve contenders, long names, failures, an unreliable host.
fn hard() -> Document {
    let mut document = document::good(24);
    let names = [
        "crun",
        "docker",
        "podman-with-passthrough-log-driver",
        "cloud-hypervisor-with-a-long-name",
        "nothing",
    ];
    for (index, name) in names.into_iter().enumerate() {
        let mut row = document.contenders[5].clone();
        row.name = name.into();
        row.class = [Class::Container, Class::Engine, Class::Engine, Class::Vm, Class::Sandbox][index];
        row.accel = if row.class == Class::Vm { Accel::Tcg } else { Accel::Native };
        for quantity in ["ready", "teardown", "cpu"] {
            let mut series = document::find(&mut document, "runc", quantity, false).clone();
            series.contender = name.into();
            for (number, sample) in series.samples.iter_mut().enumerate() {
                sample.position += 8 + index as u32;
                sample.value =
                    sample.value.map(|it| it * [1, 8, 9, 30, 1][index] + 1_000_000 * (number as u64 % 7));
                if name == "nothing" || (index == 2 && number % 5 == 0) {
                    *sample =
                        Sample::failure(sample.round, sample.position, Failure::Timeout, "no READY in 10 s");
                }
            }
            document.series.push(series);
        }
        if name == "nothing" {
            row.status = Status::Failed;
            row.reason =
                Some("every start ran into its deadline of 10 s: no READY <nonce> on the channel".into());
        }
        document.contenders.push(row);
    }
    document::find(&mut document, "floor", "cpu", false).samples[3].value = Some(0);
    for sample in &mut document::find(&mut document, "tare", "ready", false).samples {
        sample.value = sample.value.map(|it| it + it * u64::from(sample.round) / 60);
    }
    document.series.iter_mut().for_each(|it| it.mode = Mode::Warm);
    document.run.readings.iter_mut().for_each(|it| it.steal_ns = 240_000_000);
    document.run.complete = false;
    document.run.unreliable_because = reliability::check(&document);
    document.run.reliable = document.run.unreliable_because.is_empty();
    document.audit = tare_reports::audit::audit(&document);
    document
}
