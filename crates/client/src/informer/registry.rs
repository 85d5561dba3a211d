//! Who asks for a kind that is watched already shares that watch.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Weak};

use futures::FutureExt;
use kube::api::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Resource};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::store::Store;
use super::{Informer, Shared, watch};

/// Which objects of a kind; the default is all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Selection {
    /// Field selector, as `spec.nodeName=n1`.
    pub fields: Option<String>,
    /// Label selector.
    pub labels: Option<String>,
}

impl Selection {
    /// Objects that match a field selector.
    pub fn fields(selector: impl Into<String>) -> Self {
        Self { fields: Some(selector.into()), labels: None }
    }

    /// Objects that match a label selector.
    pub fn labels(selector: impl Into<String>) -> Self {
        Self { fields: None, labels: Some(selector.into()) }
    }

    fn config(&self) -> watcher::Config {
        let mut config = watcher::Config::default();
        config.field_selector.clone_from(&self.fields);
        config.label_selector.clone_from(&self.labels);
        config
    }
}

#[derive(PartialEq, Eq, Hash)]
struct Watched {
    kind: TypeId,
    value: TypeId,
    resource: String,
    selection: Selection,
}

/// The informers of one identity in one process.
#[derive(Clone)]
pub struct Informers {
    inner: Arc<Inner>,
}

struct Inner {
    client: kube::Client,
    /// Weak references to `Shared<P>`: the last user's drop ends the watch.
    running: Mutex<HashMap<Watched, Box<dyn Any + Send + Sync>>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Informers {
    /// None is started until it is asked for.
    pub fn new(client: kube::Client) -> Self {
        let running = Mutex::new(HashMap::new());
        Self { inner: Arc::new(Inner { client, running, stop: CancellationToken::new(), tasks: TaskTracker::new() }) }
    }

    /// The client that the watches run over.
    pub fn client(&self) -> kube::Client {
        self.inner.client.clone()
    }

    /// All objects of a kind.
    pub fn get<K>(&self) -> Informer<K>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        self.select(Selection::default())
    }

    /// Some objects of a kind.
    pub fn select<K>(&self, selection: Selection) -> Informer<K>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        self.project(selection, |object| object)
    }

    /// Of some objects of a kind, only what `project` takes from each. One projection to each type `P` is kept:
    /// whoever asks for the same `P` later shares the first one's.
    pub fn project<K, P>(&self, selection: Selection, project: fn(K) -> P) -> Informer<P>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
        P: Send + Sync + 'static,
    {
        let api = Api::<K>::all(self.inner.client.clone());
        self.start(K::plural(&()).into_owned(), api, selection, project)
    }

    /// The metadata of all objects of a resource that is known only at run time.
    pub fn metadata(&self, resource: &ApiResource) -> Informer<PartialObjectMeta<DynamicObject>> {
        let api = Api::<PartialObjectMeta<DynamicObject>>::all_with(self.inner.client.clone(), resource);
        let name = format!("{}/{}", resource.api_version, resource.plural);
        self.start(name, api, Selection::default(), |object| object)
    }

    /// Of the metadata of all objects of such a resource, only what `project` takes from each.
    pub fn project_metadata<P: Send + Sync + 'static>(
        &self,
        resource: &ApiResource,
        project: fn(PartialObjectMeta<DynamicObject>) -> P,
    ) -> Informer<P> {
        let api = Api::<PartialObjectMeta<DynamicObject>>::all_with(self.inner.client.clone(), resource);
        let name = format!("{}/{}", resource.api_version, resource.plural);
        self.start(name, api, Selection::default(), project)
    }

    /// Whole objects of a resource that is known only at run time.
    pub fn dynamic(&self, resource: &ApiResource, selection: Selection) -> Informer<DynamicObject> {
        let api = Api::<DynamicObject>::all_with(self.inner.client.clone(), resource);
        self.start(format!("{}/{}", resource.api_version, resource.plural), api, selection, |object| object)
    }

    /// Ends all watches and waits for them.
    pub async fn shutdown(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    fn start<K, P>(&self, resource: String, api: Api<K>, selection: Selection, project: fn(K) -> P) -> Informer<P>
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
        P: Send + Sync + 'static,
    {
        let config = selection.config();
        let watched =
            Watched { kind: TypeId::of::<K>(), value: TypeId::of::<P>(), resource: resource.clone(), selection };
        let mut running = self.inner.running.lock();
        let known = running.get(&watched).and_then(|any| any.downcast_ref::<Weak<Shared<P>>>());
        if let Some(shared) = known.and_then(Weak::upgrade) {
            return Informer { shared };
        }
        let store = Arc::new(Store::new());
        let stop = self.inner.stop.child_token();
        let shared = Arc::new(Shared { store: Arc::clone(&store), _stop: stop.clone().drop_guard() });
        running.insert(watched, Box::new(Arc::downgrade(&shared)));
        drop(running);
        self.inner.tasks.spawn(async move {
            let events = watcher(api, config);
            let run = std::panic::AssertUnwindSafe(watch::run(events, project, store, stop));
            if run.catch_unwind().await.is_err() {
                tracing::error!(resource, "informer panicked; its store no longer changes");
            }
        });
        Informer { shared }
    }
}
