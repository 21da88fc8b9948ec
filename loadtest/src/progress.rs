//! What a person sees while a run goes on: one line on the terminal, nothing in a pipe.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn start(steps: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(steps);
        // A wrong template would be a bug here; the built-in style is good enough then.
        if let Ok(style) =
            ProgressStyle::with_template("{elapsed_precise} {bar:30} {pos}/{len} {msg}")
        {
            bar.set_style(style);
        }
        Self(bar)
    }

    pub(crate) fn show(&self, step: u64, message: String) {
        self.0.set_position(step);
        self.0.set_message(message);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
