//! A container's devices where control groups are of version 2: libcontainer leaves them to a program of the kernel, and
//! that is loaded here, before the container's own program runs.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use sys::cgroup::Cgroups;
use sys::devices::{Allowed, Kind};

/// What of the OCI configuration is about devices.
#[derive(Deserialize)]
struct Config {
    linux: Linux,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    cgroups_path: String,
    resources: Resources,
}

#[derive(Deserialize)]
struct Resources {
    devices: Vec<Rule>,
}

/// The first rule is for all devices, those after it allow some.
#[derive(Deserialize)]
struct Rule {
    allow: bool,
    #[serde(rename = "type")]
    kind: Option<String>,
    major: Option<u32>,
    minor: Option<u32>,
    access: String,
}

/// Lets the container in `bundle` use what its configuration allows and what every container may.
pub(crate) fn restrict(bundle: &Path) -> Result<(), String> {
    let cgroups = Cgroups::detect().map_err(|error| error.to_string())?;
    if !cgroups.is_v2() {
        return Ok(());
    }
    let file = bundle.join("config.json");
    let text = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let config: Config = serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    match allowed(&config.linux.resources.devices) {
        Some(allowed) => {
            cgroups.restrict_devices(&config.linux.cgroups_path, &allowed).map_err(|error| error.to_string())
        }
        None => Ok(()),
    }
}

/// None when everything is allowed.
fn allowed(rules: &[Rule]) -> Option<Vec<Allowed>> {
    let (first, rest) = rules.split_first()?;
    if first.allow && first.kind.is_none() {
        return None;
    }
    Some(usual().into_iter().chain(rest.iter().filter(|rule| rule.allow).flat_map(of)).collect())
}

fn of(rule: &Rule) -> Vec<Allowed> {
    let kinds: &[Kind] = match rule.kind.as_deref() {
        Some("b") => &[Kind::Block],
        Some("c" | "u") => &[Kind::Character],
        _ => &[Kind::Block, Kind::Character],
    };
    let may = |letter| rule.access.contains(letter);
    let with = |kind: &Kind| Allowed {
        kind: *kind,
        major: rule.major,
        minor: rule.minor,
        make: may('m'),
        read: may('r'),
        write: may('w'),
    };
    kinds.iter().map(with).collect()
}

/// The devices of the OCI runtime specification's default list, and making any device file: it opens to nobody.
fn usual() -> Vec<Allowed> {
    let make = |kind| Allowed { kind, major: None, minor: None, make: true, read: false, write: false };
    let all = |major, minor| Allowed { major: Some(major), minor, read: true, write: true, ..make(Kind::Character) };
    // null, zero, full, random, urandom; tty, console, ptmx; terminals.
    let memory = [3, 5, 7, 8, 9].map(|minor| all(1, Some(minor)));
    let terminals = [all(5, Some(0)), all(5, Some(1)), all(5, Some(2)), all(136, None)];
    [make(Kind::Block), make(Kind::Character)].into_iter().chain(memory).chain(terminals).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(rules: serde_json::Value) -> Option<Vec<Allowed>> {
        allowed(&serde_json::from_value::<Vec<Rule>>(rules).unwrap())
    }

    #[test]
    fn a_container_gets_the_usual_devices_and_its_own() {
        let own = json!({"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"});
        let fuse = rules(json!([{"allow": false, "access": "rwm"}, own])).unwrap();
        let (last, usual) = fuse.split_last().unwrap();
        assert_eq!(usual, super::usual());
        let wanted =
            Allowed { kind: Kind::Character, major: Some(10), minor: Some(229), make: false, read: true, write: true };
        assert_eq!(*last, wanted);
        assert!(usual.iter().all(|rule| !(rule.kind == Kind::Block && (rule.read || rule.write))), "{usual:?}");
    }

    #[test]
    fn a_privileged_one_gets_all() {
        assert_eq!(rules(json!([{"allow": true, "access": "rwm"}])), None);
    }
}
