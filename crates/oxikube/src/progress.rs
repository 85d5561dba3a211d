//! What is being done, on a terminal as a line that moves, elsewhere as plain lines.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Progress of a command.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    current: String,
    since: Instant,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { bar: None, current: String::new(), since: Instant::now() }
    }

    /// A step begins, or says more of what it waits for.
    pub(crate) fn start(&mut self, what: &str) {
        if self.current.is_empty() {
            self.since = Instant::now();
        }
        self.current = what.to_owned();
        if !std::io::stdout().is_terminal() {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let style =
                ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
            let bar = ProgressBar::new_spinner().with_style(style);
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        bar.set_message(what.to_owned());
    }

    /// A step is done.
    pub(crate) fn done(&mut self, what: &str) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        let took = if self.current.is_empty() { Duration::ZERO } else { self.since.elapsed() };
        println!("✓ {what} ({:.1} s)", took.as_secs_f64());
        self.current.clear();
    }

    /// What is waited for.
    pub(crate) fn current(&self) -> &str {
        &self.current
    }
}
