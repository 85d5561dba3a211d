//! Walking a tree and complaining about it: a value that knows its path, and the checks that many kinds share.

pub(crate) mod resource;
mod selector;

pub(crate) use selector::{label_selector, labels};

use api::field::FieldError;
use serde_json::Value;

/// Complaints so far.
pub(crate) type Errors = Vec<FieldError>;

/// Text for a value below zero.
pub(crate) const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
/// Text for a change of what may not change.
pub(crate) const IMMUTABLE: &str = "field is immutable";

static NULL: Value = Value::Null;

/// A value and the path to it; a field that is not there is null.
#[derive(Clone)]
pub(crate) struct At<'a> {
    pub(crate) value: &'a Value,
    pub(crate) path: String,
}

impl<'a> At<'a> {
    /// The field of an object, with a path that starts there.
    pub(crate) fn field(object: &'a Value, field: &str) -> Self {
        Self { value: object.get(field).unwrap_or(&NULL), path: field.to_owned() }
    }

    /// A value with a path of one's own making.
    pub(crate) fn new(value: &'a Value, path: impl Into<String>) -> Self {
        Self { value, path: path.into() }
    }

    pub(crate) fn get(&self, field: &str) -> Self {
        Self { value: self.value.get(field).unwrap_or(&NULL), path: format!("{}.{field}", self.path) }
    }

    /// Items of a list; none where there is no list.
    pub(crate) fn items(&self) -> impl Iterator<Item = At<'a>> + use<'a> {
        let path = self.path.clone();
        let list = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().enumerate().map(move |(i, value)| At { value, path: format!("{path}[{i}]") })
    }

    /// Entries of a map; none where there is no map.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'a str, At<'a>)> + use<'a> {
        let path = self.path.clone();
        let map = self.value.as_object().into_iter().flatten();
        map.map(move |(key, value)| (key.as_str(), At { value, path: format!("{path}[{key}]") }))
    }

    pub(crate) fn str(&self) -> &'a str {
        self.value.as_str().unwrap_or_default()
    }

    /// An amount as it was written.
    pub(crate) fn spelled(&self) -> String {
        self.value.as_str().map_or_else(|| self.value.to_string(), str::to_owned)
    }

    pub(crate) fn int(&self) -> Option<i64> {
        self.value.as_i64()
    }

    pub(crate) fn is_true(&self) -> bool {
        self.value.as_bool() == Some(true)
    }

    pub(crate) fn is_set(&self) -> bool {
        !self.value.is_null()
    }

    /// Null, or empty of its type.
    pub(crate) fn is_empty(&self) -> bool {
        match self.value {
            Value::Null => true,
            Value::String(s) => s.is_empty(),
            Value::Array(a) => a.is_empty(),
            Value::Object(o) => o.is_empty(),
            _ => false,
        }
    }

    pub(crate) fn required(&self, why: &str) -> FieldError {
        FieldError::required(&self.path, why)
    }

    pub(crate) fn invalid(&self, why: impl Into<String>) -> FieldError {
        FieldError::invalid(&self.path, self.value, why)
    }

    /// As [`Self::invalid`], without the value.
    pub(crate) fn invalid_as_a_whole(&self, why: impl Into<String>) -> FieldError {
        FieldError::invalid_as_a_whole(&self.path, why)
    }

    /// How many items the list has.
    pub(crate) fn count(&self) -> usize {
        self.value.as_array().map_or(0, Vec::len)
    }

    /// A complaint if the list has more items than allowed.
    pub(crate) fn at_most(&self, most: usize, errors: &mut Errors) {
        if self.count() > most {
            errors.push(FieldError::too_many(&self.path, self.count(), most));
        }
    }

    pub(crate) fn forbidden(&self, why: impl Into<String>) -> FieldError {
        FieldError::forbidden(&self.path, why)
    }

    pub(crate) fn duplicate(&self) -> FieldError {
        FieldError::duplicate(&self.path, self.value)
    }

    pub(crate) fn not_supported(&self, supported: &[&str]) -> FieldError {
        FieldError::not_supported(&self.path, self.value, supported)
    }
}

/// One of a few texts; empty passes.
pub(crate) fn one_of(at: &At<'_>, supported: &[&str], errors: &mut Errors) {
    if !at.is_empty() && !supported.contains(&at.str()) {
        errors.push(at.not_supported(supported));
    }
}

/// One of a few texts; empty is missing.
pub(crate) fn required_one_of(at: &At<'_>, supported: &[&str], errors: &mut Errors) {
    if at.is_empty() {
        errors.push(at.required(""));
    }
    one_of(at, supported, errors);
}

pub(crate) fn required(at: &At<'_>, errors: &mut Errors) -> bool {
    if at.is_empty() {
        errors.push(at.required(""));
    }
    !at.is_empty()
}

pub(crate) fn not_negative(at: &At<'_>, errors: &mut Errors) {
    if at.int().is_some_and(|n| n < 0) {
        errors.push(at.invalid(NOT_NEGATIVE));
    }
}

/// A number within bounds; absent passes.
pub(crate) fn between(at: &At<'_>, low: i64, high: i64, errors: &mut Errors) {
    if at.int().is_some_and(|n| n < low || n > high) {
        errors.push(at.invalid(format!("must be between {low} and {high}, inclusive")));
    }
}

/// A port's number; absent counts as 0.
pub(crate) fn port(at: &At<'_>, errors: &mut Errors) {
    let number = at.int().unwrap_or(0);
    if !(1..=65535).contains(&number) {
        errors.push(FieldError::invalid(&at.path, &number.into(), "must be between 1 and 65535, inclusive"));
    }
}

/// A port's number or name.
pub(crate) fn port_or_name(at: &At<'_>, errors: &mut Errors) {
    match at.value {
        Value::String(name) => errors.extend(port_name(name).into_iter().map(|why| at.invalid(why))),
        _ => port(at, errors),
    }
}

/// What is wrong with the name of a port.
pub(crate) fn port_name(name: &str) -> Vec<&'static str> {
    let mut wrong = Vec::new();
    if name.len() > 15 {
        wrong.push("must be no more than 15 characters");
    }
    if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') || name.is_empty() {
        wrong.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    }
    if !name.bytes().any(|b| b.is_ascii_lowercase()) {
        wrong.push("must contain at least one letter (a-z)");
    }
    if name.contains("--") {
        wrong.push("must not contain consecutive hyphens");
    }
    if name.starts_with('-') || name.ends_with('-') {
        wrong.push("must not begin or end with a hyphen");
    }
    wrong
}

/// A domain and a path: `acme.io/foo`.
pub(crate) fn domain_prefixed_path(at: &At<'_>, errors: &mut Errors) {
    if !required(at, errors) {
        return;
    }
    let Some((host, path)) = at.str().split_once('/').filter(|(host, path)| !host.is_empty() && !path.is_empty())
    else {
        errors.push(at.invalid("must be a domain-prefixed path (such as \"acme.io/foo\")"));
        return;
    };
    if let Err(why) = api::names::dns_subdomain(host) {
        errors.push(FieldError::invalid(&at.path, &host.into(), why));
    }
    if !path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b)) {
        let why =
            "must be a valid path (e.g. '/path', regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";
        errors.push(FieldError::invalid(&at.path, &path.into(), why));
    }
}

/// A text that keeps a rule of names; `rule` is one of [`api::names`].
pub(crate) fn named(at: &At<'_>, rule: fn(&str) -> Result<(), String>, errors: &mut Errors) {
    if let Err(why) = rule(at.str()) {
        errors.push(at.invalid(why));
    }
}

/// As [`named`]; empty is missing.
pub(crate) fn required_named(at: &At<'_>, rule: fn(&str) -> Result<(), String>, errors: &mut Errors) {
    if required(at, errors) {
        named(at, rule, errors);
    }
}

/// As [`named`]; empty passes.
pub(crate) fn optional_named(at: &At<'_>, rule: fn(&str) -> Result<(), String>, errors: &mut Errors) {
    if !at.is_empty() {
        named(at, rule, errors);
    }
}

/// A key of a ConfigMap or Secret.
pub(crate) fn config_key(key: &str) -> Result<(), String> {
    if key.len() > 253 {
        return Err("must be no more than 253 characters".into());
    }
    if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        return Err("a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')".into());
    }
    match key {
        "." | ".." => Err(format!("must not be '{key}'")),
        _ if key.starts_with("..") => Err("must not start with '..'".into()),
        _ => Ok(()),
    }
}

/// An address, IPv4 or IPv6.
pub(crate) fn ip(at: &At<'_>, errors: &mut Errors) {
    if at.str().parse::<std::net::IpAddr>().is_err() {
        errors.push(at.invalid("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
    }
}

/// A network, IPv4 or IPv6.
pub(crate) fn cidr(at: &At<'_>, errors: &mut Errors) -> Option<ipnet::IpNet> {
    let network = at.str().trim().parse().ok();
    if network.is_none() {
        errors.push(at.invalid("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"));
    }
    network
}

/// An amount that is not negative. Other spellings than text were numbers in the request.
pub(crate) fn quantity(at: &At<'_>, errors: &mut Errors) -> Option<api::Quantity> {
    match amount(at.value) {
        Some(amount) => {
            if amount.is_negative() {
                errors.push(at.invalid(NOT_NEGATIVE));
            }
            Some(amount)
        }
        None => {
            errors.push(at.invalid(api::QuantityError.to_string()));
            None
        }
    }
}

/// The amount that a value says.
pub(crate) fn amount(value: &Value) -> Option<api::Quantity> {
    match value {
        Value::String(text) => api::Quantity::parse(text).ok(),
        Value::Number(number) => api::Quantity::parse(&number.to_string()).ok(),
        _ => None,
    }
}

/// A complaint if a field differs.
pub(crate) fn immutable(new: &At<'_>, old: &At<'_>, why: &str, errors: &mut Errors) {
    if new.value != old.value && !(new.is_empty() && old.is_empty()) {
        errors.push(new.invalid(why));
    }
}
