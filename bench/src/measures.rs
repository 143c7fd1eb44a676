//! What is measured: one question per file, and one list.
//!
//! To add one: a file with a type that implements [`Measure`], and a line in [`all`]. Nothing else.

pub mod startup;

use anyhow::Result;
use tare_reports::document::Unit;

use crate::contenders::Contender;
use crate::lab::Lab;
use crate::record::Visit;
use crate::site::Site;

/// One question, asked of one instance of one contender at a time.
pub trait Measure {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// The question in one line.
    fn about(&self) -> &'static str;

    /// What it brings, with units.
    fn quantities(&self) -> &'static [(&'static str, Unit)];

    /// Visits a contender once and records one sample, value or failure, for every quantity.
    fn visit(&self, lab: &mut Lab, site: &Site, contender: &mut dyn Contender, visit: &mut Visit<'_>);
}

/// All measures.
///
/// # Errors
/// When `TARE_FAULT` has a form that nobody understands.
pub fn all() -> Result<Vec<Box<dyn Measure>>> {
    Ok(vec![Box::new(startup::Startup::new()?)])
}
