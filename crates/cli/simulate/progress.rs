//! How far a simulation is, on a terminal: a bar with an estimate.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use larder_simulator::Stage;

use crate::{output, terminal};

/// A bar, or nothing where standard error is no terminal.
pub(super) struct Progress {
    bar: ProgressBar,
    bytes: u64,
    stage: Option<Stage>,
}

impl Progress {
    /// For inputs of so many bytes.
    pub(super) fn new(bytes: u64) -> Self {
        let target = if terminal::shows_progress() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(bytes), target);
        let style = ProgressStyle::with_template("{msg} [{wide_bar}] {percent}%, {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        Self { bar, bytes, stage: None }
    }

    /// So many bytes were read in a stage.
    pub(super) fn show(&mut self, stage: Stage, bytes: u64) {
        if self.stage != Some(stage) {
            self.stage = Some(stage);
            self.bar.reset();
            self.bar.set_message(match stage {
                Stage::Looking => "looking at it",
                _ => "replaying",
            });
        }
        self.bar.set_position(bytes.min(self.bytes));
    }

    /// Says something above the bar.
    pub(super) fn tell(&self, text: &str) {
        self.bar.suspend(|| output::note(text));
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
