//! Which pod comes first: the more important, then the one that waits longer.

use std::cmp::Reverse;

use tokio::time::Instant;

/// Orders the active queue, first comes first.
pub(crate) type Rank = (Reverse<i32>, Instant, u64);

pub(crate) fn rank(priority: i32, since: Instant, sequence: u64) -> Rank {
    (Reverse(priority), since, sequence)
}
