//! Client certificates: common name is the user, organizations are the groups.

use x509_parser::prelude::{FromDer, X509Certificate};

use crate::context::User;

/// The user that a verified certificate (DER) names; none without a common name.
pub(crate) fn user(der: &[u8]) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups: Vec<&str> = subject.iter_organization().filter_map(|o| o.as_str().ok()).collect();
    Some(User::authenticated(&name, &groups))
}
