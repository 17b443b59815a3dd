//! Text for people: on standard output, on standard error and in the log.

pub mod color;
pub mod console;
pub mod human;
pub mod logging;
pub mod progress;
