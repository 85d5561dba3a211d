//! Images from registries.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cri::CriError;
use cri::v1::AuthConfig;
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::OciDescriptor;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::store::{Document, Origin, Store, chain_ids};
use super::{ImageError, reference};
use crate::native::Registry;

/// Layers on their way at the same time.
const PARALLEL: usize = 4;

/// Pulls an image unless it is there; answers its id. Mirrors are asked first, in their order.
pub(crate) async fn pull(
    store: &Arc<Store>,
    registries: &[Registry],
    name: &str,
    auth: Option<AuthConfig>,
) -> Result<String, ImageError> {
    let full = reference::normalize(name);
    let parsed: Reference =
        full.parse().map_err(|e| ImageError::Invalid(format!("couldn't parse image name {name:?}: {e}")))?;
    let host = reference::registry(&full);
    let known = registries.iter().find(|r| r.host == host).or_else(|| registries.iter().find(|r| r.host == "*"));
    let mut last = None;
    let mirrors = known.iter().flat_map(|registry| &registry.mirrors).map(|mirror| Some(mirror.as_str()));
    for mirror in mirrors.chain([None]) {
        let mut from = parsed.clone();
        mirror.into_iter().for_each(|mirror| from.set_mirror_registry(mirror.to_owned()));
        let client = client(known, mirror.unwrap_or(host))?;
        match fetch(store, &client, &from, &full, &credentials(auth.as_ref())).await {
            Ok(id) => return Ok(id),
            Err(error) => {
                tracing::debug!(image = %full, mirror, %error, "a registry could not serve the image");
                last = Some(error);
            }
        }
    }
    Err(last.unwrap_or_else(|| ImageError::Registry("no registry to ask".to_owned())))
}

fn client(registry: Option<&Registry>, host: &str) -> Result<Client, ImageError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Refused when another thread was faster, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let local = name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let plain = local || registry.is_some_and(|registry| registry.insecure);
    let ca = registry.and_then(|registry| registry.ca.as_deref()).map(certificate).transpose()?;
    let config = ClientConfig {
        protocol: if plain { ClientProtocol::Http } else { ClientProtocol::Https },
        extra_root_certificates: ca.into_iter().collect(),
        connect_timeout: Some(Duration::from_secs(15)),
        read_timeout: Some(Duration::from_secs(60)),
        user_agent: concat!("oxikube/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    };
    Client::try_from(config).map_err(|e| ImageError::Registry(format!("cannot set up a registry client: {e}")))
}

fn certificate(file: &Path) -> Result<Certificate, ImageError> {
    let data = std::fs::read(file).map_err(ImageError::file("read", file))?;
    Ok(Certificate { encoding: CertificateEncoding::Pem, data })
}

fn credentials(auth: Option<&AuthConfig>) -> RegistryAuth {
    use base64::Engine;
    let Some(auth) = auth else { return RegistryAuth::Anonymous };
    if !auth.registry_token.is_empty() {
        return RegistryAuth::Bearer(auth.registry_token.clone());
    }
    if !auth.username.is_empty() {
        return RegistryAuth::Basic(auth.username.clone(), auth.password.clone());
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(&auth.auth).ok();
    let pair = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    match pair.as_deref().and_then(|pair| pair.split_once(':')) {
        Some((user, password)) => RegistryAuth::Basic(user.to_owned(), password.to_owned()),
        None => RegistryAuth::Anonymous,
    }
}

fn refused(error: OciDistributionError) -> ImageError {
    let gone = |code: &OciErrorCode| matches!(code, OciErrorCode::ManifestUnknown | OciErrorCode::NameUnknown);
    match &error {
        OciDistributionError::ImageManifestNotFoundError(_) => ImageError::Registry("not found".to_owned()),
        OciDistributionError::RegistryError { envelope, .. } if envelope.errors.iter().any(|e| gone(&e.code)) => {
            ImageError::Registry("not found".to_owned())
        }
        _ => ImageError::Registry(error.to_string()),
    }
}

async fn fetch(
    store: &Arc<Store>,
    client: &Client,
    from: &Reference,
    full: &str,
    auth: &RegistryAuth,
) -> Result<String, ImageError> {
    let pulled = client.pull_manifest_and_config_and_list_digest(from, auth).await.map_err(refused)?;
    let (manifest, digest, document, list_digest) = pulled;
    let parsed: Document =
        serde_json::from_str(&document).map_err(|e| ImageError::Invalid(format!("image configuration: {e}")))?;
    let diff_ids = parsed.rootfs.diff_ids;
    if diff_ids.len() != manifest.layers.len() {
        return Err(ImageError::Invalid("the image's manifest and configuration disagree about its layers".to_owned()));
    }
    let chain = chain_ids(&diff_ids);
    let scratch = store.scratch()?;
    let mut jobs = JoinSet::new();
    let permits = Arc::new(Semaphore::new(PARALLEL));
    for (number, (layer, (diff_id, chain_id))) in manifest.layers.iter().zip(diff_ids.iter().zip(&chain)).enumerate() {
        if !store.has_layer(chain_id) {
            let job = Job {
                client: client.clone(),
                from: from.clone(),
                layer: layer.clone(),
                place: scratch.path().join(number.to_string()),
                diff_id: diff_id.clone(),
                chain_id: chain_id.clone(),
                below: chain.get(..number).unwrap_or_default().to_vec(),
            };
            jobs.spawn(job.run(store.clone(), permits.clone()));
        }
    }
    while let Some(done) = jobs.join_next().await {
        done.map_err(|e| ImageError::Registry(format!("the pull broke off: {e}")))??;
    }
    let repository = reference::repository(full);
    let digest = format!("{repository}@{}", list_digest.unwrap_or(digest));
    let tag = (!full.contains('@')).then(|| full.to_owned());
    store.add_image(document.as_bytes(), tag, Some(digest), Origin::Registry)
}

/// One layer to fetch and unpack.
struct Job {
    client: Client,
    from: Reference,
    layer: OciDescriptor,
    place: PathBuf,
    diff_id: String,
    chain_id: String,
    below: Vec<String>,
}

impl Job {
    async fn run(self, store: Arc<Store>, permits: Arc<Semaphore>) -> Result<(), ImageError> {
        let broken = |e: String| ImageError::Registry(format!("the pull broke off: {e}"));
        let _permit = permits.acquire().await.map_err(|e| broken(e.to_string()))?;
        let mut file = File::create_new(&self.place).await.map_err(ImageError::file("create", &self.place))?;
        self.client.pull_blob(&self.from, &self.layer, &mut file).await.map_err(refused)?;
        file.flush().await.map_err(ImageError::file("write", &self.place))?;
        let unpack = move || {
            let file = std::fs::File::open(&self.place).map_err(ImageError::file("open", &self.place))?;
            store.add_layer(file, &self.diff_id, &self.below, &self.chain_id)
        };
        tokio::task::spawn_blocking(unpack).await.map_err(|e| broken(e.to_string()))?
    }
}

/// The failure as kubelet reports it.
pub(crate) fn refusal(name: &str, error: ImageError) -> CriError {
    match error {
        ImageError::Registry(text) if text == "not found" => CriError::NotFound(format!(
            "failed to pull and unpack image {name:?}: failed to resolve reference: not found"
        )),
        ImageError::Invalid(text) => CriError::InvalidArgument(text),
        other => CriError::Unavailable(format!("failed to pull image {name:?}: {}", super::super::internal(other))),
    }
}
