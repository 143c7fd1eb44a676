//! A herd: many boxes of one contender held at the same time, idle, and taken down together.

use super::{Failed, Instance, Lab};
use crate::contenders::Contender;
use crate::site::Site;

impl Lab {
    /// Starts so many boxes, one after another, and holds them.
    ///
    /// On failure every box that this lab holds is taken away, `herd` included.
    ///
    /// # Errors
    /// The first start that failed.
    pub fn hold(
        &mut self,
        contender: &mut dyn Contender,
        site: &Site,
        herd: &mut Vec<Instance>,
        count: u32,
    ) -> Result<(), Failed> {
        for number in 1..=count {
            match self.start(contender, site) {
                Ok(instance) => herd.push(instance),
                Err(failed) => {
                    self.abandon_herd(contender, site, herd);
                    return Err(Failed::new(
                        failed.failure,
                        format!("box {number} of {count}: {}", failed.detail),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Asks all boxes to exit, waits for their ends, has the tool remove them, and checks that nothing is
    /// left.
    ///
    /// # Errors
    /// The first of these that failed; the whole herd is then taken away by force.
    pub fn release(
        &mut self,
        contender: &mut dyn Contender,
        site: &Site,
        mut herd: Vec<Instance>,
    ) -> Result<(), Failed> {
        let released = self.release_gently(contender, site, &mut herd);
        if released.is_err() {
            self.abandon_herd(contender, site, &mut herd);
        }
        released
    }

    /// Lets a herd stay while other boxes are started and stopped beside it: what the spawner has below it
    /// now is no trace of theirs, and no force against them touches it.
    ///
    /// # Errors
    /// When the spawner does not list its children.
    pub fn keep(&mut self, herd: &[Instance]) -> Result<(), Failed> {
        if herd.iter().any(|it| it.scripted.is_none()) {
            let below = self.children()?;
            self.held.extend(below);
        }
        Ok(())
    }

    /// Takes a herd away by force.
    pub fn drop_herd(&mut self, contender: &mut dyn Contender, site: &Site, mut herd: Vec<Instance>) {
        self.abandon_herd(contender, site, &mut herd);
    }

    fn release_gently(
        &mut self,
        contender: &mut dyn Contender,
        site: &Site,
        herd: &mut [Instance],
    ) -> Result<(), Failed> {
        if herd.iter().all(|it| it.scripted.is_some()) {
            return Ok(());
        }
        // They are in hand again.
        self.held.clear();
        herd.iter_mut().for_each(Instance::ask_to_exit);
        for instance in herd.iter_mut() {
            self.ended(instance)?;
        }
        for instance in herd.iter() {
            for undo in contender.teardown(site, &instance.start) {
                self.undo(undo)?;
            }
        }
        herd.iter().try_for_each(|it| self.nothing_left(contender, site, &it.start))
    }

    fn abandon_herd(&mut self, contender: &mut dyn Contender, site: &Site, herd: &mut Vec<Instance>) {
        self.held.clear();
        for instance in herd.drain(..) {
            self.abandon(contender, site, &instance);
        }
    }
}
