//! The pod network as a CNI plugin, for engines that are not of this project.
//!
//! An engine runs the plugin with `CNI_COMMAND` and others in the environment and a configuration on standard input; the
//! answer is JSON on standard output. Leases are shared with the node's own process through their file.
//! Plugin types: `oxikube`, and `loopback`, which engines ask for beside every network.
//!
//! Specified by <https://www.cni.dev/docs/spec/>, versions 0.3.0 to 1.0.0.

mod answer;
mod config;
#[cfg(test)]
mod tests;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;

use cni::{Attachment, PodNetwork};
use serde_json::Value;
use sys::namespace;
use sys::netlink::Netlink;

use crate::ipam::gateway;
use crate::{Config, PodNet};
use answer::Failure;
use config::{Command, Configuration, Request};

pub use config::conflist;

/// A configuration is not longer.
const MAX_INPUT: u64 = 1 << 20;

/// Whether this process was started as a plugin.
pub fn is_called() -> bool {
    std::env::var_os("CNI_COMMAND").is_some()
}

/// Answers the call that this process was started for.
pub fn main() -> ExitCode {
    let variable = |name: &str| std::env::var(name).ok();
    let mut input = Vec::new();
    let read = std::io::stdin().take(MAX_INPUT).read_to_end(&mut input);
    let answered = match read {
        Ok(_) => answer(&variable, &input),
        Err(error) => Err(Failure::Io(error.to_string())),
    };
    let (text, code) = match answered {
        Ok(None) => return ExitCode::SUCCESS,
        Ok(Some(value)) => (value, ExitCode::SUCCESS),
        Err(failure) => (answer::failure(&failure, config::version_of(&input)), ExitCode::FAILURE),
    };
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

fn answer(variable: &dyn Fn(&str) -> Option<String>, input: &[u8]) -> Result<Option<Value>, Failure> {
    if variable("CNI_COMMAND").as_deref() == Some("VERSION") {
        return Ok(Some(answer::versions(config::version_of(input))));
    }
    let request = Request::read(variable, input)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::Io(e.to_string()))?;
    runtime.block_on(async {
        match request.configuration.kind.as_str() {
            "loopback" => loopback(&request).await,
            _ => network(&request).await,
        }
    })
}

fn failed(error: &dyn std::error::Error) -> Failure {
    Failure::Failed(error.to_string())
}

async fn loopback(request: &Request) -> Result<Option<Value>, Failure> {
    match request.command {
        Command::Add => {
            let inside = Netlink::inside(&request.netns).map_err(|e| failed(&e))?;
            inside.up("lo").await.map_err(|e| failed(&e))?;
            Ok(Some(answer::loopback(&request.configuration, &request.netns)))
        }
        // It goes with its namespace.
        Command::Delete | Command::Check => Ok(None),
    }
}

async fn network(request: &Request) -> Result<Option<Value>, Failure> {
    let configuration = &request.configuration;
    let settings =
        configuration.network.as_ref().ok_or_else(|| Failure::invalid("instance, dir, podCidr are wanted"))?;
    let network = PodNet::open(Config {
        instance: settings.instance.clone(),
        dir: settings.dir.clone(),
        cluster_cidr: settings.cluster_cidr,
        mtu: None,
    });
    let network = network.map_err(|e| failed(&e))?;
    match request.command {
        Command::Add => {
            network.resume(settings.pod_cidr).await.map_err(|e| failed(&e))?;
            add(request, configuration, &network, gateway(settings.pod_cidr)).await.map(Some)
        }
        Command::Delete => {
            network.detach(&request.container, &request.netns).await.map_err(|e| failed(&e))?;
            Ok(None)
        }
        Command::Check => check(request, &network).await.map(|()| None),
    }
}

async fn add(
    request: &Request,
    configuration: &Configuration,
    network: &PodNet,
    gateway: Ipv4Addr,
) -> Result<Value, Failure> {
    let what = Attachment {
        sandbox_id: request.container.clone(),
        namespace: request.argument("K8S_POD_NAMESPACE"),
        name: request.argument("K8S_POD_NAME"),
        netns: request.netns.clone(),
        port_mappings: configuration.port_mappings()?,
    };
    // Neighbours are reached through the gateway on purpose: see this crate's words.
    let redirects = namespace::within_net(&request.netns, || {
        let names = ["net.ipv4.conf.all.accept_redirects", "net.ipv4.conf.default.accept_redirects"];
        names.iter().try_for_each(|name| namespace::set_sysctl(name, "0").map_err(|e| e.source))
    });
    redirects.map_err(|e| failed(&e))?;
    let attached = network.attach(&what).await.map_err(|e| failed(&e))?;
    let address = attached.addresses.iter().find_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    });
    let address = address.ok_or_else(|| Failure::Failed("the network gave no address".to_owned()))?;
    let link = network.attached(&request.container).await.map_err(|e| failed(&e))?.map(|(_, link)| link);
    Ok(answer::added(configuration, &link.unwrap_or_default(), &request.netns, address, gateway))
}

/// What an earlier ADD gave is still there.
async fn check(request: &Request, network: &PodNet) -> Result<(), Failure> {
    let attached = network.attached(&request.container).await.map_err(|e| failed(&e))?;
    let Some((address, link)) = attached else {
        return Err(Failure::Unknown(format!("container {} has no address", request.container)));
    };
    let outside = Netlink::here().map_err(|e| failed(&e))?;
    if outside.index(&link).await.map_err(|e| failed(&e))?.is_none() {
        return Err(Failure::Failed(format!("link {link} is gone")));
    }
    let inside = Netlink::inside(&request.netns).map_err(|e| failed(&e))?;
    if inside.index("eth0").await.map_err(|e| failed(&e))?.is_none() {
        return Err(Failure::Failed(format!("interface eth0 with {address} is gone")));
    }
    Ok(())
}
