//! Label and field selectors: parsing, matching, printing.
//!
//! Syntax of <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#api>.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::names;

/// One condition of a label selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    /// Key has one of the values.
    In(String, Vec<String>),
    /// Key is absent or has none of the values.
    NotIn(String, Vec<String>),
    /// Key is there.
    Exists(String),
    /// Key is absent.
    Absent(String),
    /// Value, read as an integer, is greater.
    Greater(String, i64),
    /// Value, read as an integer, is less.
    Less(String, i64),
}

impl Requirement {
    fn matches<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        match self {
            Self::In(key, values) => get(key).is_some_and(|v| values.iter().any(|w| w == v)),
            Self::NotIn(key, values) => get(key).is_none_or(|v| values.iter().all(|w| w != v)),
            Self::Exists(key) => get(key).is_some(),
            Self::Absent(key) => get(key).is_none(),
            Self::Greater(key, n) => get(key).and_then(|v| v.parse::<i64>().ok()).is_some_and(|v| v > *n),
            Self::Less(key, n) => get(key).and_then(|v| v.parse::<i64>().ok()).is_some_and(|v| v < *n),
        }
    }
}

/// All of its requirements must hold; without any it matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector {
    /// The conditions.
    pub requirements: Vec<Requirement>,
}

/// A selector that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// The text does not follow the grammar.
    #[error("unable to parse requirement: {0}")]
    Syntax(String),
    /// A key or value breaks the naming rules.
    #[error("{0}")]
    Name(String),
    /// A `labelSelector` object has an operator that does not exist.
    #[error("\"{0}\" is not a valid label selector operator")]
    Operator(String),
}

impl LabelSelector {
    /// Reads `a=b,c!=d,e in (f,g),h,!i,j>1`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for part in split_outside_parens(text) {
            let part = part.trim();
            if !part.is_empty() {
                requirements.push(parse_requirement(part)?);
            } else if !text.trim().is_empty() {
                return Err(SelectorError::Syntax("found ',', expected: identifier after ','".into()));
            }
        }
        Ok(Self { requirements })
    }

    /// Reads a `metav1.LabelSelector` object; null matches nothing, so it gives none.
    pub fn from_object(selector: &Value) -> Result<Option<Self>, SelectorError> {
        if selector.is_null() {
            return Ok(None);
        }
        let mut requirements = Vec::new();
        if let Some(labels) = selector.get("matchLabels").and_then(Value::as_object) {
            for (key, value) in labels {
                let value = value.as_str().unwrap_or_default().to_owned();
                requirements.push(Requirement::In(key.clone(), vec![value]));
            }
        }
        for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            requirements.push(expression_requirement(expression)?);
        }
        Ok(Some(Self { requirements }))
    }

    /// Reads a map of labels that must all be equal.
    pub fn from_map<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        let requirements = labels.into_iter().map(|(k, v)| Requirement::In(k.clone(), vec![v.clone()])).collect();
        Self { requirements }
    }

    /// Whether it selects an object with these labels.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches_by(|key| labels.get(key).map(String::as_str))
    }

    /// Whether it selects an object whose labels `get` looks up.
    pub fn matches_by<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|r| r.matches(&get))
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }
}

fn expression_requirement(expression: &Value) -> Result<Requirement, SelectorError> {
    let key = expression.get("key").and_then(Value::as_str).unwrap_or_default().to_owned();
    let values: Vec<String> = expression
        .get("values")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|v| v.as_str().map(str::to_owned))
        .collect();
    match expression.get("operator").and_then(Value::as_str).unwrap_or_default() {
        "In" => Ok(Requirement::In(key, values)),
        "NotIn" => Ok(Requirement::NotIn(key, values)),
        "Exists" => Ok(Requirement::Exists(key)),
        "DoesNotExist" => Ok(Requirement::Absent(key)),
        other => Err(SelectorError::Operator(other.to_owned())),
    }
}

fn split_outside_parens(text: &str) -> Vec<&str> {
    let mut depth = 0u32;
    text.split(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .collect()
}

fn parse_requirement(part: &str) -> Result<Requirement, SelectorError> {
    if let Some(key) = part.strip_prefix('!') {
        return Ok(Requirement::Absent(checked_key(key)?));
    }
    if let Some((key, value)) = part.split_once("!=") {
        return Ok(Requirement::NotIn(checked_key(key)?, vec![checked_value(key, value)?]));
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Ok(Requirement::In(checked_key(key)?, vec![checked_value(key, value)?]));
    }
    if let Some((key, value)) = part.split_once('>') {
        return Ok(Requirement::Greater(checked_key(key)?, integer(value)?));
    }
    if let Some((key, value)) = part.split_once('<') {
        return Ok(Requirement::Less(checked_key(key)?, integer(value)?));
    }
    match part.split_once(char::is_whitespace) {
        None => Ok(Requirement::Exists(checked_key(part)?)),
        Some((key, rest)) => parse_set(key, rest.trim()),
    }
}

fn parse_set(key: &str, rest: &str) -> Result<Requirement, SelectorError> {
    let (negated, set) = if let Some(set) = rest.strip_prefix("notin") {
        (true, set)
    } else if let Some(set) = rest.strip_prefix("in") {
        (false, set)
    } else {
        return Err(SelectorError::Syntax(format!("found '{rest}', expected: in, notin, =, ==, !=, gt, lt")));
    };
    let inner = set
        .trim()
        .strip_prefix('(')
        .and_then(|s| s.strip_suffix(')'))
        .ok_or_else(|| SelectorError::Syntax(format!("found '{}', expected: '('", set.trim())))?;
    let key = checked_key(key)?;
    let values = inner.split(',').map(|v| checked_value(&key, v)).collect::<Result<Vec<_>, _>>()?;
    Ok(if negated { Requirement::NotIn(key, values) } else { Requirement::In(key, values) })
}

fn checked_key(key: &str) -> Result<String, SelectorError> {
    let key = key.trim();
    names::qualified_name(key)
        .map_err(|e| SelectorError::Name(format!("key: Invalid value: \"{key}\": {e}")))
        .map(|()| key.to_owned())
}

fn checked_value(key: &str, value: &str) -> Result<String, SelectorError> {
    let (key, value) = (key.trim(), value.trim());
    names::label_value(value)
        .map_err(|e| SelectorError::Name(format!("values[0][{key}]: Invalid value: \"{value}\": {e}")))
        .map(|()| value.to_owned())
}

fn integer(value: &str) -> Result<i64, SelectorError> {
    value.trim().parse().map_err(|_| {
        SelectorError::Name(format!(
            "values[0]: Invalid value: \"{}\": for 'Gt', 'Lt' operators, the value must be an integer",
            value.trim()
        ))
    })
}

/// A field selector: `metadata.name=a,status.phase!=Running`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSelector {
    /// Field, value, and whether it must be equal (or must differ).
    pub terms: Vec<(String, String, bool)>,
}

impl FieldSelector {
    /// Reads a field selector; which fields are allowed is for the resource to say.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut terms = Vec::new();
        for term in split_escaped(text) {
            if term.is_empty() {
                continue;
            }
            let (field, value, equal) = if let Some((f, v)) = term.split_once("!=") {
                (f, v, false)
            } else if let Some((f, v)) = term.split_once("==").or_else(|| term.split_once('=')) {
                (f, v, true)
            } else {
                return Err(SelectorError::Syntax(format!("invalid selector: '{text}'; can't understand '{term}'")));
            };
            terms.push((field.to_owned(), unescape(value), equal));
        }
        Ok(Self { terms })
    }

    /// Whether an object whose fields `get` looks up is selected; a field that is not there counts as empty.
    pub fn matches_by<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.terms.iter().all(|(field, value, equal)| (get(field).unwrap_or_default() == value) == *equal)
    }

    /// The value that `field` must be equal to, if the selector says so.
    pub fn required(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|(f, _, equal)| f == field && *equal).map(|(_, v, _)| v.as_str())
    }
}

fn split_escaped(text: &str) -> Vec<&str> {
    let mut escaped = false;
    text.split(|c| {
        let split = c == ',' && !escaped;
        escaped = c == '\\' && !escaped;
        split
    })
    .collect()
}

fn unescape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut escaped = false;
    for c in value.chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            out.push(c);
            escaped = false;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn selects(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        LabelSelector::parse(selector).unwrap().matches(&labels)
    }

    #[test]
    fn the_whole_grammar() {
        let web = [("app", "web"), ("tier", "front"), ("n", "5")];
        for yes in [
            "",
            "app=web",
            "app==web",
            "app!=db",
            "app in (web, db)",
            "app notin (db)",
            "app",
            "!x",
            "n>4",
            "n<6",
            "x!=y",
        ] {
            assert!(selects(yes, &web), "{yes}");
        }
        for no in ["app=db", "app!=web", "app in (db)", "app notin (web,db)", "!app", "x", "n>5", "n<5", "x in (y)"] {
            assert!(!selects(no, &web), "{no}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["app=(", "a in b", "a in (b", "=x", "a,,b", "app=w eb", "n>x", "a foo (b)"] {
            assert!(LabelSelector::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn object_form() {
        let object = json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "DoesNotExist"}]});
        let selector = LabelSelector::from_object(&object).unwrap().unwrap();
        assert!(selector.matches_by(|k| (k == "a").then_some("b")));
        assert!(!selector.matches_by(|_| Some("b")));
        assert_eq!(LabelSelector::from_object(&Value::Null), Ok(None));
    }

    #[test]
    fn fields_with_escapes() {
        let selector = FieldSelector::parse(r"metadata.name=a\,b,status.phase!=Failed").unwrap();
        assert_eq!(selector.required("metadata.name"), Some("a,b"));
        assert!(selector.matches_by(|f| (f == "metadata.name").then_some("a,b")));
        assert!(FieldSelector::parse("nonsense").is_err());
    }
}
