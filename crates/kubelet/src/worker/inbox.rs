//! News for the worker of a pod. What comes twice before it is read is read once, so an inbox never grows.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::podlife::resize::Refusal;
use crate::podlife::{Probed, Verdict};

/// What of a pod changed since it was read last.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Changed {
    /// Labels or annotations.
    pub(crate) meta: bool,
}

#[derive(Default)]
pub(crate) struct News {
    pub(crate) pod: Option<Arc<Pod>>,
    pub(crate) changed: Changed,
    pub(crate) gone: bool,
    /// The status that the mirror of a static pod has.
    pub(crate) told: Option<PodStatus>,
    pub(crate) verdict: Option<Verdict>,
    /// The engine has something new.
    pub(crate) look: bool,
    /// A ConfigMap or Secret changed.
    pub(crate) refresh: bool,
    /// Whether the node can give the resources that the pod asks for by now.
    pub(crate) refusal: Option<Option<Refusal>>,
    /// By container id.
    pub(crate) probed: HashMap<String, Probed>,
}

#[derive(Default)]
pub(crate) struct Inbox {
    news: Mutex<News>,
    notify: Notify,
}

impl Inbox {
    pub(super) fn take(&self) -> News {
        std::mem::take(&mut *self.news.lock())
    }

    pub(super) async fn changed(&self) {
        self.notify.notified().await;
    }

    fn put(&self, change: impl FnOnce(&mut News)) {
        change(&mut self.news.lock());
        self.notify.notify_one();
    }

    pub(crate) fn pod(&self, old: Option<&Pod>, new: Arc<Pod>) {
        let meta = old.is_some_and(|old| {
            old.metadata.labels != new.metadata.labels || old.metadata.annotations != new.metadata.annotations
        });
        self.put(|news| {
            news.pod = Some(new);
            news.changed.meta |= meta;
        });
    }

    pub(crate) fn gone(&self) {
        self.put(|news| news.gone = true);
    }

    pub(crate) fn told(&self, status: PodStatus) {
        self.put(|news| news.told = Some(status));
    }

    pub(crate) fn verdict(&self, verdict: Verdict) {
        self.put(|news| news.verdict = Some(verdict));
    }

    pub(crate) fn refusal(&self, refusal: Option<Refusal>) {
        self.put(|news| news.refusal = Some(refusal));
    }

    pub(crate) fn look(&self) {
        self.put(|news| news.look = true);
    }

    pub(crate) fn refresh(&self) {
        self.put(|news| news.refresh = true);
    }

    pub(crate) fn probed(&self, id: &str, probed: Probed) {
        self.put(|news| {
            news.probed.insert(id.to_owned(), probed);
        });
    }
}
