//! What several controllers need.

pub(crate) mod claimant;
pub(crate) mod claims;
pub(crate) mod discovery;
pub(crate) mod expectations;
pub(crate) mod finalizer;
pub(crate) mod hash;
pub(crate) mod owner;
pub(crate) mod pod_control;
pub(crate) mod pods;
pub(crate) mod revisions;
pub(crate) mod scale;
pub(crate) mod share;
pub(crate) mod slim;
pub(crate) mod slow_start;
pub(crate) mod status;
pub(crate) mod victims;
