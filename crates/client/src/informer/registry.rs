//! Who asks for a kind that is watched already shares that watch.

use std::any::{Any, TypeId};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Weak};

use futures::FutureExt;
use k8s_openapi::NamespaceResourceScope;
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
    namespace: Option<String>,
    selection: Selection,
}

/// A `Weak<Shared<P>>`: the last user's drop ends the watch.
struct Running {
    shared: Box<dyn Any + Send + Sync>,
    is_used: fn(&(dyn Any + Send + Sync)) -> bool,
}

impl Running {
    fn of<P: Send + Sync + 'static>(shared: &Arc<Shared<P>>) -> Self {
        let is_used = |any: &(dyn Any + Send + Sync)| {
            any.downcast_ref::<Weak<Shared<P>>>().is_some_and(|shared| shared.strong_count() > 0)
        };
        Self { shared: Box::new(Arc::downgrade(shared)), is_used }
    }
}

impl Watched {
    fn of<K: 'static, P: 'static>(plural: Cow<'_, str>, namespace: Option<&str>, selection: Selection) -> Self {
        let (kind, value) = (TypeId::of::<K>(), TypeId::of::<P>());
        Self { kind, value, resource: plural.into_owned(), namespace: namespace.map(str::to_owned), selection }
    }

    fn dynamic<K: 'static>(resource: &ApiResource, selection: Selection) -> Self {
        let name = format!("{}/{}", resource.api_version, resource.plural);
        Self::of::<K, K>(name.into(), None, selection)
    }
}

/// The informers of one identity in one process.
#[derive(Clone)]
pub struct Informers {
    inner: Arc<Inner>,
}

struct Inner {
    client: kube::Client,
    running: Mutex<HashMap<Watched, Running>>,
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

    /// Some objects of a kind, without their managed fields: no part reads those.
    pub fn select<K>(&self, selection: Selection) -> Informer<K>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        self.project(selection, unmanaged)
    }

    /// Of some objects of a kind, only what `project` takes from each. One projection to each type `P` is kept:
    /// whoever asks for the same `P` later shares the first one's.
    pub fn project<K, P>(&self, selection: Selection, project: fn(K) -> P) -> Informer<P>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
        P: Send + Sync + 'static,
    {
        let api = Api::<K>::all(self.inner.client.clone());
        self.start(Watched::of::<K, P>(K::plural(&()), None, selection), api, project)
    }

    /// Some objects of one namespace; for those who may not ask for all.
    pub fn select_in<K>(&self, namespace: &str, selection: Selection) -> Informer<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug
            + Send
            + Sync
            + 'static,
    {
        self.project_in(namespace, selection, unmanaged)
    }

    /// Of some objects of one namespace, only what `project` takes from each.
    pub fn project_in<K, P>(&self, namespace: &str, selection: Selection, project: fn(K) -> P) -> Informer<P>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug
            + Send
            + Sync
            + 'static,
        P: Send + Sync + 'static,
    {
        let api = Api::<K>::namespaced(self.inner.client.clone(), namespace);
        self.start(Watched::of::<K, P>(K::plural(&()), Some(namespace), selection), api, project)
    }

    /// An informer that somebody else holds, if it has its first full list.
    pub fn find_in<K>(&self, namespace: &str, selection: &Selection) -> Option<Informer<K>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Send + Sync + 'static,
    {
        let watched = Watched::of::<K, K>(K::plural(&()), Some(namespace), selection.clone());
        let running = self.inner.running.lock();
        let shared = running.get(&watched)?.shared.downcast_ref::<Weak<Shared<K>>>()?.upgrade()?;
        Some(Informer { shared }).filter(Informer::has_synced)
    }

    /// The metadata of all objects of a resource that is known only at run time.
    pub fn metadata(&self, resource: &ApiResource) -> Informer<PartialObjectMeta<DynamicObject>> {
        let api = Api::<PartialObjectMeta<DynamicObject>>::all_with(self.inner.client.clone(), resource);
        let watched = Watched::dynamic::<PartialObjectMeta<DynamicObject>>(resource, Selection::default());
        self.start(watched, api, |object| object)
    }

    /// Of the metadata of all objects of such a resource, only what `project` takes from each.
    pub fn project_metadata<P: Send + Sync + 'static>(
        &self,
        resource: &ApiResource,
        project: fn(PartialObjectMeta<DynamicObject>) -> P,
    ) -> Informer<P> {
        let api = Api::<PartialObjectMeta<DynamicObject>>::all_with(self.inner.client.clone(), resource);
        let watched = Watched {
            value: TypeId::of::<P>(),
            ..Watched::dynamic::<PartialObjectMeta<DynamicObject>>(resource, Selection::default())
        };
        self.start(watched, api, project)
    }

    /// Whole objects of a resource that is known only at run time.
    pub fn dynamic(&self, resource: &ApiResource, selection: Selection) -> Informer<DynamicObject> {
        let api = Api::<DynamicObject>::all_with(self.inner.client.clone(), resource);
        self.start(Watched::dynamic::<DynamicObject>(resource, selection), api, |object| object)
    }

    /// Ends all watches and waits for them.
    pub async fn shutdown(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    fn start<K, P>(&self, watched: Watched, api: Api<K>, project: fn(K) -> P) -> Informer<P>
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
        P: Send + Sync + 'static,
    {
        let (config, resource) = (watched.selection.config(), watched.resource.clone());
        let mut running = self.inner.running.lock();
        let known = running.get(&watched).and_then(|known| known.shared.downcast_ref::<Weak<Shared<P>>>());
        if let Some(shared) = known.and_then(Weak::upgrade) {
            return Informer { shared };
        }
        let store = Arc::new(Store::new());
        let stop = self.inner.stop.child_token();
        let shared = Arc::new(Shared { store: Arc::clone(&store), _stop: stop.clone().drop_guard() });
        running.retain(|_, known| (known.is_used)(&*known.shared));
        running.insert(watched, Running::of(&shared));
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

/// The object without the record of who owns which field, often the largest part of it in memory.
fn unmanaged<K: Resource>(mut object: K) -> K {
    object.meta_mut().managed_fields = None;
    object
}
