//! The generic store of one resource: what create, get, list, watch, update, patch and delete mean for any kind.
//!
//! Works on JSON trees; what is particular to a kind comes from its [`kinds::Rules`].

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod list;
pub(crate) mod metadata;
pub(crate) mod notyet;
pub(crate) mod object;
pub(crate) mod options;
pub(crate) mod patch;
pub(crate) mod table;
mod token;
pub(crate) mod update;
pub(crate) mod watch;

pub(crate) use object::Object;
pub(crate) use options::{Options, Validation};
