//! Waiting for a condition, with a bound.

use std::time::{Duration, Instant};

/// Tries until `check` gives something; panics with the last reason after 60 seconds.
///
/// # Panics
/// When the time is over: the test has failed.
#[allow(clippy::panic, reason = "a test that waited in vain has failed")]
pub fn eventually<T>(what: &str, mut check: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        match check() {
            Ok(found) => return found,
            Err(why) if Instant::now() > end => panic!("{what}: not within 60 s: {why}"),
            Err(_) => std::thread::sleep(Duration::from_millis(30)),
        }
    }
}
