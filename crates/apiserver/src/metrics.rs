//! `/metrics`: a few figures under upstream's names.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// Counters of the API server.
#[derive(Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<(String, String, u16), u64>>,
}

impl Metrics {
    /// Counts an answered request. Resources come from the catalogue, so the table stays small.
    pub(crate) fn count(&self, verb: &str, resource: &str, code: u16) {
        *self.requests.lock().entry((verb.to_owned(), resource.to_owned(), code)).or_default() += 1;
    }

    /// The Prometheus text format.
    pub(crate) fn render(&self) -> String {
        let mut out = String::from(
            "# HELP apiserver_request_total Counter of apiserver requests broken out for each verb, resource and code.\n# TYPE apiserver_request_total counter\n",
        );
        for ((verb, resource, code), count) in self.requests.lock().iter() {
            let verb = verb.to_uppercase();
            let labels = format!("verb=\"{verb}\",resource=\"{resource}\",code=\"{code}\"");
            out.push_str(&format!("apiserver_request_total{{{labels}}} {count}\n"));
        }
        out
    }
}
