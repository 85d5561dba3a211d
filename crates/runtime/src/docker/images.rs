//! Docker's images.

use std::path::Path;

use async_trait::async_trait;
use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::models::{BuildInfo, ImageInspect};
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ImportImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder,
};
use cri::v1::*;
use cri::{CriError, ImageService};
use futures::{Stream, StreamExt, TryStreamExt};
use tokio_util::io::ReaderStream;

use super::{Docker, LONG, USUAL, archive, refused, unless_gone, within};
use crate::shared::{internal, now, value};

/// `Loaded image: NAME` or `Loaded image ID: sha256:...`
fn loaded(line: &str) -> Option<&str> {
    let line = line.trim();
    line.strip_prefix("Loaded image: ").or_else(|| line.strip_prefix("Loaded image ID: "))
}

/// Without a tag Docker would fetch them all.
fn tagged(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains(':') || last.contains('@') { name.to_owned() } else { format!("{name}:latest") }
}

fn named(names: Vec<String>) -> Vec<String> {
    names.into_iter().filter(|name| !name.contains("<none>")).collect()
}

fn image(found: ImageInspect) -> Image {
    let user = found.config.and_then(|config| config.user).unwrap_or_default();
    let name = user.split(':').next().unwrap_or_default();
    let uid = if name.is_empty() { Some(0) } else { name.parse().ok() };
    Image {
        id: found.id.unwrap_or_default(),
        repo_tags: named(found.repo_tags.unwrap_or_default()),
        repo_digests: named(found.repo_digests.unwrap_or_default()),
        size: u64::try_from(found.size.unwrap_or(0)).unwrap_or(0),
        uid: uid.map(|value| Int64Value { value }),
        username: if uid.is_some() { String::new() } else { name.to_owned() },
        spec: None,
        pinned: false,
    }
}

impl Docker {
    pub(super) async fn load(&self, path: &Path) -> Result<Vec<String>, CriError> {
        let given = path.to_owned();
        let listed = tokio::task::spawn_blocking(move || archive::with_list(&given)).await.map_err(internal)?;
        let listed = listed.map_err(internal)?;
        let path = listed.as_ref().map_or(path, |file| file.path());
        let file = tokio::fs::File::open(path).await.map_err(internal)?;
        let body = bollard::body_try_stream(ReaderStream::with_capacity(file, 64 << 10));
        self.loaded(self.api().import_image(ImportImageOptionsBuilder::new().build(), body, None)).await
    }

    pub(super) async fn load_bytes(&self, archive: Vec<u8>) -> Result<Vec<String>, CriError> {
        let body = bollard::body_full(archive.into());
        self.loaded(self.api().import_image(ImportImageOptionsBuilder::new().build(), body, None)).await
    }

    /// The ids of what Docker says to have loaded.
    async fn loaded(&self, steps: impl Stream<Item = Result<BuildInfo, Error>>) -> Result<Vec<String>, CriError> {
        let said: Vec<BuildInfo> = within(LONG, steps.try_collect()).await?;
        let mut ids = Vec::new();
        for name in said.iter().filter_map(|line| loaded(line.stream.as_deref()?)) {
            ids.extend(within(USUAL, self.api().inspect_image(name)).await?.id);
        }
        Ok(ids)
    }
}

fn credentials(auth: AuthConfig) -> DockerCredentials {
    let text = |text: String| (!text.is_empty()).then_some(text);
    DockerCredentials {
        username: text(auth.username),
        password: text(auth.password),
        auth: text(auth.auth),
        serveraddress: text(auth.server_address),
        identitytoken: text(auth.identity_token),
        registrytoken: text(auth.registry_token),
        ..DockerCredentials::default()
    }
}

#[async_trait]
impl ImageService for Docker {
    async fn list_images(&self, filter: Option<ImageFilter>) -> Result<Vec<Image>, CriError> {
        if let Some(wanted) = filter.and_then(|filter| filter.image).filter(|image| !image.image.is_empty()) {
            return Ok(self.image_status(wanted).await?.into_iter().collect());
        }
        let options = ListImagesOptionsBuilder::new().build();
        let found = within(USUAL, self.api().list_images(Some(options))).await?;
        let images = found.into_iter().map(|one| Image {
            id: one.id,
            repo_tags: named(one.repo_tags),
            repo_digests: named(one.repo_digests),
            size: u64::try_from(one.size).unwrap_or(0),
            ..Image::default()
        });
        Ok(images
            .map(|image| Image { pinned: image.repo_tags.iter().any(|n| n == crate::pause::IMAGE), ..image })
            .collect())
    }

    async fn image_status(&self, spec: ImageSpec) -> Result<Option<Image>, CriError> {
        match within(USUAL, self.api().inspect_image(&spec.image)).await {
            Ok(found) => Ok(Some(image(found))),
            Err(CriError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn pull_image(&self, request: PullImageRequest) -> Result<String, CriError> {
        let name = tagged(&request.image.map(|image| image.image).unwrap_or_default());
        let options = CreateImageOptionsBuilder::new().from_image(&name).build();
        let mut steps = self.api().create_image(Some(options), None, request.auth.map(credentials));
        while let Some(step) = steps.next().await {
            if let Some(message) = step.map_err(refused)?.error_detail.and_then(|detail| detail.message) {
                return Err(CriError::Internal(message));
            }
        }
        Ok(within(USUAL, self.api().inspect_image(&name)).await?.id.unwrap_or(name))
    }

    async fn remove_image(&self, spec: ImageSpec) -> Result<(), CriError> {
        // By its id an image goes with all its names.
        let options = RemoveImageOptionsBuilder::new().force(true).build();
        let removed = within(USUAL, self.api().remove_image(&spec.image, Some(options), None)).await;
        unless_gone(removed.map(drop))
    }

    async fn image_fs_info(&self) -> Result<ImageFsInfoResponse, CriError> {
        let images = self.list_images(None).await?;
        let usage = FilesystemUsage {
            timestamp: now(),
            fs_id: Some(FilesystemIdentifier { mountpoint: self.inner.root.display().to_string() }),
            used_bytes: value(images.iter().map(|image| image.size).sum()),
            inodes_used: None,
        };
        Ok(ImageFsInfoResponse { image_filesystems: vec![usage.clone()], container_filesystems: vec![usage] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_docker_needs_them() {
        assert_eq!(tagged("nginx"), "nginx:latest");
        assert_eq!(tagged("localhost:5000/a"), "localhost:5000/a:latest");
        assert_eq!(tagged("a@sha256:1"), "a@sha256:1");
        assert_eq!(loaded("Loaded image: nginx:latest\n"), Some("nginx:latest"));
        assert_eq!(loaded("Loading layer"), None);
    }
}
