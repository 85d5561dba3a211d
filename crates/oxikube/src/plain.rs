//! Upstream's names of the binary: called as `kube-scheduler`, it is the scheduler.

#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// The command that a name of upstream's stands for.
fn command(name: &OsStr) -> Option<&'static str> {
    match name.to_str()? {
        "kube-apiserver" => Some("apiserver"),
        "kube-controller-manager" => Some("controller-manager"),
        "kube-scheduler" => Some("scheduler"),
        "kubelet" => Some("kubelet"),
        "kube-proxy" => Some("proxy"),
        _ => None,
    }
}

/// The command line as it would be under the binary's own name.
pub(crate) fn arguments(given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut given = given.peekable();
    let role = given.peek().and_then(|program| command(Path::new(program).file_name()?));
    let own = role.map(|role| {
        given.next();
        ["oxikube".into(), role.into()]
    });
    own.into_iter().flatten().chain(given).collect()
}
