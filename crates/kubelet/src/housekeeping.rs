//! What would fill the disk: logs are rotated, images that nobody uses are removed when space is short.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cri::v1::{Container, ContainerState, Image, ImageSpec};

use crate::context::Context;

/// Rotates the logs of running containers that grew too large.
pub(crate) async fn rotate_logs(context: &Context, containers: &[Container]) {
    let running = containers.iter().filter(|one| one.state == ContainerState::ContainerRunning as i32);
    for container in running {
        let answer = context.engine.container_status(&container.id).await;
        let Some(path) = answer.ok().and_then(|answer| answer.status).map(|status| PathBuf::from(status.log_path))
        else {
            continue;
        };
        let size = tokio::fs::metadata(&path).await.map_or(0, |meta| meta.len());
        if size < context.config.container_log_max_size {
            continue;
        }
        if let Err(error) = rotate(context, &container.id, &path).await {
            tracing::warn!(error, path = %path.display(), "log not rotated");
        }
    }
}

async fn rotate(context: &Context, id: &str, path: &Path) -> Result<(), String> {
    let keep = context.config.container_log_max_files.saturating_sub(2);
    let mut rotated = rotated(path).await.map_err(|error| error.to_string())?;
    rotated.sort();
    let surplus = rotated.len().saturating_sub(keep);
    for old in rotated.iter().take(surplus) {
        tokio::fs::remove_file(old).await.map_err(|error| error.to_string())?;
    }
    let now = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S");
    let to = PathBuf::from(format!("{}.{now}", path.display()));
    tokio::fs::rename(path, &to).await.map_err(|error| error.to_string())?;
    if let Err(error) = context.engine.reopen_container_log(id).await {
        // The container goes on writing to the file that it has: give that its name back.
        tokio::fs::rename(&to, path).await.map_err(|error| error.to_string())?;
        return Err(error.to_string());
    }
    Ok(())
}

/// Earlier files of a log.
async fn rotated(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(Vec::new()) };
    let prefix = format!("{}.", name.to_string_lossy());
    let mut found = Vec::new();
    let mut entries = tokio::fs::read_dir(folder).await?;
    while let Some(entry) = entries.next_entry().await? {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// An image that nobody used for so long may go.
const UNUSED: Duration = Duration::from_secs(120);

/// Images without containers, and since when, while the disk is too full.
pub(crate) type UnusedSince = HashMap<String, Instant>;

/// Removes images without containers while the disk is too full.
pub(crate) async fn free_images(context: &Context, containers: &[Container], unused_since: &mut UnusedSince) {
    let limit = f64::from(context.config.image_gc_high_threshold) / 100.0;
    if used(&context.config.root_dir) < limit {
        unused_since.clear();
        return;
    }
    let mut unused = unused(context, containers).await;
    let ids: HashSet<String> = unused.iter().map(|image| image.id.clone()).collect();
    unused_since.retain(|id, _| ids.contains(id));
    unused.retain(|image| unused_since.entry(image.id.clone()).or_insert_with(Instant::now).elapsed() >= UNUSED);
    unused.sort_by_key(|image| std::cmp::Reverse(image.size));
    for image in unused {
        remove(context, image).await;
        if used(&context.config.root_dir) < limit - 0.05 {
            return;
        }
    }
}

/// Removes all images without containers: a node that is short of disk needs the room at once.
pub(crate) async fn free_all_images(context: &Context) {
    match context.engine.list_containers(None).await {
        Ok(containers) => {
            for image in unused(context, &containers).await {
                remove(context, image).await;
            }
        }
        Err(error) => tracing::warn!(%error, "containers not listed"),
    }
}

async fn unused(context: &Context, containers: &[Container]) -> Vec<Image> {
    let in_use: HashSet<&str> = containers
        .iter()
        .flat_map(|one| {
            [one.image_ref.as_str(), one.image_id.as_str()]
                .into_iter()
                .chain(one.image.as_ref().map(|i| i.image.as_str()))
        })
        .collect();
    let images = context.engine.list_images(None).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "images not listed");
        Vec::new()
    });
    images
        .into_iter()
        .filter(|image| !image.pinned && !in_use.contains(image.id.as_str()))
        .filter(|image| !image.repo_tags.iter().chain(&image.repo_digests).any(|name| in_use.contains(name.as_str())))
        .collect()
}

async fn remove(context: &Context, image: Image) {
    tracing::info!(id = image.id, size = image.size, "removing an unused image: the disk is nearly full");
    let spec = ImageSpec { image: image.id, ..Default::default() };
    if let Err(error) = context.engine.remove_image(spec).await {
        tracing::warn!(%error, "image not removed");
    }
}

/// The part of the file system that is taken.
fn used(path: &Path) -> f64 {
    let Ok(stat) = nix::sys::statvfs::statvfs(path) else { return 0.0 };
    let (all, free) = (stat.blocks() as f64, stat.blocks_available() as f64);
    if all == 0.0 { 0.0 } else { 1.0 - free / all }
}
