//! The lines that are printed.

use serde_json::json;

/// Prints figures, those that were asked for.
pub(crate) struct Report {
    only: Option<String>,
}

impl Report {
    pub(crate) fn new(only: Option<String>) -> Self {
        Self { only }
    }

    /// Whether any of these figures is asked for.
    pub(crate) fn wants(&self, names: &[&str]) -> bool {
        self.only.as_ref().is_none_or(|only| names.iter().any(|name| name.contains(only.as_str())))
    }

    /// A figure of which less is better. `ratio` says how many times better than upstream.
    pub(crate) fn less(&self, figure: &str, value: f64, unit: &str, upstream: Option<f64>) {
        self.print(figure, value, unit, upstream, upstream.map(|u| u / value));
    }

    /// A figure of which more is better.
    pub(crate) fn more(&self, figure: &str, value: f64, unit: &str, upstream: Option<f64>) {
        self.print(figure, value, unit, upstream, upstream.map(|u| value / u));
    }

    fn print(&self, figure: &str, value: f64, unit: &str, upstream: Option<f64>, ratio: Option<f64>) {
        if !self.wants(&[figure]) {
            return;
        }
        let round = |v: f64| (v * 100.0).round() / 100.0;
        let ratio = ratio.filter(|r| r.is_finite()).map(round);
        println!(
            "{}",
            json!({"figure": figure, "value": round(value), "unit": unit, "upstream": upstream, "ratio": ratio})
        );
    }
}

/// The middle one.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The largest one.
pub(crate) fn maximum(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NAN, f64::max)
}

/// Milliseconds since then.
pub(crate) fn since(start: std::time::Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}
