//! Service variables: how a process finds services without DNS.

use k8s_openapi::api::core::v1::{Pod, Service as ApiService};

use crate::spec;

/// What a kubelet needs of a Service.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) cluster_ip: String,
    /// Name, port, protocol.
    pub(crate) ports: Vec<(Option<String>, i32, String)>,
}

pub(crate) fn project(service: ApiService) -> Service {
    let spec = service.spec.unwrap_or_default();
    let ports = spec.ports.unwrap_or_default().into_iter();
    let ports = ports.map(|port| (port.name, port.port, port.protocol.unwrap_or_else(|| "TCP".to_owned())));
    Service {
        namespace: service.metadata.namespace.unwrap_or_default(),
        name: service.metadata.name.unwrap_or_default(),
        cluster_ip: spec.cluster_ip.unwrap_or_default(),
        ports: ports.collect(),
    }
}

/// Variables of the services of the pod's namespace, and always of the API server.
pub(crate) fn variables(pod: &Pod, services: &[Service]) -> Vec<(String, String)> {
    let links = spec::pod_spec(pod).enable_service_links.unwrap_or(true);
    let namespace = spec::namespace(pod);
    let mut all = Vec::new();
    let is_master = |service: &Service| service.namespace == "default" && service.name == "kubernetes";
    let has_own_master = links && services.iter().any(|s| s.namespace == namespace && s.name == "kubernetes");
    for service in services {
        let own = links && service.namespace == namespace;
        let master = is_master(service) && !has_own_master;
        let has_ip = !matches!(service.cluster_ip.as_str(), "" | "None");
        if has_ip && (own || master) {
            push(service, &mut all);
        }
    }
    all
}

fn push(service: &Service, all: &mut Vec<(String, String)>) {
    let prefix = service.name.to_uppercase().replace('-', "_");
    let ip = &service.cluster_ip;
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.clone() };
    let Some((_, first, first_protocol)) = service.ports.first() else { return };
    all.push((format!("{prefix}_SERVICE_HOST"), ip.clone()));
    all.push((format!("{prefix}_SERVICE_PORT"), first.to_string()));
    for (name, port, _) in &service.ports {
        if let Some(name) = name.as_ref().filter(|name| !name.is_empty()) {
            all.push((format!("{prefix}_SERVICE_PORT_{}", name.to_uppercase().replace('-', "_")), port.to_string()));
        }
    }
    all.push((format!("{prefix}_PORT"), format!("{}://{host}:{first}", first_protocol.to_lowercase())));
    for (_, port, protocol) in &service.ports {
        let one = format!("{prefix}_PORT_{port}_{protocol}");
        let lower = protocol.to_lowercase();
        all.push((one.clone(), format!("{lower}://{host}:{port}")));
        all.push((format!("{one}_PROTO"), lower));
        all.push((format!("{one}_PORT"), port.to_string()));
        all.push((format!("{one}_ADDR"), ip.clone()));
    }
}
