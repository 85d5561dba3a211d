//! What some resources do beside storing: addresses of Services, bindings, evictions, tokens, reviews, scales.

pub(crate) mod eviction;
pub(crate) mod figures;
pub(crate) mod pod;
pub(crate) mod quota;
pub(crate) mod review;
pub(crate) mod scale;
pub(crate) mod service;
pub(crate) mod token;

use api::ApiError;
use serde_json::Value;

use crate::context::Context;
use quota::Charge;

/// What was taken for a write.
#[derive(Default)]
pub(crate) struct Claim {
    service: service::Claim,
    charge: Charge,
}

impl Claim {
    /// The write was done: what the object no longer names is free again.
    pub(crate) async fn keep(&self, context: &Context) {
        self.service.keep(context).await;
    }

    /// The write was not done.
    pub(crate) async fn release(&self, context: &Context) {
        self.service.release(context).await;
        self.charge.release(context).await;
    }
}

/// Takes from the cluster's pools what a new or changed object needs; to be kept or released after the write.
pub(crate) async fn claim(context: &Context, new: &mut Value, old: Option<&Value>) -> Result<Claim, ApiError> {
    let service = match (context.kind.resource.group, context.kind.resource.plural) {
        ("", "services") if context.subresource.is_empty() => service::claim(context, new, old).await?,
        _ => service::Claim::default(),
    };
    match quota::charge(context, new, old).await {
        Ok(charge) => Ok(Claim { service, charge }),
        Err(error) => {
            service.release(context).await;
            Err(error)
        }
    }
}

/// Gives back what a deleted object held.
pub(crate) async fn released(context: &Context, last: &Value) {
    if context.kind.resource.group.is_empty() && context.kind.resource.plural == "services" {
        service::release(context, last).await;
    }
}
