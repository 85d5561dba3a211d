//! ResourceQuotas: what a new or changed object costs is taken from all quotas that it counts towards, or it is refused.

use api::{ApiError, Quantity};
use futures::FutureExt;
use futures::future::BoxFuture;
use kinds::quota::{self, Amounts};
use serde_json::{Value, json};

use crate::context::Context;
use crate::registry::list::Selection;

/// What was taken from quotas for a write, by their names.
#[derive(Default)]
pub(crate) struct Charge {
    taken: Vec<(String, Amounts)>,
}

impl Charge {
    /// The write was not done: gives it back.
    pub(crate) fn release<'a>(&'a self, context: &'a Context) -> BoxFuture<'a, ()> {
        // Boxed: a quota is an object that is written on the way.
        async move {
            for (name, amounts) in &self.taken {
                let Ok(quotas) = context.server.own("", "resourcequotas", &context.namespace) else { return };
                let back = |shown: &Value| Ok(changed(shown, amounts, |used, amount| used - amount));
                if let Err(error) = quotas.subresource("status").change(name, back).await
                    && error.reason != "NotFound"
                {
                    tracing::warn!(quota = name, %error, "what a refused write had taken was not given back");
                }
            }
        }
        .boxed()
    }
}

/// Takes what the object costs more than it did.
pub(crate) fn charge<'a>(
    context: &'a Context,
    new: &'a Value,
    old: Option<&'a Value>,
) -> BoxFuture<'a, Result<Charge, ApiError>> {
    charge_now(context, new, old).boxed()
}

async fn charge_now(context: &Context, new: &Value, old: Option<&Value>) -> Result<Charge, ApiError> {
    let resource = context.kind.resource;
    let mut charge = Charge::default();
    if !resource.namespaced() || !context.subresource.is_empty() || resource.plural == "events" {
        return Ok(charge);
    }
    let quotas = context.server.own("", "resourcequotas", &context.namespace)?.select(&Selection::default()).await?;
    if quotas.is_empty() {
        return Ok(charge);
    }
    let costs = quota::usage(resource.group, resource.plural, new);
    let before = old.map(|old| quota::usage(resource.group, resource.plural, old)).unwrap_or_default();
    let more = |name: &str, amount: Quantity| amount - before.get(name).copied().unwrap_or_default();
    let delta: Amounts = costs.iter().map(|(name, amount)| (name.clone(), more(name, *amount))).collect();
    let delta: Amounts = delta.into_iter().filter(|(_, amount)| !amount.is_zero()).collect();
    if delta.is_empty() {
        return Ok(charge);
    }
    for object in quotas {
        let quota = object.tree()?;
        if !quota::counts(&quota, resource.group, resource.plural, new) {
            continue;
        }
        let result = take(context, &quota, new, old.is_none(), &delta).await;
        match result {
            Ok(Some(taken)) => charge.taken.push((api::meta::name(&quota).to_owned(), taken)),
            Ok(None) => {}
            Err(error) => {
                charge.release(context).await;
                return Err(error);
            }
        }
    }
    Ok(charge)
}

fn hard(quota: &Value) -> Amounts {
    let status = quota.pointer("/status/hard").filter(|hard| hard.as_object().is_some_and(|hard| !hard.is_empty()));
    quota::amounts(status.or_else(|| quota.pointer("/spec/hard")))
}

/// None where the quota says nothing about what the object costs.
async fn take(
    context: &Context,
    quota: &Value,
    new: &Value,
    is_new: bool,
    delta: &Amounts,
) -> Result<Option<Amounts>, ApiError> {
    let (name, limits) = (api::meta::name(quota), hard(quota));
    let forbidden = |why: &str| context.kind.forbidden(api::meta::name(new), why);
    let is_pod = context.kind.resource.group.is_empty() && context.kind.resource.plural == "pods";
    if is_pod
        && is_new
        && let Some(unsaid) = quota::unsaid(new, limits.keys().map(String::as_str))
    {
        return Err(forbidden(&format!("failed quota: {name}: {unsaid}")));
    }
    let costs: Amounts =
        delta.iter().filter(|(name, _)| limits.contains_key(*name)).map(|(n, a)| (n.clone(), *a)).collect();
    if costs.is_empty() {
        return Ok(None);
    }
    let spend = |shown: &Value| {
        check(shown, &costs).map_err(|why| forbidden(&why))?;
        Ok(changed(shown, &costs, |used, amount| used + amount))
    };
    if context.options.dry_run {
        spend(quota)?;
        return Ok(None);
    }
    let quotas = context.server.own("", "resourcequotas", &context.namespace)?.subresource("status");
    match quotas.change(name, spend).await {
        Ok(_) => Ok(Some(costs)),
        // Deleted meanwhile: it limits nothing.
        Err(error) if error.reason == "NotFound" && error.message.contains("resourcequotas") => Ok(None),
        Err(error) => Err(error),
    }
}

fn check(quota: &Value, costs: &Amounts) -> Result<(), String> {
    let (name, limits) = (api::meta::name(quota), hard(quota));
    let used = quota::amounts(quota.pointer("/status/used"));
    let unknown: Vec<&str> = costs.keys().filter(|name| !used.contains_key(*name)).map(String::as_str).collect();
    if !unknown.is_empty() {
        return Err(format!("status unknown for quota: {name}, resources: {}", unknown.join(",")));
    }
    let of = |amounts: &Amounts, name: &str| amounts.get(name).copied().unwrap_or_default();
    // Giving something back is always allowed.
    let exceeds =
        |(name, cost): &(&String, &Quantity)| !cost.is_negative() && of(&used, name) + **cost > of(&limits, name);
    let exceeded: Vec<&String> = costs.iter().filter(exceeds).map(|(name, _)| name).collect();
    if exceeded.is_empty() {
        return Ok(());
    }
    let list = |amounts: &Amounts| {
        let texts = exceeded.iter().map(|name| format!("{name}={}", quota::spelled(name, of(amounts, name))));
        texts.collect::<Vec<_>>().join(",")
    };
    let (requested, used, limited) = (list(costs), list(&used), list(&limits));
    Err(format!("exceeded quota: {name}, requested: {requested}, used: {used}, limited: {limited}"))
}

fn changed(quota: &Value, amounts: &Amounts, how: fn(Quantity, Quantity) -> Quantity) -> Value {
    let mut used = quota::amounts(quota.pointer("/status/used"));
    for (name, amount) in amounts {
        if let Some(before) = used.get_mut(name) {
            *before = how(*before, *amount).max(Quantity::default());
        }
    }
    let used: serde_json::Map<_, _> =
        used.iter().map(|(name, amount)| (name.clone(), quota::spelled(name, *amount).into())).collect();
    let mut changed = quota.clone();
    api::meta::child_mut(api::meta::map_mut(&mut changed), "status").insert("used".into(), json!(used));
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exceeds_is_named() {
        let quota = json!({"metadata": {"name": "q"}, "spec": {}, "status": {
            "hard": {"pods": "2", "requests.memory": "1Gi", "cpu": "1"},
            "used": {"pods": "2", "requests.memory": "512Mi", "cpu": "500m"}}});
        let costs = |map: Value| quota::amounts(Some(&map));
        assert_eq!(check(&quota, &costs(json!({"cpu": "500m"}))), Ok(()));
        let why = check(&quota, &costs(json!({"pods": "1", "requests.memory": "1Gi", "cpu": "100m"}))).unwrap_err();
        let expected = "exceeded quota: q, requested: pods=1,requests.memory=1Gi, used: pods=2,requests.memory=512Mi, limited: pods=2,requests.memory=1Gi";
        assert_eq!(why, expected);
        let unknown = json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}});
        let why = check(&unknown, &costs(json!({"pods": "1"}))).unwrap_err();
        assert_eq!(why, "status unknown for quota: q, resources: pods");
    }
}
