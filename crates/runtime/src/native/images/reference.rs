//! Image names: `nginx` means `docker.io/library/nginx:latest`.

/// The full form of a name, as lists show it.
pub(crate) fn normalize(name: &str) -> String {
    let (rest, digest) = match name.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (name, None),
    };
    let slash = rest.find('/');
    let first = slash.and_then(|at| rest.get(..at)).unwrap_or_default();
    let has_host = first.contains('.') || first.contains(':') || first == "localhost";
    let full = match (has_host, slash) {
        (true, _) => rest.to_owned(),
        (false, Some(_)) => format!("docker.io/{rest}"),
        (false, None) => format!("docker.io/library/{rest}"),
    };
    let has_tag = full.rsplit('/').next().is_some_and(|last| last.contains(':'));
    match (digest, has_tag) {
        (Some(digest), _) => format!("{full}@{digest}"),
        (None, true) => full,
        (None, false) => format!("{full}:latest"),
    }
}

/// Host (and port) of the registry in a full name.
pub(crate) fn registry(full: &str) -> &str {
    full.split('/').next().unwrap_or_default()
}

/// A full name without tag and digest.
pub(crate) fn repository(full: &str) -> &str {
    let name = full.split('@').next().unwrap_or_default();
    match name.rfind(':') {
        Some(colon) if !name.get(colon..).unwrap_or_default().contains('/') => name.get(..colon).unwrap_or(name),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_completed() {
        for (short, full) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1", "docker.io/library/nginx:1"),
            ("a/b", "docker.io/a/b:latest"),
            ("localhost/x", "localhost/x:latest"),
            ("reg:5000/x", "reg:5000/x:latest"),
            ("quay.io/a/b:v1", "quay.io/a/b:v1"),
            ("nginx@sha256:1", "docker.io/library/nginx@sha256:1"),
            ("nginx:1@sha256:1", "docker.io/library/nginx:1@sha256:1"),
        ] {
            assert_eq!(normalize(short), full);
        }
    }

    #[test]
    fn a_port_is_no_tag() {
        assert_eq!(repository("reg:5000/x"), "reg:5000/x");
        assert_eq!(repository("reg:5000/x:1@sha256:2"), "reg:5000/x");
    }
}
