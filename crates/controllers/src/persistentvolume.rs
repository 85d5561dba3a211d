//! Binds claims to volumes and decides what becomes of a volume whose claim is gone (persistentvolume-binder).

mod plan;
mod plan_volume;
mod run;
#[cfg(test)]
mod tests;

pub(crate) use run::run;
