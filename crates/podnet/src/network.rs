//! Carries the network out: links, addresses, rules, and the leases on disk.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use cni::{Attached, Attachment, NetworkError, PodNetwork};
use ipnet::Ipv4Net;
use nix::fcntl::{Flock, FlockArg};
use sys::SysError;
use sys::namespace;
use sys::netlink::{Netlink, mac_of};
use sys::nft::{Kernel, Ruleset};
use tokio::sync::{Mutex, MutexGuard};

use crate::ipam::{Leases, gateway};
use crate::{names, nodes, rules};

/// How a node's network is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of the instance; bridge and table are named after it.
    pub instance: String,
    /// Where leases are kept; it is made when missing.
    pub dir: PathBuf,
    /// Addresses of all pods of the cluster: traffic to them keeps its source address.
    pub cluster_cidr: Ipv4Net,
    /// MTU of the pods' interfaces; none leaves the kernel's.
    pub mtu: Option<u32>,
}

/// The pod network of this node.
pub struct PodNet {
    config: Config,
    bridge: String,
    table: String,
    /// Held through every change, so that changes and the file agree.
    leases: Mutex<Leases>,
}

/// The leases as they are now. As long as it is held, no other process changes them either.
struct Held<'a> {
    leases: MutexGuard<'a, Leases>,
    _lock: Flock<fs::File>,
}

impl std::ops::Deref for Held<'_> {
    type Target = Leases;

    fn deref(&self) -> &Leases {
        &self.leases
    }
}

impl std::ops::DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut Leases {
        &mut self.leases
    }
}

impl PodNet {
    /// Reads the leases of an earlier run; touches no link yet.
    pub fn open(config: Config) -> Result<Self, NetworkError> {
        fs::create_dir_all(&config.dir).map_err(|e| failed("create directory", "", &e))?;
        let leases = read(&config.dir)?;
        let (bridge, table) =
            (names::bridge(&config.instance), format!("{}_podnet", names::identifier(&config.instance)));
        Ok(Self { config, bridge, table, leases: Mutex::new(leases) })
    }

    /// Takes the leases, which the plugin in another process may have changed meanwhile.
    async fn hold(&self) -> Result<Held<'_>, NetworkError> {
        let mut leases = self.leases.lock().await;
        let path = self.config.dir.join("lock");
        let lock = tokio::task::spawn_blocking(move || -> io::Result<Flock<fs::File>> {
            let file = fs::File::options().create(true).truncate(false).write(true).open(path)?;
            Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error.into())
        });
        let lock = lock.await.unwrap_or_else(|e| Err(io::Error::other(e)));
        let _lock = lock.map_err(|e| failed("lock leases", "", &e))?;
        *leases = Leases { ready: leases.ready, ..read(&self.config.dir)? };
        Ok(Held { leases, _lock })
    }

    /// Takes the node's address range in a process that comes after others: what they set up is not made anew.
    pub async fn resume(&self, range: Ipv4Net) -> Result<(), NetworkError> {
        let mut leases = self.hold().await?;
        let there = async { Netlink::here()?.index(&self.bridge).await };
        let there = there.await.map_err(|e: SysError| failed("look for the bridge", "", &e))?;
        leases.ready = there.is_some() && leases.range == Some(range);
        drop(leases);
        self.set_pod_cidr(range).await
    }

    /// What a sandbox has: its address, and the host's end of its link.
    pub(crate) async fn attached(&self, sandbox: &str) -> Result<Option<(Ipv4Addr, String)>, NetworkError> {
        let leases = self.hold().await?;
        Ok(leases.by_sandbox.get(sandbox).map(|lease| (lease.address, names::sandbox_link(sandbox))))
    }

    /// Name of the bridge.
    pub fn bridge(&self) -> &str {
        &self.bridge
    }

    /// Address of the bridge, once the range is known.
    pub async fn gateway(&self) -> Option<Ipv4Addr> {
        self.leases.lock().await.usable().map(gateway)
    }

    /// Takes the node's address range: makes the bridge, the rules, and lets packets through. Idempotent.
    pub async fn set_pod_cidr(&self, range: Ipv4Net) -> Result<(), NetworkError> {
        let mut leases = self.hold().await?;
        if leases.usable() == Some(range) {
            return Ok(());
        }
        let mut next = leases.clone();
        (next.range, next.ready) = (Some(range), true);
        let old = leases.range.filter(|old| *old != range);
        self.set_up(range, old, &next).await.map_err(|e| failed("set up the bridge", "", &e))?;
        self.save(&next)?;
        *leases = next;
        tracing::info!(%range, bridge = %self.bridge, "pod network is ready");
        Ok(())
    }

    /// Other addresses of the bridge are other parts' (the resolver's): only the old gateway's goes.
    async fn set_up(&self, range: Ipv4Net, old: Option<Ipv4Net>, leases: &Leases) -> Result<(), SysError> {
        let netlink = Netlink::here()?;
        netlink.bridge(&self.bridge).await?;
        netlink.set_mac(&self.bridge, mac_of(gateway(range))).await?;
        netlink.address(&self.bridge, IpAddr::V4(gateway(range)), range.prefix_len()).await?;
        if let Some(old) = old {
            netlink.remove_address(&self.bridge, IpAddr::V4(gateway(old))).await?;
        }
        netlink.up(&self.bridge).await?;
        namespace::set_sysctl("net.ipv4.ip_forward", "1")?;
        // Pods reach each other through the bridge on purpose. This takes both settings; other links keep their own.
        namespace::set_sysctl("net.ipv4.conf.all.send_redirects", "0")?;
        for (name, value) in [("route_localnet", "1"), ("send_redirects", "0"), ("rp_filter", "0")] {
            let path = format!("/proc/sys/net/ipv4/conf/{}/{name}", self.bridge);
            fs::write(&path, value).map_err(|e| SysError::new("set", path, e))?;
        }
        Kernel.apply(rules::ruleset(&self.table, &self.bridge, self.config.cluster_cidr, leases)).await
    }

    /// Removes every link and rule that was made; the leases too.
    pub async fn teardown(&self) -> Result<(), NetworkError> {
        let mut leases = self.hold().await?;
        let removed = async {
            let netlink = Netlink::here()?;
            for sandbox in leases.by_sandbox.keys() {
                netlink.remove(&names::sandbox_link(sandbox)).await?;
            }
            netlink.remove(&self.bridge).await?;
            nodes::remove(&netlink, &self.config.instance).await?;
            Kernel.apply(rules::removal(&self.table)).await
        };
        removed.await.map_err(|e: SysError| failed("tear down", "", &e))?;
        *leases = Leases::default();
        self.save(&leases)
    }

    fn save(&self, leases: &Leases) -> Result<(), NetworkError> {
        let (file, new) = (self.config.dir.join("leases.json"), self.config.dir.join("leases.json.new"));
        let bytes = serde_json::to_vec(leases).map_err(|e| failed("write leases", "", &e))?;
        fs::write(&new, bytes).and_then(|()| fs::rename(&new, &file)).map_err(|e| failed("write leases", "", &e))
    }

    async fn connect(&self, what: &Attachment, address: Ipv4Addr, range: Ipv4Net) -> Result<(), SysError> {
        let (outside, name) = (Netlink::here()?, names::sandbox_link(&what.sandbox_id));
        // What an interrupted attempt left behind would be in the way.
        outside.remove(&name).await?;
        outside.veth_into(&name, "eth0", &what.netns, self.config.mtu).await?;
        let bridge = outside.bridge(&self.bridge).await?;
        outside.enslave(&name, bridge).await?;
        let inside = Netlink::inside(&what.netns)?;
        inside.up("lo").await?;
        inside.up("eth0").await?;
        inside.address("eth0", IpAddr::V4(address), 32).await?;
        inside.default_route("eth0", gateway(range)).await
    }

    async fn apply_ports(&self, leases: &Leases) -> Result<(), SysError> {
        Kernel.apply(rules::ruleset(&self.table, &self.bridge, self.config.cluster_cidr, leases)).await
    }
}

#[async_trait]
impl PodNetwork for PodNet {
    async fn attach(&self, what: &Attachment) -> Result<Attached, NetworkError> {
        let mut leases = self.hold().await?;
        let range = leases.usable().ok_or_else(not_ready)?;
        let had = leases.by_sandbox.contains_key(&what.sandbox_id);
        let mut next = leases.clone();
        let address = next.lease(&what.sandbox_id, &what.port_mappings);
        let address = address.ok_or_else(|| NetworkError::Exhausted(range.to_string()))?;
        // On disk before it is used: an address must not be given twice, whatever happens in between.
        self.save(&next)?;
        let attached = async {
            self.connect(what, address, range).await?;
            if what.port_mappings.is_empty() { Ok(()) } else { self.apply_ports(&next).await }
        };
        if let Err(e) = attached.await {
            if !had {
                next.release(&what.sandbox_id);
                self.save(&next)?;
            }
            return Err(failed("attach", &what.sandbox_id, &e));
        }
        *leases = next;
        Ok(Attached { addresses: vec![IpAddr::V4(address)] })
    }

    async fn detach(&self, sandbox_id: &str, _netns: &Path) -> Result<(), NetworkError> {
        let mut leases = self.hold().await?;
        let mut next = leases.clone();
        let had = next.release(sandbox_id);
        let detached = async {
            Netlink::here()?.remove(&names::sandbox_link(sandbox_id)).await?;
            if had.is_some_and(|lease| !lease.ports.is_empty()) { self.apply_ports(&next).await } else { Ok(()) }
        };
        detached.await.map_err(|e: SysError| failed("detach", sandbox_id, &e))?;
        self.save(&next)?;
        *leases = next;
        Ok(())
    }

    async fn ready(&self) -> Result<(), NetworkError> {
        self.leases.lock().await.usable().map(|_| ()).ok_or_else(not_ready)
    }

    async fn set_pod_cidr(&self, cidr: &str) -> Result<(), NetworkError> {
        // A dual-stack node names several ranges; the first IPv4 one counts.
        let range = cidr.split(',').find_map(|part| part.trim().parse::<Ipv4Net>().ok());
        let range = range.ok_or_else(|| NetworkError::NotReady(format!("{cidr:?} is no IPv4 address range")))?;
        Self::set_pod_cidr(self, range.trunc()).await
    }
}

fn read(dir: &Path) -> Result<Leases, NetworkError> {
    match fs::read(dir.join("leases.json")) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| failed("read leases", "", &e)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Leases::default()),
        Err(e) => Err(failed("read leases", "", &e)),
    }
}

fn not_ready() -> NetworkError {
    NetworkError::NotReady("the node has no pod address range yet".to_owned())
}

fn failed(operation: &'static str, sandbox: &str, cause: &dyn std::error::Error) -> NetworkError {
    NetworkError::Failed { operation, sandbox: sandbox.to_owned(), cause: cause.to_string() }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use nix::sched::{CloneFlags, unshare};
    use sys::namespace::{Kind, pin, unpin, within_net};

    use super::*;

    /// Runs a test in a network namespace of its own, on one thread.
    fn isolated<F: Future<Output = ()>>(test: impl FnOnce(PathBuf) -> F + Send + 'static) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        let done = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                Netlink::here().unwrap().up("lo").await.unwrap();
                test(path).await;
            });
        })
        .join();
        for sandbox in ["a", "b"] {
            unpin(&dir.path().join(sandbox)).unwrap();
        }
        done.unwrap();
    }

    fn open(dir: &Path) -> PodNet {
        let cluster_cidr = "10.99.0.0/16".parse().unwrap();
        PodNet::open(Config { instance: "t".into(), dir: dir.join("podnet"), cluster_cidr, mtu: None }).unwrap()
    }

    async fn attach(net: &PodNet, dir: &Path, sandbox: &str, host_port: Option<u16>) -> (PathBuf, IpAddr) {
        pin(&[Kind::Net], &dir.join(sandbox), "", &[]).unwrap();
        let port = |host_port| PortMapping { host_ip: None, host_port, container_port: 80, protocol: Protocol::Tcp };
        let what = Attachment {
            sandbox_id: sandbox.into(),
            namespace: "default".into(),
            name: sandbox.into(),
            netns: dir.join(sandbox).join("net"),
            port_mappings: host_port.into_iter().map(port).collect(),
        };
        let address = net.attach(&what).await.unwrap().addresses[0];
        (what.netns, address)
    }

    use cni::{PortMapping, Protocol};

    /// Listens on port 80 inside `netns`; what comes in is answered with the caller's address.
    fn serve(netns: &Path) {
        let listener = within_net(netns, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80))).unwrap();
        std::thread::spawn(move || {
            while let Ok((mut stream, from)) = listener.accept() {
                stream.write_all(from.ip().to_string().as_bytes()).unwrap();
            }
        });
    }

    fn ask(address: IpAddr, port: u16) -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&(address, port).into(), Duration::from_secs(5))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn pods_reach_each_other_and_host_ports_lead_to_them() {
        isolated(|dir| async move {
            let net = open(&dir);
            assert!(matches!(net.ready().await, Err(NetworkError::NotReady(_))));
            PodNetwork::set_pod_cidr(&net, "10.99.3.0/24").await.unwrap();
            let (a, a_address) = attach(&net, &dir, "a", Some(8080)).await;
            let start = Instant::now();
            let (b, b_address) = attach(&net, &dir, "b", None).await;
            println!("attached in {:?}", start.elapsed());
            serve(&a);
            assert_eq!(within_net(&b, || ask(a_address, 80)).unwrap(), b_address.to_string());
            assert_eq!(ask(a_address, 80).unwrap(), "10.99.3.1");
            assert_eq!(ask("127.0.0.1".parse().unwrap(), 8080).unwrap(), "10.99.3.1");
            let gateway = IpAddr::V4(net.gateway().await.unwrap());
            assert_eq!(within_net(&b, || ask(gateway, 8080)).unwrap(), b_address.to_string());
            assert!(within_net(&a, || ask(gateway, 8080)).is_ok(), "a pod reaches itself through its host port");
            net.teardown().await.unwrap();
            assert_eq!(Netlink::here().unwrap().names().await.unwrap(), ["lo"]);
        });
    }

    #[test]
    fn leases_outlive_a_restart() {
        isolated(|dir| async move {
            let net = open(&dir);
            PodNetwork::set_pod_cidr(&net, "10.99.3.0/24").await.unwrap();
            let (a, address) = attach(&net, &dir, "a", None).await;
            drop(net);
            let net = open(&dir);
            assert!(net.ready().await.is_err(), "the bridge may have gone: the range must be told again");
            PodNetwork::set_pod_cidr(&net, "10.99.3.0/24").await.unwrap();
            let (_, other) = attach(&net, &dir, "b", None).await;
            assert_ne!(address, other);
            serve(&a);
            assert!(ask(address, 80).is_ok());
            net.detach("a", &a).await.unwrap();
            net.detach("a", &a).await.unwrap();
            net.teardown().await.unwrap();
        });
    }
}
