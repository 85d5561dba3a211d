//! Static pods: from files in a folder, without an API server. Where there is one, it is shown a mirror of each.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use client::{Informer, write};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use nix::sys::inotify::AddWatchFlags;

use crate::changes::FileChanges;
use crate::context::Context;
use crate::pods::Pods;
use crate::spec;

const SOURCE: &str = "kubernetes.io/config.source";
const HASH: &str = "kubernetes.io/config.hash";
const MIRROR: &str = "kubernetes.io/config.mirror";
/// A file that is larger is no pod.
const LARGEST: u64 = 1 << 20;
const WRITE: Duration = Duration::from_secs(10);

pub(crate) fn is_static(pod: &Pod) -> bool {
    annotation(pod, SOURCE) == Some("file") && !is_mirror(pod)
}

pub(crate) fn is_mirror(pod: &Pod) -> bool {
    annotation(pod, MIRROR).is_some()
}

/// Whether the one is the mirror of the other.
pub(crate) fn mirrors(mirror: &Pod, pod: &Pod) -> bool {
    is_static(pod) && annotation(mirror, MIRROR) == annotation(pod, HASH)
}

fn annotation<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// Follows the folder until cancelled by dropping.
pub(crate) async fn run(context: Arc<Context>, pods: Arc<Pods>, mirrors: Informer<Pod>) {
    let Some(folder) = context.config.static_pod_path.clone() else {
        pods.statics_read.send_replace(true);
        return;
    };
    let mut known: BTreeMap<String, Arc<Pod>> = BTreeMap::new();
    loop {
        let flags = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE;
        let changes = match FileChanges::of(&[(&folder, flags)]) {
            Ok(changes) => changes,
            Err(error) => {
                tracing::debug!(%error, folder = %folder.display(), "folder of static pods is not there");
                pods.statics_read.send_replace(true);
                tokio::time::sleep(Duration::from_secs(10)).await;
                continue;
            }
        };
        loop {
            let wanted = read(&folder, &context.config.node_name).await;
            for (uid, pod) in &known {
                if !wanted.contains_key(uid) {
                    pods.delete(pod);
                }
            }
            for (uid, pod) in &wanted {
                if !known.contains_key(uid) {
                    pods.apply(pod);
                }
            }
            known = wanted;
            pods.statics_read.send_replace(true);
            let shown = show(&context, &known, &mirrors).await;
            let again = if shown { Duration::MAX } else { Duration::from_secs(1) };
            tokio::select! {
                changed = changes.next() => {
                    if changed.is_err() {
                        break;
                    }
                }
                () = pods.mirrors.notified() => {}
                () = tokio::time::sleep(again.min(Duration::from_secs(3600))) => {}
            }
        }
    }
}

/// The pods in a folder, by uid.
async fn read(folder: &Path, node: &str) -> BTreeMap<String, Arc<Pod>> {
    let mut found = BTreeMap::new();
    let Ok(mut entries) = tokio::fs::read_dir(folder).await else { return found };
    while let Ok(Some(entry)) = entries.next_entry().await {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_file = entry.metadata().await.is_ok_and(|meta| meta.is_file() && meta.len() <= LARGEST);
        if name.starts_with('.') || !is_file {
            continue;
        }
        match tokio::fs::read_to_string(entry.path()).await {
            Ok(text) => match parse(&text, &name, node) {
                Ok(pod) => drop(found.insert(spec::uid(&pod).to_owned(), Arc::new(pod))),
                Err(error) => tracing::warn!(error, file = name, "not a pod"),
            },
            Err(error) => tracing::warn!(%error, file = name, "static pod not read"),
        }
    }
    found
}

/// What the API server would have filled in is filled in here, as far as this kubelet reads it.
fn parse(text: &str, file: &str, node: &str) -> Result<Pod, String> {
    let mut pod: Pod = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let spec = pod.spec.as_mut().ok_or("no spec")?;
    spec.node_name = Some(node.to_owned());
    let name = pod.metadata.name.take().ok_or("no name")?;
    let hash = digest(&format!("{node}\0{file}\0{text}"));
    let meta = &mut pod.metadata;
    meta.name = Some(format!("{name}-{node}"));
    meta.namespace.get_or_insert_with(|| "default".to_owned());
    meta.uid.get_or_insert_with(|| hash.clone());
    let annotations = meta.annotations.get_or_insert_default();
    annotations.insert(SOURCE.to_owned(), "file".to_owned());
    annotations.insert(HASH.to_owned(), hash);
    Ok(pod)
}

/// 128 bits that differ where the text differs.
fn digest(text: &str) -> String {
    let fnv =
        |start: u64| text.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{:016x}{:016x}", fnv(0xcbf2_9ce4_8422_2325), fnv(0x8422_2325_cbf2_9ce4))
}

/// Brings the mirrors in line. False if it has to be tried again.
async fn show(context: &Context, wanted: &BTreeMap<String, Arc<Pod>>, mirrors: &Informer<Pod>) -> bool {
    if !mirrors.has_synced() {
        return false;
    }
    let mut complete = true;
    let mut shown = Vec::new();
    for mirror in mirrors.list().iter().filter(|pod| is_mirror(pod)) {
        let real = wanted
            .values()
            .find(|pod| spec::name(pod) == spec::name(mirror) && spec::namespace(pod) == spec::namespace(mirror));
        let same = real.is_some_and(|pod| annotation(pod, HASH) == annotation(mirror, MIRROR));
        if same && mirror.metadata.deletion_timestamp.is_none() {
            shown.push(annotation(mirror, MIRROR).unwrap_or_default().to_owned());
        } else {
            complete &= remove(context, mirror).await && real.is_none();
        }
    }
    for pod in wanted.values() {
        let hash = annotation(pod, HASH).unwrap_or_default();
        if !shown.iter().any(|shown| shown == hash) {
            complete &= create(context, pod, hash).await;
        }
    }
    complete
}

async fn create(context: &Context, pod: &Pod, hash: &str) -> bool {
    let mut mirror = pod.clone();
    mirror.metadata.uid = None;
    mirror.metadata.annotations.get_or_insert_default().insert(MIRROR.to_owned(), hash.to_owned());
    let api: Api<Pod> = Api::namespaced(context.client.clone(), spec::namespace(pod));
    match tokio::time::timeout(WRITE, api.create(&PostParams::default(), &mirror)).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) if write::is_already_exists(&error) => true,
        Ok(Err(error)) => {
            tracing::warn!(pod = spec::display(pod), %error, "mirror pod not created");
            false
        }
        Err(_) => false,
    }
}

async fn remove(context: &Context, mirror: &Pod) -> bool {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), spec::namespace(mirror));
    let params = DeleteParams { grace_period_seconds: Some(0), ..Default::default() };
    match tokio::time::timeout(WRITE, api.delete(spec::name(mirror), &params)).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => write::is_not_found(&error),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_becomes_a_pod_of_this_node() {
        let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: etcd}\nspec: {containers: [{name: c, image: i}]}\n";
        let pod = parse(text, "etcd.yaml", "n1").unwrap();
        assert_eq!((spec::name(&pod), spec::namespace(&pod)), ("etcd-n1", "default"));
        assert_eq!(spec::uid(&pod).len(), 32);
        assert!(is_static(&pod) && !is_mirror(&pod));
        let other = parse(&text.replace("image: i", "image: j"), "etcd.yaml", "n1").unwrap();
        assert_ne!(spec::uid(&pod), spec::uid(&other), "a changed file is another pod");
    }
}
