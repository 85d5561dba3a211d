//! Names of keys: the store's `/registry/…` and what stands for it in etcd.

use crate::Key;

const ROOT: &str = "/registry";

/// Written to move a quiet watch forward.
pub(super) const PROGRESS: &str = "/registry/-/progress";
/// How far the revisions that are shown are above etcd's own.
pub(super) const OFFSET: &str = "/registry/-/offset";
/// Whose state it is, and of which format.
pub(super) const OWNER: &str = "/registry/-/owner";

/// Written with every deletion: which one it was. A few keys for all, so that they stay few.
pub(super) fn deletion(key: &Key) -> String {
    format!("/registry/-/deletion/{:02x}", crc32fast::hash(key.as_str().as_bytes()) & 0xff)
}

/// The mapping.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: format!("/{}", prefix.trim_matches('/')) }
    }

    /// The key in etcd.
    pub(super) fn outer(&self, key: &str) -> String {
        match key.strip_prefix(ROOT) {
            Some(rest) => format!("{}{rest}", self.prefix),
            None => format!("{}/{}", self.prefix, key.trim_start_matches('/')),
        }
    }

    /// The key in the store; none when it is none of ours.
    pub(super) fn inner(&self, key: &[u8]) -> Option<String> {
        let rest = std::str::from_utf8(key).ok()?.strip_prefix(&self.prefix)?;
        rest.starts_with('/').then(|| format!("{ROOT}{rest}"))
    }

    /// First key of all, and the first one after all.
    pub(super) fn range(&self) -> (String, String) {
        (format!("{}/", self.prefix), format!("{}0", self.prefix))
    }

    /// Whether a key is the engine's own and no object.
    pub(super) fn is_own(key: &str) -> bool {
        key.starts_with("/registry/-/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_prefix_stands_for_the_registry() {
        let keys = Keys::new("kubernetes/prod/");
        assert_eq!(keys.outer("/registry/pods/a/b"), "/kubernetes/prod/pods/a/b");
        assert_eq!(keys.inner(b"/kubernetes/prod/pods/a/b").as_deref(), Some("/registry/pods/a/b"));
        assert_eq!(keys.inner(b"/kubernetes/production/pods/a"), None);
        assert_eq!(keys.range(), ("/kubernetes/prod/".into(), "/kubernetes/prod0".into()));
    }
}
