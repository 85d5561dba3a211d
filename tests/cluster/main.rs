//! Scenarios on a real cluster, a file each.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test both are assertions")]

mod addresses;
mod api;
mod bad_input;
mod control_planes;
mod crash;
mod doors;
mod engines;
mod ingress;
mod join;
mod kinds;
mod masters;
mod names;
mod nginx_story;
mod nodes;
mod pages;
mod refusals;
mod roles;
mod scaling;
mod scheduling;
mod stateful;
mod storm;
mod story;
mod streams;
mod suite;
mod tokens;
mod volumes;
mod why;
mod workloads;
