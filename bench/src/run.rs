//! One run from beginning to end: who can run here, the rounds, the document, the page.

mod predict;
mod rows;
mod selection;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;
use nix::sys::signal::Signal;
use tare_reports::density::MEASURE as DENSITY;
use tare_reports::document::{CensusPair, Contender as Row, Document, Host, Run, SCHEMA, Status, Unit};
use tare_reports::memory::MEASURE as MEMORY;

use crate::contenders::{Contender, Surroundings};
use crate::host::{census, empty_cgroup, facts};
use crate::interrupt;
use crate::lab::Lab;
use crate::measures::{Measure, Pass};
use crate::record::Record;
use crate::rounds::{self, Plan, Rounds};
use crate::site::{ParentCgroup, Site};
use crate::vm::kvm::{self, Kvm};

use rows::{row, rows, settle_statuses};
pub use selection::{Selection, UnknownName};

/// How long namespaces may take to die after the last process in them has ended.
const SETTLE: Duration = Duration::from_secs(5);

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// Under three minutes on two cores.
    Quick,
    /// A thousand rounds or twenty minutes.
    Standard,
    /// Three thousand rounds or two hours.
    Full,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Standard => "standard",
            Self::Full => "full",
        }
    }

    fn plan(self) -> Plan {
        let (rounds, minutes) = match self {
            Self::Quick => (400, 2),
            Self::Standard => (1000, 20),
            Self::Full => (3000, 120),
        };
        Plan { rounds, budget: Some(Duration::from_secs(minutes * 60)) }
    }

    /// How long after its beginning the last visit of a run may end, where all of it together is bounded. In
    /// the quick profile the rest of the three minutes is for what may follow: a box that does not end, the
    /// census, the page.
    fn whole(self) -> Option<Duration> {
        (self == Self::Quick).then_some(Duration::from_secs(150))
    }
}

/// What is asked of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who and what.
    pub selection: Selection,
    /// How much.
    pub profile: Profile,
    /// This many rounds for everybody, whatever the profile's budget says.
    pub rounds: Option<u32>,
    /// Seed of every random choice.
    pub seed: u64,
    /// Whether passes may change the host's own state: drop its caches.
    pub allow_host: bool,
    /// The cgroup below which everything of the run is to live, which somebody made.
    pub parent_cgroup: Option<ParentCgroup>,
    /// Directory in which the run's directory is made.
    pub out: PathBuf,
    /// The executable that becomes the spawner: one that calls [`crate::spawner::become_if_asked`].
    pub spawner: PathBuf,
    /// Whether to draw a progress bar, where standard error is a terminal.
    pub progress: bool,
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// The document, as saved.
    pub document: Document,
    /// The run's directory.
    pub dir: PathBuf,
    /// The page.
    pub page: PathBuf,
    /// The signal that ended it early.
    pub interrupted: Option<Signal>,
}

impl Outcome {
    /// The exit status that the command line promises: 0, 3 when a contender failed, 130 or 143 when
    /// interrupted.
    pub fn exit_status(&self) -> i32 {
        let failed = self.document.contenders.iter().any(|row| row.status == Status::Failed);
        match self.interrupted {
            Some(signal) => interrupt::exit_status(signal),
            None if failed => 3,
            None => 0,
        }
    }
}

/// Runs, saves and draws.
///
/// # Errors
/// When the site or the run's directory cannot be made, the spawner does not start, or results cannot be
/// saved. What a contender does wrong is in the document, not here.
pub fn run(options: &Options) -> Result<Outcome> {
    let (started, clock) = (Timestamp::now(), Instant::now());
    let id = format!("{}-{:04x}", started.strftime("%Y%m%dT%H%M%SZ"), std::process::id() & 0xffff);
    let (measures, mut contenders) = options.selection.resolve(options.profile)?;
    // A cgroup that is not there is said before anything is made.
    options.parent_cgroup.as_ref().map(ParentCgroup::directories).transpose()?;
    let surroundings = surroundings(&contenders);
    let document = Document {
        schema: SCHEMA,
        run: Run {
            id: id.clone(),
            started: started.to_string(),
            finished: None,
            seed: options.seed,
            profile: options.profile.name().into(),
            complete: false,
            reliable: false,
            unreliable_because: vec!["the run was not finished".into()],
            tare: crate::VERSION.into(),
            command: std::env::args().collect(),
            readings: Vec::new(),
            census: None,
            left_out: left_out(options, &measures, &contenders),
            host_changes: Vec::new(),
            merged_from: Vec::new(),
        },
        host: facts::read(surroundings.kvm.to_string()),
        contenders: Vec::new(),
        series: Vec::new(),
        audit: Vec::new(),
        sameness: None,
    };
    let mut record = Record::create(&options.out, document)?;
    let site = match &options.parent_cgroup {
        Some(parent) => Site::create_below(parent, &id)?,
        None => Site::create(&id)?,
    };
    let measured = measure(options, &measures, &mut contenders, &surroundings, &site, &mut record, clock);
    // The site goes whatever happened; an error of the run itself is the one to tell.
    let removed = site.remove();
    let interrupted = measured?;
    removed?;
    finish(record, interrupted)
}

/// What the selection leaves out, and what the measures themselves do.
fn left_out(
    options: &Options,
    measures: &[Box<dyn Measure>],
    contenders: &[Box<dyn Contender>],
) -> Vec<String> {
    let mut left = options.selection.left_out(options.profile);
    let pairs = measures.iter().flat_map(|m| contenders.iter().map(move |c| (m, c)));
    left.extend(pairs.flat_map(|(measure, contender)| measure.left_out(contender.as_ref())));
    let asks = |pass: &&dyn Pass| contenders.iter().any(|it| !pass.settings(it.as_ref()).is_empty());
    let passes = measures.iter().flat_map(|it| it.passes()).filter(asks);
    left.extend(passes.filter_map(|pass| permitted(pass, options).err()));
    left
}

/// Whether a pass may run: one that takes long only in a profile that has the time, and one that does something to
/// the host only where that is allowed and can be done.
///
/// # Errors
/// The line that lists it, with what would add it.
fn permitted(pass: &dyn Pass, options: &Options) -> Result<(), String> {
    if let Some(adds) = pass.left_to_longer_profiles()
        && options.profile == Profile::Quick
    {
        return Err(adds.to_owned());
    }
    let Some(it) = pass.on_host() else { return Ok(()) };
    match options.allow_host {
        true => (it.possible)().map_err(|error| format!("{} ({error:#})", it.adds)),
        false => Err(it.adds.to_owned()),
    }
}

/// Whether a measure's figures hold what a box's own cgroup weighs.
fn holds_boxes(measure: &dyn Measure) -> bool {
    measure.quantities().iter().any(|(_, unit)| matches!(unit, Unit::Bytes | Unit::Instances))
}

fn measure(
    options: &Options,
    measures: &[Box<dyn Measure>],
    contenders: &mut Vec<Box<dyn Contender>>,
    surroundings: &Surroundings,
    site: &Site,
    record: &mut Record,
    began: Instant,
) -> Result<Option<Signal>> {
    if measures.iter().any(|it| holds_boxes(it.as_ref())) {
        // Where none can be made, none weighs on a box.
        record.document.host.empty_cgroup_bytes = empty_cgroup::bytes(site).ok();
    }
    let before_the_lab = began.elapsed();
    let errors = record.dir().join("stderr.log");
    let mut lab = Lab::open_in(&options.spawner, &errors, options.seed, site.birthplaces())?;
    let before = census::take(site, lab.spawner_pid());
    record.document.contenders = rows(contenders, measures, surroundings, site);
    let able: Vec<String> = record
        .document
        .contenders
        .iter()
        .filter(|row| row.status == Status::Measured)
        .map(|row| row.name.clone())
        .collect();
    contenders.retain(|c| able.iter().any(|name| name == c.name()));
    record.save()?;
    let plan = match options.rounds {
        Some(rounds) => Plan { rounds, budget: None },
        None => options.profile.plan(),
    };
    let parent = options.parent_cgroup.as_ref().map(ParentCgroup::path);
    let whole = options.profile.whole().filter(|_| options.rounds.is_none());
    let passes_of = |measure: &dyn Measure| {
        measure.passes().into_iter().filter(|it| permitted(*it, options).is_ok()).count() as u32
    };
    let mut passes: u32 = measures.iter().map(|it| passes_of(it.as_ref())).sum();
    let mut complete = true;
    for measure in measures {
        if lab.interrupted().is_some() {
            complete = false;
            break;
        }
        let bar = progress_bar(options.progress);
        let mut progress = |made, planned, name: &str| {
            bar.set_length(planned);
            bar.set_position(made);
            bar.set_message(name.to_owned());
        };
        for pass in measure.passes().into_iter().filter(|it| permitted(*it, options).is_ok()) {
            let rounds = Rounds {
                lab: &mut lab,
                site,
                contenders: contenders.as_mut_slice(),
                measure: measure.name(),
                pass,
                record,
                progress: &mut progress,
            };
            // What the passes before it left, shared with those to come.
            let left = whole.map(|it| it.saturating_sub(before_the_lab + rounds.lab.elapsed()) / passes);
            let plan = Plan { budget: plan.budget.map(|it| it.min(left.unwrap_or(it))), ..plan };
            passes = passes.saturating_sub(1);
            // Rounds end early only when the run is interrupted.
            if !rounds::run(rounds, plan, options.seed)? {
                complete = false;
                break;
            }
        }
        bar.finish_and_clear();
        // While nobody has seen how many there are: what the search then finds is held against it.
        if complete && measure.name() == MEMORY && measures.iter().any(|it| it.name() == DENSITY) {
            predict::add(&mut record.document, contenders, (site, parent));
        }
    }
    for contender in contenders.iter_mut() {
        // Nothing that was measured is lost by it; the census tells what stayed.
        if let Err(error) = contender.finish(site) {
            let name = contender.name();
            let row = record.document.contenders.iter_mut().find(|row| row.name == name);
            if let Some(row) = row {
                row.reason = Some(format!("taken down with trouble: {error:#}"));
            }
        }
    }
    let after = census::settle(site, lab.spawner_pid(), &before, SETTLE);
    record.document.run.census = Some(CensusPair { before, after });
    record.document.run.complete = complete;
    if options.profile == Profile::Quick {
        // After the census: of this run nothing is left that would count as in use.
        predict::add(&mut record.document, contenders, (site, parent));
    }
    Ok(lab.interrupted())
}

fn finish(mut record: Record, interrupted: Option<Signal>) -> Result<Outcome> {
    let document = &mut record.document;
    document.run.finished = Some(Timestamp::now().to_string());
    settle_statuses(document, &record.unfit);
    document.run.unreliable_because = tare_reports::reliability::check(document);
    document.run.reliable = document.run.unreliable_because.is_empty();
    document.audit = tare_reports::audit::audit(document);
    record.save()?;
    let page = write_page(&record.document, record.dir(), tare_reports::Lang::En)?;
    let dir = record.dir().to_owned();
    Ok(Outcome { document: record.document, dir, page, interrupted })
}

/// Writes the page of a document into a directory and returns its path.
///
/// # Errors
/// When it cannot be drawn or written.
pub fn write_page(document: &Document, dir: &Path, lang: tare_reports::Lang) -> Result<PathBuf> {
    let page = dir.join("index.html");
    let html = tare_reports::page::render(document, lang)?;
    std::fs::write(&page, html).with_context(|| format!("write {}", page.display()))?;
    Ok(page)
}

/// Asks whether KVM works, where a virtual machine was asked for; the answer can take two seconds.
fn surroundings(contenders: &[Box<dyn Contender>]) -> Surroundings {
    use tare_reports::document::Class;
    let asked = contenders.iter().any(|c| c.description().class == Class::Vm);
    let kvm = if asked { look_for_kvm() } else { Kvm::Unknown("no virtual machine was asked for".into()) };
    Surroundings { root: nix::unistd::Uid::effective().is_root(), kvm }
}

/// The verdict on KVM on this host.
pub fn look_for_kvm() -> Kvm {
    match crate::vm::tool::find() {
        Ok(qemu) => kvm::probe(&qemu.path),
        Err(missing) => Kvm::Unknown(missing.reason),
    }
}

/// Everything that a host can say without measuring: for `tare doctor` and `tare list`.
///
/// # Errors
/// When the script of scripted contenders is broken.
pub fn look(selection: &Selection) -> Result<(Host, Vec<Row>)> {
    let (_, mut contenders) = selection.resolve(Profile::Full)?;
    let surroundings = surroundings(&contenders);
    let rows = contenders.iter_mut().map(|c| row(c.as_mut(), &surroundings).0).collect();
    Ok((facts::read(surroundings.kvm.to_string()), rows))
}

/// The contenders of a selection that can run here, probed; whether KVM works makes no difference to this.
///
/// # Errors
/// As [`look`], or for a name that nothing has.
pub fn able(selection: &Selection) -> Result<Vec<Box<dyn Contender>>> {
    let (_, mut contenders) = selection.resolve(Profile::Full)?;
    let root = nix::unistd::Uid::effective().is_root();
    let surroundings = Surroundings { root, kvm: Kvm::Unknown("it makes no difference here".into()) };
    contenders.retain_mut(|it| it.probe(&surroundings).is_ok());
    Ok(contenders)
}

fn progress_bar(wanted: bool) -> indicatif::ProgressBar {
    if !wanted {
        return indicatif::ProgressBar::hidden();
    }
    // Drawn only when a sample has just ended: a redraw during one would be measured.
    let style = indicatif::ProgressStyle::with_template("{bar:30} {pos}/{len} visits, {eta} left: {msg}")
        .unwrap_or_else(|_| indicatif::ProgressStyle::default_bar());
    indicatif::ProgressBar::new(0).with_style(style)
}
