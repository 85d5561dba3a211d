//! The contract of the store, the same tests over every engine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test they are assertions"
)]

mod cases;
mod engines;
mod faults;
mod storm;
mod unanswered;

use engines::{Embedded, Engine, Etcd};

/// One test a case and engine.
macro_rules! contract {
    ($($case:ident)*) => {
        mod embedded {
            use super::Engine;
            $(#[tokio::test(flavor = "multi_thread")] async fn $case() { super::cases::$case(super::Embedded::start()).await; })*
        }
        mod etcd {
            use super::Engine;
            $(#[tokio::test(flavor = "multi_thread")] async fn $case() { super::cases::$case(super::Etcd::start()).await; })*
        }
    };
}

contract! {
    a_write_compares_and_swaps
    pages_are_cut_at_one_revision
    many_writers_and_every_change_is_seen_once_in_order
    values_with_a_time_to_live_go_by_themselves
    what_was_acknowledged_is_there_after_a_crash_and_no_revision_is_used_twice
    a_watch_sees_what_was_there_before_and_what_is_now
    large_values_and_lists_go_through
}
