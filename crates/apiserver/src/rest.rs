//! What some resources do beside storing: addresses of Services, bindings, evictions, tokens, reviews, scales.

pub(crate) mod claims;
pub(crate) mod eviction;
pub(crate) mod figures;
mod node;
pub(crate) mod pod;
pub(crate) mod quota;
pub(crate) mod review;
pub(crate) mod scale;
pub(crate) mod service;
pub(crate) mod token;

use api::ApiError;
use serde_json::Value;

use crate::context::Context;
use claims::Claim;

/// Takes from the cluster's pools what a new or changed object needs; to be kept or released after the write.
pub(crate) async fn claim(context: &Context, new: &mut Value, old: Option<&Value>) -> Result<Claim, ApiError> {
    let mut claim = Claim::default();
    let claimed = match (context.kind.resource.group, context.kind.resource.plural) {
        ("", "services") if context.subresource.is_empty() => service::claim(context, new, old, &mut claim).await,
        ("", "nodes") if context.subresource.is_empty() => node::claim(context, new, old, &mut claim).await,
        _ => Ok(()),
    };
    let charged = match claimed {
        Ok(()) => quota::charge(context, new, old).await,
        Err(error) => Err(error),
    };
    match charged {
        Ok(charge) => {
            claim.charge = charge;
            Ok(claim)
        }
        Err(error) => {
            claim.release(context).await;
            Err(error)
        }
    }
}

/// Gives back what a deleted object held.
pub(crate) async fn released(context: &Context, last: &Value) {
    match (context.kind.resource.group, context.kind.resource.plural) {
        ("", "services") => service::release(context, last).await,
        ("", "nodes") => node::release(context, last).await,
        _ => {}
    }
}
