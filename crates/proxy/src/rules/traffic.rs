//! Real connections through the kernel, in a network namespace of the test's own: needs root.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use serde_json::json;
use sys::namespace::{Kind, pin, unpin, within_net};
use sys::netlink::{Netlink, Route, RouteTag};
use sys::nft::{Kernel, Ruleset};

use super::tests::table_of;

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);

/// A node with pods `a` (10.244.0.2) and `b` (10.244.0.3), each answering on 8080 with its name and the caller.
pub(crate) struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    pub(crate) fn run<F: Future<Output = ()>>(test: impl FnOnce(PathBuf) -> F + Send + 'static) {
        let lab = Self { dir: tempfile::tempdir().unwrap() };
        let dir = lab.dir.path().to_owned();
        let done = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                set_up(&dir).await;
                test(dir).await;
            });
        });
        let done = done.join();
        drop(lab);
        done.unwrap();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for pod in ["a", "b"] {
            unpin(&self.dir.path().join(pod)).unwrap();
        }
    }
}

async fn set_up(dir: &Path) {
    let host = Netlink::here().unwrap();
    host.up("lo").await.unwrap();
    let bridge = host.bridge("br0").await.unwrap();
    host.address("br0", GATEWAY.into(), 24).await.unwrap();
    host.up("br0").await.unwrap();
    // As the pod network does; redirects and refusals share one allowance of ICMP messages.
    let settings = [("ip_forward", "1"), ("conf.all.send_redirects", "0"), ("conf.br0.send_redirects", "0")];
    for (name, value) in settings {
        sys::namespace::set_sysctl(&format!("net.ipv4.{name}"), value).unwrap();
    }
    for (pod, last) in [("a", 2), ("b", 3)] {
        pin(&[Kind::Net], &dir.join(pod), "", &[]).unwrap();
        let netns = dir.join(pod).join("net");
        host.veth_into(pod, "eth0", &netns, None).await.unwrap();
        host.enslave(pod, bridge).await.unwrap();
        let inside = Netlink::inside(&netns).unwrap();
        inside.up("lo").await.unwrap();
        inside.up("eth0").await.unwrap();
        inside.address("eth0", Ipv4Addr::new(10, 244, 0, last).into(), 32).await.unwrap();
        inside.default_route("eth0", GATEWAY).await.unwrap();
        let listener = within_net(&netns, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8080))).unwrap();
        std::thread::spawn(move || {
            while let Ok((mut stream, from)) = listener.accept() {
                stream.write_all(format!("{pod} {}", from.ip()).as_bytes()).unwrap();
            }
        });
    }
    // As a node's default route does: service addresses are routed somewhere before they are translated.
    let gateway = Ipv4Addr::new(10, 244, 0, 2);
    let route = Route { to: Ipv4Addr::new(10, 96, 0, 0), prefix: 16, gateway, link: None };
    host.add_route(route, RouteTag { protocol: 4, metric: 0 }).await.unwrap();
}

pub(crate) fn ask(address: &str, port: u16) -> io::Result<String> {
    let address: IpAddr = address.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&(address, port).into(), Duration::from_secs(3))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

const BOTH: [&str; 2] = ["10.244.0.2@n1", "10.244.0.3@n1"];

#[test]
fn connections_find_endpoints() {
    Lab::run(|dir| async move {
        let (a, b) = (dir.join("a/net"), dir.join("b/net"));
        let spec = json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": 30080 }] });
        Kernel.apply(table_of(spec, &BOTH[..1]).rebuild(super::frame, "t")).await.unwrap();
        let keeps_source = within_net(&b, || ask("10.96.0.5", 80)).unwrap();
        assert_eq!(keeps_source, "a 10.244.0.3");
        let from_host = ask("10.96.0.5", 80).unwrap();
        assert_eq!(from_host, "a 10.244.0.1");
        let itself = within_net(&a, || ask("10.96.0.5", 80)).unwrap();
        assert_eq!(itself, "a 10.244.0.1");
        let node_port = within_net(&b, || ask("10.244.0.1", 30080)).unwrap();
        assert_eq!(node_port, "a 10.244.0.1");
        assert_eq!(ask("10.244.0.1", 30080).unwrap(), "a 10.244.0.1");
    });
}

#[test]
fn connections_are_spread_or_kept_together() {
    Lab::run(|dir| async move {
        let b = dir.join("b/net");
        let answers = || (0..24).map(|_| within_net(&b, || ask("10.96.0.5", 80)).unwrap()).collect::<Vec<_>>();
        let plain = table_of(json!({}), &BOTH);
        Kernel.apply(plain.rebuild(super::frame, "t")).await.unwrap();
        let spread = answers();
        assert!(
            spread.iter().any(|to| to.starts_with('a')) && spread.iter().any(|to| to.starts_with('b')),
            "{spread:?}"
        );
        let sticky = table_of(json!({ "sessionAffinity": "ClientIP" }), &BOTH);
        Kernel.apply(sticky.change_from(&plain, "t")).await.unwrap();
        let kept = answers();
        assert!(kept.iter().all(|to| to == &kept[0]), "{kept:?}");
    });
}

#[test]
fn nothing_behind_it_is_said_at_once() {
    Lab::run(|dir| async move {
        let b = dir.join("b/net");
        let spec = json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": 30080 }] });
        Kernel.apply(table_of(spec, &[]).rebuild(super::frame, "t")).await.unwrap();
        let refused = |port: u16, address: &str| within_net(&b, || Ok(ask(address, port).unwrap_err().kind())).unwrap();
        for (address, port) in [("10.96.0.5", 80), ("10.96.0.5", 81), ("10.244.0.1", 30080)] {
            assert_eq!(refused(port, address), io::ErrorKind::ConnectionRefused, "{address}:{port}");
        }
        assert_eq!(ask("10.96.0.5", 80).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    });
}
