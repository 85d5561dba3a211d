//! Label selectors, field selectors and quantities, as clients write them.
#![no_main]

use std::collections::BTreeMap;

use api::selector::{FieldSelector, LabelSelector};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(selector) = LabelSelector::parse(text) {
        // Whatever it asks for, it has an answer.
        selector.matches(&BTreeMap::from([("app".to_owned(), "web".to_owned())]));
    }
    if let Ok(fields) = FieldSelector::parse(text) {
        fields.matches_by(|_| Some("web"));
    }
    if let Ok(quantity) = api::Quantity::parse(text) {
        // What is written is read as the same again.
        let again = api::Quantity::parse(&quantity.to_string());
        assert_eq!(again.map(|q| q.milli_value()), Ok(quantity.milli_value()), "{text}");
    }
});
