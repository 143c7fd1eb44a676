//! The command line of the suite.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::run::Profile;
use crate::site::ParentCgroup;

/// Weighs the box: what a container or a virtual machine costs on this host.
#[derive(Debug, Parser)]
#[command(name = "tare", version = crate::VERSION, propagate_version = true)]
#[command(
    after_help = "Exit status: 0 done, 1 error, 2 usage, 3 a contender failed, 129/130/143 interrupted \
                        (partial results are kept).\n\n\
                        Environment: TARE_RUNTIME, TARE_RUNC, TARE_CRUN, TARE_YOUKI, TARE_RUNSC, TARE_BWRAP, \
                        TARE_NSPAWN, TARE_DOCKER, TARE_PODMAN, TARE_CTR and TARE_QEMU name a program instead of the one found, TARE_KERNEL a guest \
                        kernel."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what this host can measure, what is missing, and the command that fixes it
    Doctor(DoctorArgs),
    /// List contenders and measures, each available or why not
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Measure
    Run(RunArgs),
    /// Draw the page of earlier results
    Report {
        /// A `result.json`, or the directory of a run
        results: PathBuf,
        /// Where to write `index.html` [default: beside the result]
        #[arg(long)]
        out: Option<PathBuf>,
        /// Language of the page
        #[arg(long, default_value = "en")]
        lang: Lang,
    },
    /// Remove whatever a killed run left, and only that
    Clean {
        /// Say what would be removed, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// Options of `tare doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Hold what so many boxes need against every limit of this host's kernel, and name the one that is reached first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), allow_negative_numbers = true)]
    pub instances: Option<u32>,
    /// With --instances: the whole table of these contenders [default: that of tare, and a line for each other]
    #[arg(long, value_delimiter = ',', value_name = "CONTENDERS", requires = "instances")]
    pub only: Vec<String>,
    /// With --instances: as if all boxes lived below this cgroup, which is there already, as `tare run` has it
    #[arg(long, value_name = "PATH", requires = "instances")]
    pub parent_cgroup: Option<ParentCgroup>,
    /// Where runs are kept: what the newest measured of memory is used
    #[arg(long, default_value = "target/tare")]
    pub out: PathBuf,
    /// Print JSON: `host`, `contenders` and `audit` as in a result document, and `limits` with --instances
    #[arg(long)]
    pub json: bool,
}

/// Options of `tare run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// What to measure; `tare list` shows the names [default: all, and in the quick profile `startup`
    /// and `memory`]
    pub measures: Vec<String>,
    /// Only these contenders [default: all; with the quick profile process, floor, tare, tare-lib, runc,
    /// qemu and qemu-microvm]
    #[arg(long, value_delimiter = ',', value_name = "CONTENDERS")]
    pub only: Vec<String>,
    /// All but these contenders
    #[arg(long, value_delimiter = ',', value_name = "CONTENDERS")]
    pub skip: Vec<String>,
    /// How much is measured
    #[arg(long, value_enum, default_value = "quick")]
    pub profile: Profile,
    /// Visit every contender this many times, whatever the profile's time allows
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: Option<u32>,
    /// Seed of the order of visits and of the bootstrap [default: from the clock]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Allow what touches the host itself: `startup` then has cold starts too, before each of which the host's
    /// caches of files are dropped (as root; everybody on this host reads from disk again), and `memory` outside of the
    /// quick profile machines whose equal pages the host merges (KSM, put back after each climb)
    #[arg(long)]
    pub allow_host: bool,
    /// Have all boxes live below this cgroup, which is there already: its path within its hierarchy, as /limited. What
    /// its limits allow is then what there is for them; the lab itself stays outside
    #[arg(long, value_name = "PATH")]
    pub parent_cgroup: Option<ParentCgroup>,
    /// Where runs are kept
    #[arg(long, default_value = "target/tare")]
    pub out: PathBuf,
    /// Print the result document instead of the summary
    #[arg(long)]
    pub json: bool,
}

/// Language of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Lang {
    /// English
    En,
    /// Chinese
    Zh,
}

impl From<Lang> for tare_reports::Lang {
    fn from(lang: Lang) -> Self {
        match lang {
            Lang::En => Self::En,
            Lang::Zh => Self::Zh,
        }
    }
}
