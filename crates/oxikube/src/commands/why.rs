//! `oxikube why`: reads objects with the caller's rights, lets `why` decide, prints.

use std::path::PathBuf;

use clap::Args;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Event, Namespace, Node, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::api::ListParams;
use kube::{Api, Resource};
use scheduler::{Profile, World, explain};
use serde::de::DeserializeOwned;

use crate::cli::DataDir;
use crate::instance::Instance;
use crate::problem::{During, Problem};
use crate::why::{self, Answer};

/// Arguments of `why`.
#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// What does not do as it should: pod/NAME, deployment/NAME, pvc/NAME, service/NAME, node/NAME, namespace/NAME
    subject: String,
    /// Its namespace
    #[arg(short = 'n', long, default_value = "default")]
    namespace: String,
    /// Output: text or json
    #[arg(short = 'o', long, default_value = "text", value_parser = ["text", "json"])]
    output: String,
    /// Kubeconfig of who asks [default: the administrator's]
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    data: DataDir,
}

pub(crate) async fn run(args: &WhyArgs) -> Result<(), Problem> {
    let path = args.kubeconfig.clone().unwrap_or_else(|| Instance::new(&args.data.data_dir).kubeconfig());
    let client = client::connect::from_kubeconfig(&path).await;
    let client = client.map_err(|error| Problem::new(format!("{error}; is the cluster up?")))?;
    let (kind, name) = args.subject.split_once('/').unwrap_or(("pod", &args.subject));
    let asker = Asker { client, namespace: args.namespace.clone() };
    let mut answer = match kind {
        "pod" | "pods" | "po" => asker.pod(name).await?,
        "deployment" | "deployments" | "deploy" => asker.deployment(name).await?,
        "pvc" | "persistentvolumeclaim" | "persistentvolumeclaims" => asker.claim(name).await?,
        "service" | "services" | "svc" => asker.service(name).await?,
        "node" | "nodes" | "no" => why::node::why(&asker.cluster::<Node>(name).await?, jiff::Timestamp::now()),
        "namespace" | "namespaces" | "ns" => why::namespace::why(&asker.cluster::<Namespace>(name).await?),
        other => {
            let known = "pod, deployment, pvc, service, node, namespace";
            return Err(Problem::new(format!("'{other}' cannot be asked about yet; these can: {known}")));
        }
    };
    answer.subject = format!("{kind}/{name}");
    match args.output.as_str() {
        "json" => println!("{}", serde_json::to_string_pretty(&answer).unwrap_or_default()),
        _ => println!("{}", answer.text()),
    }
    Ok(())
}

/// Reads for somebody.
struct Asker {
    client: kube::Client,
    namespace: String,
}

impl Asker {
    async fn one<K>(&self, name: &str) -> Result<K, Problem>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let api = Api::<K>::namespaced(self.client.clone(), &self.namespace);
        api.get(name).await.during(format!("cannot read {}/{name}", K::plural(&())))
    }

    async fn cluster<K>(&self, name: &str) -> Result<K, Problem>
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let api = Api::<K>::all(self.client.clone());
        api.get(name).await.during(format!("cannot read {}/{name}", K::plural(&())))
    }

    /// All of the namespace.
    async fn list<K>(&self) -> Result<Vec<K>, Problem>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let api = Api::<K>::namespaced(self.client.clone(), &self.namespace);
        let list = api.list(&ListParams::default()).await;
        list.map(|list| list.items).during(format!("cannot list {}", K::plural(&())))
    }

    /// All of the cluster; `unseen` takes what may not be read.
    async fn all<K>(&self, unseen: &mut Vec<String>) -> Vec<K>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        match Api::<K>::all(self.client.clone()).list(&ListParams::default()).await {
            Ok(list) => list.items,
            Err(error) => {
                unseen.push(format!("not looked at: {} ({error})", K::plural(&())));
                Vec::new()
            }
        }
    }

    async fn pod(&self, name: &str) -> Result<Answer, Problem> {
        let pod = self.one::<Pod>(name).await?;
        let events = self.list::<Event>().await?;
        Ok(self.of_pod(&pod, &events).await)
    }

    async fn of_pod(&self, pod: &Pod, events: &[Event]) -> Answer {
        if !why::pod::waits_for_a_node(pod) {
            return why::pod::why(pod, events, None);
        }
        let mut unseen = Vec::new();
        let world = World {
            nodes: self.all(&mut unseen).await,
            pods: self.all(&mut unseen).await,
            claims: self.all(&mut unseen).await,
            volumes: self.all(&mut unseen).await,
            classes: self.all(&mut unseen).await,
            namespaces: self.all(&mut unseen).await,
            budgets: self.all(&mut unseen).await,
        };
        let explanation = explain(pod, world, &Profile::default());
        why::pod::why(pod, events, Some(&explanation)).with(unseen)
    }

    async fn deployment(&self, name: &str) -> Result<Answer, Problem> {
        let deployment = self.one::<Deployment>(name).await?;
        let events = self.list::<Event>().await?;
        if let Some(answer) = why::workload::why(&deployment, &events) {
            return Ok(answer);
        }
        let selector = client::selector(Some(&deployment.spec.selector));
        let mut pods = self.list::<Pod>().await?;
        pods.retain(|pod| {
            let labels = pod.metadata.labels.clone().unwrap_or_default();
            selector.as_ref().is_some_and(|selector| selector.matches(&labels))
        });
        let culprit = match why::workload::culprit(&pods) {
            Some(pod) => {
                let mut answer = self.of_pod(pod, &events).await;
                answer.subject = format!("pod/{}", pod.metadata.name.as_deref().unwrap_or_default());
                Some(answer)
            }
            None => None,
        };
        Ok(why::workload::because_of(&deployment, culprit))
    }

    async fn claim(&self, name: &str) -> Result<Answer, Problem> {
        let claim = self.one::<PersistentVolumeClaim>(name).await?;
        let mut unseen = Vec::new();
        let classes = self.all(&mut unseen).await;
        let (pods, events) = (self.list::<Pod>().await?, self.list::<Event>().await?);
        Ok(why::claim::why(&claim, &classes, &pods, &events).with(unseen))
    }

    async fn service(&self, name: &str) -> Result<Answer, Problem> {
        let service = self.one::<Service>(name).await?;
        Ok(why::service::why(&service, &self.list::<Pod>().await?))
    }
}
