//! What several controllers need.

pub(crate) mod discovery;
pub(crate) mod expectations;
pub(crate) mod hash;
pub(crate) mod owner;
pub(crate) mod pods;
pub(crate) mod slim;
pub(crate) mod slow_start;
pub(crate) mod status;
