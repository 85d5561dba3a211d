//! House rules that a compiler does not check: which crate may depend on which.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// Crates by rank; within ranks 0 to 2 one may use those that stand before it.
const RANKS: &[&[&str]] = &[
    &["sys", "spdy"],
    &["api", "schema", "cel", "kinds"],
    &["storage", "client", "cri", "cni"],
    &["apiserver", "scheduler", "controllers", "kubelet", "runtime", "podnet", "proxy", "dns", "gateway"],
    &["cluster", "oxikube"],
];
/// Tools beside the ranks.
const BESIDE: &[&str] = &["xtask", "bench", "fuzz", "tests"];

/// Fails on an edge that the ranks forbid.
pub(crate) fn run() -> Result<(), String> {
    let output = Command::new(env!("CARGO")).args(["metadata", "--format-version=1", "--no-deps"]).output();
    let output = output.map_err(|e| format!("cannot run cargo metadata: {e}"))?;
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata: {e}"))?;
    let place = places();
    let mut complaints = Vec::new();
    for package in metadata.get("packages").and_then(Value::as_array).into_iter().flatten() {
        let name = text(package, "name");
        if BESIDE.contains(&name) {
            continue;
        }
        let Some(own) = place.get(name) else {
            complaints.push(format!("{name} has no rank; give it one in xtask/src/tidy.rs"));
            continue;
        };
        for dependency in package.get("dependencies").and_then(Value::as_array).into_iter().flatten() {
            let other = text(dependency, "name");
            if let Some(theirs) = place.get(other).filter(|_| dependency.get("path").is_some())
                && !allowed(*own, *theirs)
            {
                complaints.push(format!("{name} may not depend on {other}"));
            }
        }
    }
    if complaints.is_empty() { Ok(()) } else { Err(complaints.join("\n")) }
}

fn places() -> BTreeMap<&'static str, (usize, usize)> {
    let ranks = RANKS.iter().enumerate();
    ranks.flat_map(|(rank, names)| names.iter().enumerate().map(move |(i, name)| (*name, (rank, i)))).collect()
}

fn allowed(own: (usize, usize), theirs: (usize, usize)) -> bool {
    theirs.0 < own.0 || (theirs.0 == own.0 && own.0 != 3 && theirs.1 < own.1)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_do_not_know_each_other() {
        let place = places();
        let may = |a: &str, b: &str| allowed(place[a], place[b]);
        assert!(may("apiserver", "storage") && may("schema", "api") && may("oxikube", "kubelet"));
        assert!(!may("kubelet", "apiserver") && !may("api", "schema") && !may("storage", "kubelet"));
    }

    #[test]
    fn the_workspace_is_tidy() {
        assert_eq!(run(), Ok(()));
    }
}
