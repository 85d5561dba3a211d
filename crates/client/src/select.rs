//! Typed label selectors, ready to match.

use api::selector::{LabelSelector, Requirement};
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;

/// A selector of the API as one that matches. None, and operators that do not exist, give none: nothing is selected.
pub fn selector(selector: Option<&meta::LabelSelector>) -> Option<LabelSelector> {
    let selector = selector?;
    let labels = selector.match_labels.iter().flatten();
    let mut requirements: Vec<_> = labels.map(|(k, v)| Requirement::In(k.clone(), vec![v.clone()])).collect();
    for expression in selector.match_expressions.iter().flatten() {
        let (key, values) = (expression.key.clone(), expression.values.clone().unwrap_or_default());
        requirements.push(match expression.operator.as_str() {
            "In" => Requirement::In(key, values),
            "NotIn" => Requirement::NotIn(key, values),
            "Exists" => Requirement::Exists(key),
            "DoesNotExist" => Requirement::Absent(key),
            _ => return None,
        });
    }
    Some(LabelSelector { requirements })
}
