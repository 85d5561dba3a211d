//! Names of links and tables, all derived from the instance's. Pure.

use sys::netlink::link_name;

/// An instance name as nft takes it.
pub(crate) fn identifier(instance: &str) -> String {
    instance.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// Name of the bridge that pods are on.
pub(crate) fn bridge(instance: &str) -> String {
    link_name(&identifier(instance), "0")
}

/// Name of the tunnel's link.
pub(crate) fn tunnel(instance: &str) -> String {
    link_name(&identifier(instance), "x")
}

/// The host's end of a sandbox's link.
pub(crate) fn sandbox_link(sandbox: &str) -> String {
    format!("veth{}", sandbox.chars().filter(char::is_ascii_alphanumeric).take(11).collect::<String>())
}
