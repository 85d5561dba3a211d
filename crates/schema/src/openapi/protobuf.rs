//! The swagger document as protobuf (`openapi.v2.Document`), which older clients ask for.

use serde_json::{Map, Value};

/// Encodes a document that [`super::v2`] made.
pub fn v2_protobuf(doc: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, doc.get("swagger"));
    out.message(2, |info| {
        info.text(1, doc.pointer("/info/title"));
        info.text(2, doc.pointer("/info/version"));
    });
    out.message(8, |paths| {
        paths.named(2, entries(doc.get("paths")), path_item);
    });
    out.message(9, |definitions| definitions.named(1, entries(doc.get("definitions")), schema));
    for requirement in items(doc.get("security")) {
        out.message(12, |message| {
            message.named(1, entries(Some(requirement)), |list, scopes| list.texts(1, Some(scopes)))
        });
    }
    out.message(13, |definitions| {
        definitions.named(1, entries(doc.get("securityDefinitions")), |item, definition| {
            item.message(2, |key| {
                for (number, field) in [(1, "type"), (2, "name"), (3, "in"), (4, "description")] {
                    key.text(number, definition.get(field));
                }
            });
        });
    });
    out.0
}

fn entries(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

fn items(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

fn path_item(out: &mut Message, item: &Value) {
    for (number, method) in [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (8, "patch")] {
        if let Some(found) = item.get(method) {
            out.message(number, |message| operation(message, found));
        }
    }
    for parameter in items(item.get("parameters")) {
        out.message(9, |message| parameters_item(message, parameter));
    }
}

fn operation(out: &mut Message, operation: &Value) {
    out.texts(1, operation.get("tags"));
    out.text(3, operation.get("description"));
    out.text(5, operation.get("operationId"));
    out.texts(6, operation.get("produces"));
    out.texts(7, operation.get("consumes"));
    for parameter in items(operation.get("parameters")) {
        out.message(8, |message| parameters_item(message, parameter));
    }
    out.message(9, |responses| {
        responses.named(1, entries(operation.get("responses")), |value, response| {
            value.message(1, |message| {
                message.text(1, response.get("description"));
                if let Some(found) = response.get("schema") {
                    message.message(2, |item| item.message(1, |message| schema(message, found)));
                }
            });
        });
    });
    out.texts(10, operation.get("schemes"));
    out.extensions(13, operation);
}

/// A parameter: in the body, the query or the path.
fn parameters_item(out: &mut Message, parameter: &Value) {
    let place = parameter.get("in").and_then(Value::as_str);
    out.message(1, |choice| match place {
        Some("body") => choice.message(1, |body| {
            body.text(2, parameter.get("name"));
            body.text(3, parameter.get("in"));
            body.flag(4, parameter.get("required"));
            if let Some(found) = parameter.get("schema") {
                body.message(5, |message| schema(message, found));
            }
        }),
        _ => choice.message(2, |other| {
            // A path parameter lacks one field that a query parameter has, hence the numbers.
            let (number, kind, unique) = if place == Some("path") { (4, 5, 19) } else { (3, 6, 20) };
            other.message(number, |message| {
                message.flag(1, parameter.get("required"));
                message.text(2, parameter.get("in"));
                message.text(3, parameter.get("description"));
                message.text(4, parameter.get("name"));
                message.text(kind, parameter.get("type"));
                message.flag(unique, parameter.get("uniqueItems"));
            });
        }),
    });
}

fn schema(out: &mut Message, node: &Value) {
    out.text(1, node.get("$ref"));
    out.text(2, node.get("format"));
    out.text(3, node.get("title"));
    out.text(4, node.get("description"));
    if let Some(default) = node.get("default") {
        out.message(5, |any| any.string(2, &default.to_string()));
    }
    out.texts(19, node.get("required"));
    for value in items(node.get("enum")) {
        out.message(20, |any| any.string(2, &value.to_string()));
    }
    match node.get("additionalProperties") {
        Some(Value::Bool(open)) => out.message(21, |item| item.flag(2, Some(&Value::Bool(*open)))),
        Some(values) => out.message(21, |item| item.message(1, |message| schema(message, values))),
        None => {}
    }
    if let Some(kind) = node.get("type").and_then(Value::as_str) {
        out.message(22, |types| types.string(1, kind));
    }
    if let Some(inner) = node.get("items") {
        out.message(23, |list| list.message(1, |message| schema(message, inner)));
    }
    if node.get("properties").is_some() {
        out.message(25, |properties| properties.named(1, entries(node.get("properties")), schema));
    }
    out.extensions(31, node);
}

/// A message being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn bytes(&mut self, number: u64, bytes: &[u8]) {
        self.varint(number << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn string(&mut self, number: u64, text: &str) {
        self.bytes(number, text.as_bytes());
    }

    fn text(&mut self, number: u64, value: Option<&Value>) {
        if let Some(text) = value.and_then(Value::as_str).filter(|text| !text.is_empty()) {
            self.string(number, text);
        }
    }

    fn texts(&mut self, number: u64, value: Option<&Value>) {
        items(value).filter_map(Value::as_str).for_each(|text| self.string(number, text));
    }

    fn flag(&mut self, number: u64, value: Option<&Value>) {
        if value.and_then(Value::as_bool) == Some(true) {
            self.varint(number << 3);
            self.varint(1);
        }
    }

    fn message(&mut self, number: u64, fill: impl FnOnce(&mut Message)) {
        let mut inner = Message::default();
        fill(&mut inner);
        self.bytes(number, &inner.0);
    }

    /// A map as upstream's message has it: a list of names and values.
    fn named<'a>(
        &mut self,
        number: u64,
        entries: impl Iterator<Item = (&'a String, &'a Value)>,
        fill: impl Fn(&mut Message, &Value),
    ) {
        for (name, value) in entries {
            self.message(number, |pair| {
                pair.string(1, name);
                pair.message(2, |message| fill(message, value));
            });
        }
    }

    /// The `x-` fields, as YAML (of which JSON is a part).
    fn extensions(&mut self, number: u64, node: &Value) {
        for (name, value) in entries(Some(node)).filter(|(name, _)| name.starts_with("x-")) {
            self.message(number, |pair| {
                pair.string(1, name);
                pair.message(2, |any| any.string(2, &value.to_string()));
            });
        }
    }
}
