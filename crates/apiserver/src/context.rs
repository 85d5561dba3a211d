//! What a request carries through the layers.

use std::sync::Arc;

use api::ApiError;
use jiff::Timestamp;
use parking_lot::Mutex;

use crate::kind::Kind;
use crate::registry::Options;
use crate::server::Server;

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// User name.
    pub name: String,
    /// Unique id, if the authenticator knows one.
    pub uid: String,
    /// Groups.
    pub groups: Vec<String>,
    /// Further facts, such as the token's pod.
    pub extra: Vec<(String, Vec<String>)>,
}

impl User {
    /// A user in `system:authenticated` and these groups.
    pub fn authenticated(name: &str, groups: &[&str]) -> Self {
        let mut all: Vec<String> = groups.iter().map(|g| (*g).to_owned()).collect();
        all.push("system:authenticated".into());
        Self { name: name.into(), groups: all, ..Self::default() }
    }

    /// The user of a request without credentials.
    pub fn anonymous() -> Self {
        let groups = vec!["system:unauthenticated".to_owned()];
        Self { name: "system:anonymous".into(), groups, ..Self::default() }
    }

    /// A service account.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let group = format!("system:serviceaccounts:{namespace}");
        Self::authenticated(
            &format!("system:serviceaccount:{namespace}:{name}"),
            &["system:serviceaccounts", group.as_str()],
        )
    }

    /// Member of a group.
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// The node that this user is the kubelet of.
    pub fn node_name(&self) -> Option<&str> {
        self.name.strip_prefix("system:node:").filter(|_| self.in_group("system:nodes"))
    }
}

/// One request on one resource.
pub(crate) struct Context {
    pub(crate) server: Arc<Server>,
    pub(crate) user: User,
    pub(crate) kind: Arc<Kind>,
    pub(crate) namespace: String,
    pub(crate) subresource: String,
    pub(crate) options: Options,
    pub(crate) now: Timestamp,
    warnings: Mutex<Vec<String>>,
    /// Fields that the body says twice.
    duplicates: Mutex<Vec<String>>,
}

impl Context {
    pub(crate) fn new(server: Arc<Server>, user: User, kind: Arc<Kind>, namespace: &str, options: Options) -> Self {
        Self {
            server,
            user,
            kind,
            namespace: namespace.to_owned(),
            subresource: String::new(),
            options,
            now: Timestamp::now(),
            warnings: Mutex::default(),
            duplicates: Mutex::default(),
        }
    }

    /// The same request on another resource, by the server itself.
    pub(crate) fn on(&self, kind: &Arc<Kind>, namespace: &str) -> Self {
        Self::new(self.server.clone(), self.user.clone(), kind.clone(), namespace, self.options.clone())
    }

    pub(crate) fn subresource(mut self, subresource: &str) -> Self {
        self.subresource = subresource.to_owned();
        self
    }

    /// Says something to the user beside the answer.
    pub(crate) fn warn(&self, warning: impl Into<String>) {
        let mut warnings = self.warnings.lock();
        if warnings.len() < 20 {
            warnings.push(warning.into());
        }
    }

    pub(crate) fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock())
    }

    /// Keeps for [`Self::admit_body`] what the body says twice.
    pub(crate) fn note_duplicates(&self, fields: Vec<String>) {
        *self.duplicates.lock() = fields;
    }

    pub(crate) fn take_duplicates(&self) -> Vec<String> {
        std::mem::take(&mut *self.duplicates.lock())
    }

    pub(crate) fn key(&self, name: &str) -> String {
        self.kind.key(&self.namespace, name)
    }

    /// The object as it is now.
    pub(crate) async fn current(&self, name: &str) -> Result<crate::registry::Object, ApiError> {
        let entry = self.server.store.get(&self.key(name)).await.map_err(crate::server::read_error)?;
        entry.map(crate::registry::Object::new).ok_or_else(|| self.kind.not_found(name))
    }
}
