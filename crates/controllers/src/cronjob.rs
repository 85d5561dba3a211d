//! CronJobs: Jobs on a schedule.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/>

mod plan;
mod run;
#[cfg(test)]
mod tests;

pub(crate) use run::run;
