//! Labels and label selectors.

use api::field::FieldError;
use api::names;

use super::{At, Errors};

/// A map of labels; complaints name the map.
pub(crate) fn labels(at: &At<'_>, errors: &mut Errors) {
    for (key, value) in at.entries() {
        if let Err(why) = names::qualified_name(key) {
            errors.push(FieldError::invalid(&at.path, &key.into(), why));
        }
        if let Err(why) = names::label_value(value.str()) {
            errors.push(FieldError::invalid(&at.path, value.value, why));
        }
    }
}

/// A `LabelSelector`.
pub(crate) fn label_selector(at: &At<'_>, errors: &mut Errors) {
    labels(&at.get("matchLabels"), errors);
    for expression in at.get("matchExpressions").items() {
        let (key, operator, values) = (expression.get("key"), expression.get("operator"), expression.get("values"));
        match operator.str() {
            "In" | "NotIn" if values.is_empty() => {
                errors.push(values.required("must be specified when `operator` is 'In' or 'NotIn'"));
            }
            "In" | "NotIn" => {}
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                errors.push(values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
            }
            "Exists" | "DoesNotExist" => {}
            _ => errors.push(operator.invalid("not a valid selector operator")),
        }
        super::named(&key, names::qualified_name, errors);
        for value in values.items() {
            super::named(&value, names::label_value, errors);
        }
    }
}
