//! Structural schemas and what is driven by them: pruning, type checks, defaults, the patch formats, server-side
//! apply with managed fields, and OpenAPI documents. Everything works on JSON trees; nothing here does I/O.

mod builtin;
mod check;
mod defaults;
mod facts;
pub mod managed;
mod node;
pub mod openapi;
pub mod patch;
mod path;
mod prune;

pub use builtin::builtin;
pub use check::TypeMismatch;
pub use node::Schema;

#[cfg(test)]
mod properties;
