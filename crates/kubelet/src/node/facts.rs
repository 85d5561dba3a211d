//! What a node is: hardware, kernel, system. Read once.

use std::collections::BTreeMap;
use std::path::Path;

use k8s_openapi::api::core::v1::NodeSystemInfo;

use crate::config::Config;
use crate::container::Allocatable;
use crate::quantity;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The version of upstream that this kubelet keeps to.
pub(crate) const VERSION: &str = "v1.37.0";

#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) info: NodeSystemInfo,
    pub(crate) cpus: i64,
    /// Bytes.
    pub(crate) memory: i64,
    /// Bytes.
    pub(crate) storage: i64,
    pub(crate) max_pods: i64,
    reserved_cpu_milli: i64,
    reserved_memory: i64,
    reserved_storage: i64,
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

impl Facts {
    /// `runtime` is the engine's name and version as `name://version`.
    pub(crate) fn read(config: &Config, runtime: String) -> Self {
        let uname = nix::sys::utsname::uname().ok();
        let kernel = uname.as_ref().map(|uname| uname.release().to_string_lossy().into_owned()).unwrap_or_default();
        let info = NodeSystemInfo {
            architecture: architecture().to_owned(),
            boot_id: read("/proc/sys/kernel/random/boot_id"),
            container_runtime_version: runtime,
            kernel_version: kernel,
            kube_proxy_version: String::new(),
            kubelet_version: VERSION.to_owned(),
            machine_id: read("/etc/machine-id"),
            operating_system: "linux".to_owned(),
            os_image: os_image(),
            system_uuid: read("/sys/class/dmi/id/product_uuid").to_lowercase(),
            ..Default::default()
        };
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let (memory, storage) = (memory_total(), storage_total(&config.root_dir));
        let reserved = |name: &str| config.system_reserved.get(name).map(|text| Quantity(text.clone()));
        let eviction = |signal: &str, total: i64| threshold(config.eviction_hard.get(signal), total);
        Self {
            info,
            cpus: i64::try_from(cpus).unwrap_or(1),
            memory,
            storage,
            max_pods: i64::try_from(config.max_pods).unwrap_or(110),
            reserved_cpu_milli: reserved("cpu").as_ref().and_then(quantity::milli).unwrap_or(0),
            reserved_memory: reserved("memory").as_ref().and_then(quantity::value).unwrap_or(0)
                + eviction("memory.available", memory),
            reserved_storage: reserved("ephemeral-storage").as_ref().and_then(quantity::value).unwrap_or(0)
                + eviction("nodefs.available", storage),
        }
    }

    pub(crate) fn allocatable(&self) -> Allocatable {
        Allocatable {
            cpu_milli: (self.cpus * 1000 - self.reserved_cpu_milli).max(0),
            memory: (self.memory - self.reserved_memory).max(0),
            ephemeral_storage: (self.storage - self.reserved_storage).max(0),
        }
    }

    pub(crate) fn labels(&self, name: &str) -> BTreeMap<String, String> {
        let arch = self.info.architecture.as_str();
        let labels = [
            ("beta.kubernetes.io/arch", arch),
            ("beta.kubernetes.io/os", "linux"),
            ("kubernetes.io/arch", arch),
            ("kubernetes.io/hostname", name),
            ("kubernetes.io/os", "linux"),
        ];
        labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }
}

/// As Go names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn os_image() -> String {
    let release = read("/etc/os-release");
    let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    pretty.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

/// A field of `/proc/meminfo` in bytes.
pub(crate) fn memory_field(name: &str) -> i64 {
    let text = read("/proc/meminfo");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<i64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

fn memory_total() -> i64 {
    memory_field("MemTotal")
}

fn storage_total(path: &Path) -> i64 {
    nix::sys::statvfs::statvfs(path)
        .ok()
        .and_then(|stat| i64::try_from(stat.blocks() * stat.fragment_size()).ok())
        .unwrap_or(0)
}

/// A quantity, or a percentage of the total.
pub(crate) fn threshold(text: Option<&String>, total: i64) -> i64 {
    let Some(text) = text else { return 0 };
    match text.strip_suffix('%').and_then(|percent| percent.parse::<f64>().ok()) {
        Some(percent) => (total as f64 * percent / 100.0) as i64,
        None => quantity::value(&Quantity(text.clone())).unwrap_or(0),
    }
}
