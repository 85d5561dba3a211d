//! Which Ingresses are the built-in gateway's: the gateway, and the controller that tells where it answers, ask.

use std::borrow::Borrow;
use std::collections::BTreeSet;

use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The controller that classes of the built-in gateway name.
pub const CONTROLLER: &str = "oxikube.io/gateway";
/// The class that a cluster begins with.
pub const CLASS: &str = "oxikube";
/// On a class: Ingresses that name none get it.
pub const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";
/// On a node: the ports at which its gateway answers, as `80,443`.
pub const PORTS: &str = "gateway.oxikube.io/ports";
/// On an Ingress: its class, from before there was a field for it.
pub const OLD_CLASS: &str = "kubernetes.io/ingress.class";

/// The classes of the built-in gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Classes {
    ours: BTreeSet<String>,
    /// One of them is the default.
    is_default: bool,
}

impl Classes {
    /// Of all classes, those of the gateway.
    pub fn of<C: Borrow<IngressClass>>(classes: impl IntoIterator<Item = C>) -> Self {
        let mut found = Self::default();
        for class in classes {
            let class: &IngressClass = class.borrow();
            let controller = class.spec.as_ref().and_then(|spec| spec.controller.as_deref());
            if controller == Some(CONTROLLER) {
                found.ours.extend(class.metadata.name.clone());
                found.is_default |= annotation(&class.metadata, DEFAULT_CLASS) == Some("true");
            }
        }
        found
    }

    /// Whether the gateway serves it. One without a class, made before there was a default one, goes to the default.
    pub fn serve(&self, ingress: &Ingress) -> bool {
        let named = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
        match named.or_else(|| annotation(&ingress.metadata, OLD_CLASS)) {
            Some(name) => self.ours.contains(name),
            None => self.is_default,
        }
    }
}

fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn class(name: &str, controller: &str, default: bool) -> IngressClass {
        let annotations = if default { json!({ DEFAULT_CLASS: "true" }) } else { json!({}) };
        let object =
            json!({"metadata": {"name": name, "annotations": annotations}, "spec": {"controller": controller}});
        serde_json::from_value(object).unwrap()
    }

    fn ingress(class: Value, annotations: Value) -> Ingress {
        let object = json!({"metadata": {"annotations": annotations}, "spec": {"ingressClassName": class}});
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_foreign_class_is_left_alone() {
        let classes = Classes::of([class("oxikube", CONTROLLER, false), class("nginx", "k8s.io/ingress-nginx", true)]);
        assert!(classes.serve(&ingress("oxikube".into(), json!({}))));
        assert!(!classes.serve(&ingress("nginx".into(), json!({}))));
        assert!(!classes.serve(&ingress("nobody".into(), json!({}))));
        assert!(!classes.serve(&ingress(Value::Null, json!({}))), "the default class is somebody else's");
    }

    #[test]
    fn without_a_class_it_goes_to_the_default_one() {
        let classes = Classes::of([class("oxikube", CONTROLLER, true)]);
        assert!(classes.serve(&ingress(Value::Null, json!({}))));
        assert!(classes.serve(&ingress(Value::Null, json!({ OLD_CLASS: "oxikube" }))));
        assert!(!classes.serve(&ingress(Value::Null, json!({ OLD_CLASS: "nginx" }))));
    }
}
