//! The rules that names, labels and annotations keep, with upstream's messages
//! (`apimachinery/pkg/util/validation`).

/// Message for a bad DNS-1123 subdomain.
pub const SUBDOMAIN_MESSAGE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
/// Message for a bad DNS-1123 label.
pub const LABEL_MESSAGE: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
/// Message for a bad DNS-1035 label.
pub const LABEL_1035_MESSAGE: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED_MESSAGE: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE_MESSAGE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

fn at_most(max: usize) -> String {
    format!("must be no more than {max} characters")
}

fn lower(c: u8) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn label_shape(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.first().is_some_and(|c| lower(*c))
        && bytes.last().is_some_and(|c| lower(*c))
        && bytes.iter().all(|c| lower(*c) || *c == b'-')
}

fn word_shape(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
}

/// RFC 1123 label, at most 63 characters.
pub fn dns_label(name: &str) -> Result<(), String> {
    if name.len() > 63 {
        return Err(at_most(63));
    }
    if label_shape(name) { Ok(()) } else { Err(LABEL_MESSAGE.into()) }
}

/// RFC 1035 label (starts with a letter), at most 63 characters.
pub fn dns_1035_label(name: &str) -> Result<(), String> {
    if name.len() > 63 {
        return Err(at_most(63));
    }
    let letter = name.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    if letter && label_shape(name) { Ok(()) } else { Err(LABEL_1035_MESSAGE.into()) }
}

/// RFC 1123 subdomain, at most 253 characters.
pub fn dns_subdomain(name: &str) -> Result<(), String> {
    if name.len() > 253 {
        return Err(at_most(253));
    }
    if name.split('.').all(label_shape) { Ok(()) } else { Err(SUBDOMAIN_MESSAGE.into()) }
}

/// A name that may be any path segment (RBAC kinds).
pub fn path_segment(name: &str) -> Result<(), String> {
    if name == "." || name == ".." {
        return Err(format!("may not be '{name}'"));
    }
    for c in ['/', '%'] {
        if name.contains(c) {
            return Err(format!("may not contain '{c}'"));
        }
    }
    Ok(())
}

/// `prefix/name`: label and annotation keys.
pub fn qualified_name(key: &str) -> Result<(), String> {
    let name = match key.split_once('/') {
        None => key,
        Some((prefix, name)) => {
            if prefix.is_empty() {
                return Err("prefix part must be non-empty".into());
            }
            if name.contains('/') {
                return Err(format!(
                    "a qualified name {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                    QUALIFIED_MESSAGE.trim_start_matches("name part ")
                ));
            }
            dns_subdomain(prefix).map_err(|e| format!("prefix part {e}"))?;
            name
        }
    };
    if name.is_empty() {
        return Err("name part must be non-empty".into());
    }
    if name.len() > 63 {
        return Err(format!("name part {}", at_most(63)));
    }
    if word_shape(name) { Ok(()) } else { Err(QUALIFIED_MESSAGE.into()) }
}

/// Value of a label.
pub fn label_value(value: &str) -> Result<(), String> {
    if value.len() > 63 {
        return Err(at_most(63));
    }
    if value.is_empty() || word_shape(value) { Ok(()) } else { Err(LABEL_VALUE_MESSAGE.into()) }
}

/// Suffix alphabet of generated names: no vowels and no look-alikes.
const SUFFIX: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A name from `generateName`: the prefix, cut to 58 characters, and five random ones.
pub fn generate(prefix: &str) -> String {
    use rand::seq::IndexedRandom;
    let mut rng = rand::rng();
    let mut name: String = prefix.chars().take(58).collect();
    name.extend((0..5).filter_map(|_| SUFFIX.choose(&mut rng)).map(|c| char::from(*c)));
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subdomains() {
        for good in ["a", "a.b", "a-b.c0", "0a"] {
            assert_eq!(dns_subdomain(good), Ok(()), "{good}");
        }
        for bad in ["", "A", "a..b", "-a", "a-", "a_b", &"a".repeat(254)] {
            assert!(dns_subdomain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn qualified_names() {
        for good in ["a", "A.b_c", "k8s.io/x", "example.com/My-Name"] {
            assert_eq!(qualified_name(good), Ok(()), "{good}");
        }
        for bad in ["", "/a", "a/", "A/b", "a/b/c", "-a", &format!("x/{}", "a".repeat(64))] {
            assert!(qualified_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn generated_names_keep_the_prefix_and_fit() {
        let name = generate(&"p".repeat(80));
        assert_eq!(name.len(), 63);
        assert_ne!(generate("web-"), generate("web-"));
    }
}
