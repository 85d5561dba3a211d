//! Composes a kubelet.

use std::sync::Arc;

use client::{EventRecorder, EventSink, Informers, Selection};
use cri::Engine;
use k8s_openapi::api::core::v1::{Node, Pod};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::context::{self, Context};
use crate::eviction::{self, Pressure};
use crate::images::Images;
use crate::localpath;
use crate::node::{self, Facts, NodeKeeper};
use crate::objects::Objects;
use crate::pods::Pods;
use crate::probes::Prober;
use crate::server::{self, ServerError};
use crate::services;
use crate::statics;
use crate::volumes::Volumes;

/// Why a kubelet cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum KubeletError {
    /// A folder cannot be made.
    #[error("cannot make folder {path}")]
    Folder {
        /// The folder.
        path: std::path::PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The engine does not answer.
    #[error("the container engine does not answer")]
    Engine(#[source] cri::CriError),
    /// Probes cannot be made.
    #[error("the HTTP client for probes cannot be built")]
    Prober(#[source] reqwest::Error),
    /// The server cannot be set up.
    #[error("the kubelet's server cannot be set up")]
    Server(#[source] ServerError),
}

/// A kubelet that is ready to run.
pub struct Kubelet {
    context: Arc<Context>,
    informers: Informers,
    facts: Facts,
    events: EventSink,
    server: Option<server::Server>,
}

impl Kubelet {
    /// Asks the engine who it is and binds the server's port; nothing runs yet.
    pub async fn build(
        mut config: Config,
        client: kube::Client,
        engine: Arc<dyn Engine>,
    ) -> Result<Self, KubeletError> {
        for path in [config.root_dir.join("pods"), config.pod_logs_dir.clone()] {
            let made = tokio::fs::create_dir_all(&path).await;
            made.map_err(|source| KubeletError::Folder { path, source })?;
        }
        let version = engine.version().await.map_err(KubeletError::Engine)?;
        let server = match config.tls.clone() {
            Some(tls) => {
                let server = server::Server::bind(&config, &tls).await.map_err(KubeletError::Server)?;
                // A port chosen by the system is what the Node has to tell.
                config.address = server.address();
                Some(server)
            }
            None => None,
        };
        let config = Arc::new(config);
        let runtime = version.runtime_name.clone();
        let facts = Facts::read(&config, format!("{runtime}://{}", version.runtime_version));
        let informers = Informers::new(client.clone());
        let objects = Arc::new(Objects::new(client.clone(), informers.clone()));
        let (recorder, events) = EventRecorder::new(client.clone(), "kubelet", &config.node_name);
        let context = Context {
            volumes: Volumes::new(Arc::clone(&config), Arc::clone(&objects)),
            images: Images::new(Arc::clone(&engine), Arc::clone(&objects)),
            services: informers.project(Selection::default(), services::project),
            prober: Arc::new(Prober::new(Arc::clone(&engine)).map_err(KubeletError::Prober)?),
            host_ips: context::host_addresses(&config).iter().map(ToString::to_string).collect(),
            allocatable: facts.allocatable(),
            memory_capacity: facts.memory,
            pressure: watch::Sender::new(Pressure::now(&config, &facts)),
            config,
            client,
            engine,
            runtime,
            recorder,
            objects,
        };
        Ok(Self { context: Arc::new(context), informers, facts, events, server })
    }

    /// Runs until `shutdown`. Containers go on running after it.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { context, informers, facts, events, server } = self;
        let mine = Selection::fields(format!("spec.nodeName={}", context.config.node_name));
        let pod_informer = informers.select::<Pod>(mine);
        let itself = Selection::fields(format!("metadata.name={}", context.config.node_name));
        let node_informer = informers.select::<Node>(itself);
        let pods = Pods::new(Arc::clone(&context), shutdown.clone());
        let keeper = NodeKeeper::new(Arc::clone(&context), facts.clone());
        // Before anything asks which pods there are.
        let _pod_guard = pods.follow(&pod_informer);
        let mut tasks = JoinSet::new();
        tasks.spawn(events.run(shutdown.clone()));
        let (_node_guard, hand_over) = keeper.follow(&node_informer);
        tasks.spawn(hand_over);
        tasks.spawn(keeper.run());
        tasks.spawn(node::keep_lease(Arc::clone(&context)));
        tasks.spawn(Arc::clone(&pods).listen());
        tasks.spawn(Arc::clone(&pods).relist(pod_informer.clone()));
        tasks.spawn(eviction::run(Arc::clone(&context), Arc::clone(&pods), facts));
        if let Some(server) = server {
            tasks.spawn(server.keep_certified(Arc::clone(&context)));
            tasks.spawn(server.run(Arc::clone(&context), Arc::clone(&pods), shutdown.clone()));
        }
        tasks.spawn(localpath::run(Arc::clone(&context), informers.clone(), shutdown.clone()));
        tasks.spawn(statics::run(Arc::clone(&context), Arc::clone(&pods), pod_informer.clone()));
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(ended) = tasks.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "part of the kubelet ended abnormally");
                    }
                }
            }
        }
        tasks.abort_all();
        pods.drain().await;
        informers.shutdown().await;
    }
}
