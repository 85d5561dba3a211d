use std::path::Path;

use super::*;
use crate::cli;

/// The lines of a text that start a program of ours, without continuation marks.
fn commands(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let ours = |line: &&str| line.split(' ').next().is_some_and(is_ours);
    joined.lines().map(|line| line.trim().trim_start_matches("ExecStart=")).filter(ours).map(str::to_owned).collect()
}

fn is_ours(program: &str) -> bool {
    let name = Path::new(program).file_name();
    name.is_some_and(|name| name == "oxikube" || command(name).is_some())
}

/// What the command line makes of it.
fn understood(line: &str) -> Result<(), String> {
    cli::check(arguments(line.split_whitespace().map(OsString::from)))
}

#[test]
fn upstreams_names_stand_for_roles() {
    let line = |words: &[&str]| arguments(words.iter().map(OsString::from));
    assert_eq!(line(&["/usr/bin/kube-scheduler", "--v=2"]), ["oxikube", "scheduler", "--v=2"]);
    assert_eq!(line(&["kubelet"]), ["oxikube", "kubelet"]);
    assert_eq!(line(&["/opt/oxikube", "up"]), ["/opt/oxikube", "up"]);
    assert_eq!(line(&["/opt/other", "up"]), ["/opt/other", "up"]);
    assert!(line(&[]).is_empty());
}

#[test]
fn a_flag_that_is_not_there_is_named() {
    let refusal = understood("kube-scheduler --kubeconfig=/etc/kubernetes/scheduler.kubeconfig --contention-profiling");
    let refusal = refusal.unwrap_err();
    assert!(refusal.contains("'--contention-profiling'") && refusal.contains("oxikube scheduler"), "{refusal}");
}

#[test]
fn what_the_units_start_is_understood() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd");
    let mut count = 0;
    for unit in std::fs::read_dir(units).unwrap() {
        let path = unit.unwrap().path();
        let started = commands(&std::fs::read_to_string(&path).unwrap());
        assert_eq!(started.len(), 1, "{} starts one program", path.display());
        understood(&started[0]).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        count += 1;
    }
    assert_eq!(count, 9, "a unit for the whole, for a node of another's, one for each role");
}

#[test]
fn the_commands_of_the_page_are_understood() {
    let page = commands(include_str!("../../../../docs/by-hand.md"));
    assert!(page.len() >= 6, "{page:?}");
    for line in page {
        understood(&line).unwrap_or_else(|e| panic!("{line}: {e}"));
    }
}
