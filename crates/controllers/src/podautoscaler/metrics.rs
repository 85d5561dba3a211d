//! Figures, as the metrics APIs tell them.

use std::collections::BTreeMap;

use api::Quantity;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use serde_json::Value;

use super::replicas::Figure;

/// Asks the metrics APIs.
pub(super) struct Metrics {
    pub(super) client: kube::Client,
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// A selector as a query says it.
pub(super) fn selector_text(selector: Option<&meta::LabelSelector>) -> String {
    let labels = selector.iter().flat_map(|selector| selector.match_labels.iter().flatten());
    let mut parts: Vec<String> = labels.map(|(key, value)| format!("{key}={value}")).collect();
    for expression in selector.iter().flat_map(|selector| selector.match_expressions.iter().flatten()) {
        let values = expression.values.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(",");
        parts.push(match expression.operator.as_str() {
            "In" => format!("{} in ({values})", expression.key),
            "NotIn" => format!("{} notin ({values})", expression.key),
            "DoesNotExist" => format!("!{}", expression.key),
            _ => expression.key.clone(),
        });
    }
    parts.join(",")
}

fn quantity(value: Option<&Value>) -> Option<Quantity> {
    Quantity::parse(value?.as_str()?).ok()
}

fn time_of(item: &Value) -> Timestamp {
    item.get("timestamp").and_then(Value::as_str).and_then(|text| text.parse().ok()).unwrap_or_default()
}

impl Metrics {
    async fn get(&self, path: &str) -> Result<Value, String> {
        let request = http::Request::get(path).body(Vec::new()).map_err(|error| error.to_string())?;
        self.client.request::<Value>(request).await.map_err(|error| crate::common::pod_control::message(&error))
    }

    /// What each pod uses of a resource.
    pub(super) async fn resource(
        &self,
        namespace: &str,
        selector: &str,
        resource: &str,
        container: Option<&str>,
    ) -> Result<BTreeMap<String, Figure>, String> {
        let path =
            format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods?labelSelector={}", encoded(selector));
        let failed = |why: String| {
            format!(
                "unable to get metrics for resource {resource}: unable to fetch metrics from resource metrics API: {why}"
            )
        };
        let list = self.get(&path).await.map_err(failed)?;
        let figures = read_pods(&list, resource, container);
        if figures.is_empty() {
            return Err(format!(
                "unable to get metrics for resource {resource}: no metrics returned from resource metrics API"
            ));
        }
        Ok(figures)
    }

    /// What each pod says of itself.
    pub(super) async fn pods(
        &self,
        namespace: &str,
        selector: &str,
        metric: &str,
        of: &str,
    ) -> Result<BTreeMap<String, Figure>, String> {
        let path = format!(
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/{namespace}/pods/*/{}?labelSelector={}&metricLabelSelector={}",
            encoded(metric),
            encoded(selector),
            encoded(of)
        );
        let list = self.get(&path).await.map_err(|why| {
            format!("unable to get metric {metric}: unable to fetch metrics from custom metrics API: {why}")
        })?;
        let items = list.get("items").and_then(Value::as_array).into_iter().flatten();
        Ok(items.filter_map(|item| Some((at(item, "/describedObject/name"), figure(item)?))).collect())
    }

    /// What an object says of itself, in thousandths.
    pub(super) async fn object(
        &self,
        namespace: &str,
        resource: &str,
        name: &str,
        metric: &str,
        of: &str,
    ) -> Result<i64, String> {
        let path = format!(
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/{namespace}/{resource}/{name}/{}?metricLabelSelector={}",
            encoded(metric),
            encoded(of)
        );
        let failed = |why: String| format!("unable to get metric {metric}: {resource} on {namespace} {name}/{why}");
        let list = self.get(&path).await.map_err(failed)?;
        let value = list.pointer("/items/0").and_then(figure).map(|figure| figure.milli);
        value.ok_or_else(|| failed("no metrics returned".into()))
    }

    /// What somebody outside says, in thousandths, all together.
    pub(super) async fn external(&self, namespace: &str, metric: &str, of: &str) -> Result<i64, String> {
        let path = format!(
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{}?labelSelector={}",
            encoded(metric),
            encoded(of)
        );
        let failed = |why: String| {
            format!(
                "unable to get external metric {namespace}/{metric}: unable to fetch metrics from external metrics API: {why}"
            )
        };
        let list = self.get(&path).await.map_err(failed)?;
        let items = list.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if items.is_empty() {
            return Err(failed("no metrics returned from external metrics API".into()));
        }
        Ok(items.iter().filter_map(|item| Some(quantity(item.get("value"))?.milli_value())).sum())
    }
}

fn at(item: &Value, pointer: &str) -> String {
    item.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn figure(item: &Value) -> Option<Figure> {
    let milli = quantity(item.get("value"))?.milli_value();
    let seconds = item.get("windowSeconds").and_then(Value::as_i64).unwrap_or(60);
    Some(Figure { milli, at: time_of(item), window: SignedDuration::from_secs(seconds) })
}

/// The pods of a list all of whose containers have a figure.
pub(super) fn read_pods(list: &Value, resource: &str, container: Option<&str>) -> BTreeMap<String, Figure> {
    let mut figures = BTreeMap::new();
    for item in list.get("items").and_then(Value::as_array).into_iter().flatten() {
        let containers = item.get("containers").and_then(Value::as_array).into_iter().flatten();
        let wanted = containers.filter(|one| container.is_none_or(|name| at(one, "/name") == name));
        let amounts: Option<Vec<i64>> = wanted
            .map(|one| Some(quantity(one.get("usage").and_then(|usage| usage.get(resource)))?.milli_value()))
            .collect();
        let Some(amounts) = amounts.filter(|amounts| !amounts.is_empty()) else { continue };
        let window = item.get("window").and_then(Value::as_str).and_then(|text| text.parse().ok());
        let window: SignedDuration = window.unwrap_or(SignedDuration::from_secs(60));
        figures.insert(at(item, "/metadata/name"), Figure { milli: amounts.iter().sum(), at: time_of(item), window });
    }
    figures
}
