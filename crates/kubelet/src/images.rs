//! Images for containers: there already, or pulled, or not to be had for now.

mod credentials;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cri::Engine;
use cri::v1::{AuthConfig, Image, ImageSpec, PodSandboxConfig, PullImageRequest};
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;

use crate::objects::Objects;
use crate::record::ContainerEvents;
use crate::spec::{self, Entry};
use crate::start_error::StartError;

const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// A pull that takes longer is given up.
const PULL: Duration = Duration::from_secs(1800);

/// Failed pulls of one image for one pod.
struct Failed {
    pause: Duration,
    until: Instant,
    message: String,
}

pub(crate) struct Images {
    engine: Arc<dyn Engine>,
    objects: Arc<Objects>,
    failed: Mutex<HashMap<(String, String), Failed>>,
    /// One pull at a time per image.
    pulling: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Images {
    pub(crate) fn new(engine: Arc<dyn Engine>, objects: Arc<Objects>) -> Self {
        Self { engine, objects, failed: Mutex::default(), pulling: Mutex::default() }
    }

    /// The image of a container, pulled if need be.
    pub(crate) async fn ensure(
        &self,
        pod: &Pod,
        entry: &Entry<'_>,
        sandbox: &PodSandboxConfig,
        events: &ContainerEvents<'_>,
    ) -> Result<Image, StartError> {
        let name = entry.container.image.clone().unwrap_or_default();
        self.ensure_named(pod, name, entry.container.image_pull_policy.as_deref(), sandbox, events).await
    }

    /// The images of volumes that a container has mounted.
    pub(crate) async fn ensure_volumes(
        &self,
        pod: &Pod,
        entry: &Entry<'_>,
        sandbox: &PodSandboxConfig,
        events: &ContainerEvents<'_>,
    ) -> Result<(), StartError> {
        let mounted = |name: &str| entry.container.volume_mounts.iter().flatten().any(|mount| mount.name == name);
        for volume in spec::pod_spec(pod).volumes.iter().flatten().filter(|volume| mounted(&volume.name)) {
            let Some(source) = &volume.image else { continue };
            let name = source.reference.clone().unwrap_or_default();
            self.ensure_named(pod, name, source.pull_policy.as_deref(), sandbox, events).await?;
        }
        Ok(())
    }

    async fn ensure_named(
        &self,
        pod: &Pod,
        name: String,
        asked: Option<&str>,
        sandbox: &PodSandboxConfig,
        events: &ContainerEvents<'_>,
    ) -> Result<Image, StartError> {
        let spec = ImageSpec { image: name.clone(), user_specified_image: name.clone(), ..Default::default() };
        let policy = policy(asked, &name);
        // An imported image is what the node's owner put under its name: there is no registry to ask for a newer one.
        if let Some(image) = self.present(&spec).await?.filter(|image| policy != "Always" || image.pinned) {
            events.normal("Pulled", format!("Container image \"{name}\" already present on machine"));
            return Ok(image);
        }
        if policy == "Never" {
            let message = format!("Container image \"{name}\" is not present with pull policy of Never");
            events.warning("ErrImageNeverPull", message.clone());
            return Err(StartError::new("ErrImageNeverPull", message));
        }
        self.check_pause(pod, &name, events)?;
        let turn = Arc::clone(self.pulling.lock().entry(name.clone()).or_default());
        let pulled = {
            let _turn = turn.lock().await;
            match self.present(&spec).await? {
                // Somebody else's pull was waited for.
                Some(image) if policy != "Always" || image.pinned => Ok(image),
                _ => self.pull(pod, &spec, sandbox, events).await,
            }
        };
        self.pulling.lock().retain(|_, turn| Arc::strong_count(turn) > 1);
        pulled
    }

    async fn present(&self, spec: &ImageSpec) -> Result<Option<Image>, StartError> {
        self.engine.image_status(spec.clone()).await.map_err(|error| {
            StartError::new("ImageInspectError", format!("Failed to inspect image \"{}\": {error}", spec.image))
        })
    }

    fn check_pause(&self, pod: &Pod, name: &str, events: &ContainerEvents<'_>) -> Result<(), StartError> {
        let failed = self.failed.lock();
        let key = (spec::uid(pod).to_owned(), name.to_owned());
        let now = Instant::now();
        match failed.get(&key).filter(|failed| failed.until > now) {
            None => Ok(()),
            Some(failed) => {
                let message = format!("Back-off pulling image \"{name}\": ErrImagePull: {}", failed.message);
                events.normal("BackOff", format!("Back-off pulling image \"{name}\""));
                Err(StartError::new("ImagePullBackOff", message).after(failed.until - now))
            }
        }
    }

    async fn pull(
        &self,
        pod: &Pod,
        spec: &ImageSpec,
        sandbox: &PodSandboxConfig,
        events: &ContainerEvents<'_>,
    ) -> Result<Image, StartError> {
        let name = &spec.image;
        events.normal("Pulling", format!("Pulling image \"{name}\""));
        let start = Instant::now();
        let key = (spec::uid(pod).to_owned(), name.clone());
        let pulled = match tokio::time::timeout(PULL, self.pull_with_credentials(pod, spec, sandbox)).await {
            Ok(pulled) => pulled,
            Err(_) => Err("the pull took too long".to_owned()),
        };
        let image = match pulled {
            Ok(()) => self.present(spec).await?.ok_or_else(|| "the image is not there after its pull".to_owned()),
            Err(message) => Err(message),
        };
        match image {
            Ok(image) => {
                self.failed.lock().remove(&key);
                let took = start.elapsed().as_secs_f64();
                let size = image.size;
                let text = format!(
                    "Successfully pulled image \"{name}\" in {took:.3}s ({took:.3}s including waiting). Image size: \
                     {size} bytes."
                );
                events.normal("Pulled", text);
                Ok(image)
            }
            Err(message) => {
                let message = format!("failed to pull and unpack image \"{name}\": {message}");
                events.warning("Failed", format!("Failed to pull image \"{name}\": {message}"));
                self.fail(key, &message);
                // Soon after, the state changes to ImagePullBackOff.
                Err(StartError::new("ErrImagePull", message).after(Duration::from_secs(2)))
            }
        }
    }

    fn fail(&self, key: (String, String), message: &str) {
        let mut failed = self.failed.lock();
        let pause = failed.get(&key).map_or(FIRST_PAUSE, |before| (before.pause * 2).min(LONGEST_PAUSE));
        failed.insert(key, Failed { pause, until: Instant::now() + pause, message: message.to_owned() });
    }

    async fn pull_with_credentials(
        &self,
        pod: &Pod,
        spec: &ImageSpec,
        sandbox: &PodSandboxConfig,
    ) -> Result<(), String> {
        let credentials = self.credentials(pod, &spec.image).await;
        let mut last = String::new();
        for auth in credentials.into_iter().map(Some).chain([None]) {
            let request = PullImageRequest { image: Some(spec.clone()), auth, sandbox_config: Some(sandbox.clone()) };
            match self.engine.pull_image(request).await {
                Ok(_) => return Ok(()),
                // Of several failures the first is the one with credentials, which says more.
                Err(error) if last.is_empty() => last = error.to_string(),
                Err(_) => {}
            }
        }
        Err(last)
    }

    async fn credentials(&self, pod: &Pod, image: &str) -> Vec<AuthConfig> {
        let mut found = Vec::new();
        for reference in spec::pod_spec(pod).image_pull_secrets.iter().flatten() {
            match self.objects.secret(spec::namespace(pod), &reference.name).await {
                Ok(Some(secret)) => found.extend(credentials::for_image(&secret, image)),
                Ok(None) => tracing::debug!(secret = reference.name, "image pull secret not found"),
                Err(error) => tracing::debug!(secret = reference.name, %error, "image pull secret not readable"),
            }
        }
        found
    }

    /// Forgets the failures of a pod that is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.failed.lock().retain(|(pod, _), _| pod != uid);
    }
}

fn policy<'a>(set: Option<&'a str>, image: &str) -> &'a str {
    if let Some(set) = set.filter(|set| !set.is_empty()) {
        return set;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    let latest = !last.contains('@') && last.split_once(':').is_none_or(|(_, tag)| tag == "latest");
    if latest { "Always" } else { "IfNotPresent" }
}
