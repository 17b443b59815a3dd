//! A progress bar with rate and remaining time, on a terminal.

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

use crate::ui::human::Escaped;

const TEMPLATE: &str = "{percent:>3}% [{bar:24}] {decimal_bytes} of {decimal_total_bytes}, \
                        {decimal_bytes_per_sec}, {eta} left: {wide_msg}";

/// A progress bar on standard error, which is cleared when this is dropped. It is hidden where
/// standard error is not a terminal. All threads of the work may advance it.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Returns a bar for `total_bytes` bytes of `what`, such as the name of a file.
    pub fn new(total_bytes: u64, what: &[u8]) -> Self {
        // indicatif hides it where standard error is not a terminal.
        let bar = ProgressBar::new(total_bytes)
            .with_message(Escaped(what).to_string())
            .with_finish(ProgressFinish::AndClear);
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar }
    }

    /// Returns a bar that is always hidden.
    pub fn hidden() -> Self {
        Self {
            bar: ProgressBar::hidden(),
        }
    }

    /// Advances the bar by `bytes` bytes.
    pub fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// Clears the bar, as dropping it does.
    pub fn finish(self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_valid() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }

    #[test]
    fn all_threads_advance_the_bar() {
        let progress = Progress::new(1000, b"frame.npz");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10).for_each(|_| progress.advance(25)));
            }
        });
        assert_eq!(progress.bar.position(), 1000);
        progress.finish();
    }
}
