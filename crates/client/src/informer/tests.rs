use std::time::Duration;

use futures::stream;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::Status;
use kube::runtime::watcher::{Error, Event};
use tokio_util::sync::CancellationToken;

use super::store::Store;
use super::*;

fn object(name: &str, version: u32) -> ConfigMap {
    let mut object = ConfigMap::default();
    object.metadata.namespace = Some("ns".into());
    object.metadata.name = Some(name.into());
    object.metadata.resource_version = Some(version.to_string());
    object
}

fn gone() -> Error {
    Error::WatchError(Status::failure("too old", "Expired").with_code(410).boxed())
}

/// An informer over a scripted watch; it has taken the whole script when this returns.
async fn informer(script: Vec<Result<Event<ConfigMap>, Error>>) -> Informer<ConfigMap> {
    let store = Arc::new(Store::new());
    let stop = CancellationToken::new();
    feed(&store, script).await;
    Informer { shared: Arc::new(Shared { store, _stop: stop.drop_guard() }) }
}

async fn feed(store: &Arc<Store<ConfigMap>>, script: Vec<Result<Event<ConfigMap>, Error>>) {
    watch::run(stream::iter(script), |object| object, Arc::clone(store), CancellationToken::new()).await;
}

fn listed(objects: &[(&str, u32)]) -> Vec<Result<Event<ConfigMap>, Error>> {
    let apply = objects.iter().map(|(name, version)| Ok(Event::InitApply(object(name, *version))));
    std::iter::once(Ok(Event::Init)).chain(apply).chain([Ok(Event::InitDone)]).collect()
}

fn text(change: &Change<ConfigMap>) -> String {
    match change {
        Change::Applied { key, old: None, .. } => format!("+{}", key.name),
        Change::Applied { key, .. } => format!("~{}", key.name),
        Change::Deleted { key, .. } => format!("-{}", key.name),
        Change::Resync => "resync".into(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_list_after_a_gap_tells_only_what_differs() {
    let informer = informer(listed(&[("a", 1), ("b", 2), ("c", 3)])).await;
    informer.synced().await;
    let mut changes = informer.subscribe();
    assert_eq!(text(&changes.next().await.unwrap()), "resync");
    let script = [vec![Err(gone())], listed(&[("a", 1), ("b", 5), ("d", 6)]), vec![Ok(Event::Delete(object("a", 7)))]];
    feed(&informer.shared.store, script.into_iter().flatten().collect()).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(text(&changes.next().await.unwrap()));
    }
    assert_eq!(seen, ["-c", "~b", "+d", "-a"]);
    assert_eq!(informer.keys().iter().map(ToString::to_string).collect::<Vec<_>>(), ["ns/b", "ns/d"]);
    assert_eq!(informer.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_is_told_to_look_at_the_whole() {
    let informer = informer(listed(&[])).await;
    let mut changes = informer.subscribe();
    assert_eq!(text(&changes.next().await.unwrap()), "resync");
    let many = (0..3000).map(|n| Ok(Event::Apply(object(&format!("o{n}"), n)))).collect();
    feed(&informer.shared.store, many).await;
    assert_eq!(text(&changes.next().await.unwrap()), "resync");
    assert_eq!(informer.len(), 3000);
    feed(&informer.shared.store, vec![Ok(Event::Apply(object("last", 9000)))]).await;
    assert_eq!(text(&changes.next().await.unwrap()), "+last");
}

#[tokio::test(start_paused = true)]
async fn a_handler_sees_what_was_there_and_every_change_until_dropped() {
    let informer = informer(listed(&[("a", 1)])).await;
    let seen = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let guard = {
        let seen = Arc::clone(&seen);
        informer.on_change(move |change| seen.lock().push(text(change)))
    };
    feed(&informer.shared.store, vec![Ok(Event::Apply(object("a", 2))), Ok(Event::Apply(object("a", 2)))]).await;
    drop(guard);
    feed(&informer.shared.store, vec![Ok(Event::Delete(object("a", 3)))]).await;
    assert_eq!(*seen.lock(), ["+a", "~a"]);
}

#[tokio::test(start_paused = true)]
async fn an_index_follows_changes() {
    let informer = informer(listed(&[("a", 1), ("b", 2)])).await;
    informer.add_index("version", |object| object.metadata.resource_version.clone().into_iter().collect());
    assert_eq!(informer.by_index("version", "1").len(), 1);
    feed(&informer.shared.store, vec![Ok(Event::Apply(object("a", 2)))]).await;
    assert!(informer.by_index("version", "1").is_empty());
    assert_eq!(informer.by_index("version", "2").len(), 2);
    feed(&informer.shared.store, vec![Ok(Event::Delete(object("b", 4)))]).await;
    assert_eq!(informer.by_index("version", "2").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn failures_are_waited_out_with_growing_pauses() {
    let start = tokio::time::Instant::now();
    let script = (0..10).map(|_| Err(gone())).chain(listed(&[("a", 1)])).collect();
    let informer = informer(script).await;
    assert!(informer.has_synced());
    assert!(start.elapsed() > Duration::from_secs(5) && start.elapsed() < Duration::from_secs(30));
    assert_eq!(watch::backoff(0, 1.0), Duration::from_millis(50));
    assert_eq!(watch::backoff(30, 1.0), Duration::from_secs(5));
}

#[tokio::test]
async fn who_asks_twice_shares_one_watch() {
    let refused = tower::service_fn(|_: http::Request<kube::client::Body>| async {
        Err::<http::Response<kube::client::Body>, _>(std::io::Error::from(std::io::ErrorKind::ConnectionRefused))
    });
    let informers = Informers::new(kube::Client::new(refused, "default"));
    let first = informers.get::<ConfigMap>();
    let second = informers.get::<ConfigMap>();
    let other = informers.select::<ConfigMap>(Selection::labels("a=b"));
    assert!(Arc::ptr_eq(&first.shared, &second.shared));
    assert!(!Arc::ptr_eq(&first.shared, &other.shared));
    drop((first, second, other));
    informers.shutdown().await;
}
