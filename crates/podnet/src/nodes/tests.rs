//! What is decided, and that packets then arrive.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use ipnet::Ipv4Net;
use nix::sched::{CloneFlags, unshare};
use sys::namespace::{Kind, pin, unpin, within_net};
use sys::netlink::{Netlink, Route, RouteTag};

use super::plan::{NodeAddresses, Ways, mac, ways};
use super::{apply, remove};

fn node(name: &str, range: &str, address: &str) -> NodeAddresses {
    NodeAddresses { name: name.into(), range: range.parse().unwrap(), address: address.parse().unwrap() }
}

fn decide(own: &str, nodes: &[NodeAddresses]) -> Ways {
    ways(own, nodes, &["192.0.2.0/24".parse().unwrap()], "10.99.0.0/16".parse().unwrap())
}

#[test]
fn neighbours_are_next_hops_and_all_others_are_behind_a_tunnel() {
    let nodes = [
        node("a", "10.99.1.0/24", "192.0.2.1"),
        node("b", "10.99.2.0/24", "192.0.2.2"),
        node("c", "10.99.3.0/24", "198.51.100.3"),
    ];
    let ways = decide("a", &nodes);
    let way = |range: &str, node: &str| [(range.parse::<Ipv4Net>().unwrap(), node.parse::<Ipv4Addr>().unwrap())];
    assert_eq!(ways.own, Some(("10.99.1.0/24".parse().unwrap(), "192.0.2.1".parse().unwrap())));
    assert_eq!(ways.direct, way("10.99.2.0/24", "192.0.2.2").into());
    assert_eq!(ways.tunnel, way("10.99.3.0/24", "198.51.100.3").into());
}

#[test]
fn a_range_belongs_to_one_node_and_lies_in_the_clusters() {
    let nodes = [
        node("a", "10.99.1.0/24", "192.0.2.1"),
        node("b", "10.99.1.128/25", "192.0.2.2"),
        node("c", "10.98.3.0/24", "192.0.2.3"),
        node("e", "10.99.5.0/24", "192.0.2.5"),
        node("d", "10.99.5.0/24", "192.0.2.4"),
        node("simulated", "10.99.6.0/24", "192.0.2.1"),
    ];
    let direct = decide("a", &nodes).direct;
    assert_eq!(direct.into_values().map(|node| node.to_string()).collect::<Vec<_>>(), ["192.0.2.4"]);
}

#[test]
fn a_node_without_a_range_reaches_nobody() {
    assert_eq!(decide("a", &[node("b", "10.99.2.0/24", "192.0.2.2")]), Ways::default());
}

#[test]
fn hardware_addresses_are_local_and_differ() {
    let (a, b) = (mac("10.99.1.0/24".parse().unwrap()), mac("10.99.2.0/24".parse().unwrap()));
    assert_ne!(a, b);
    assert_eq!(a[0] & 0b11, 0b10, "locally administered, not a group's");
}

/// Runs asynchronous work inside a namespace.
fn inside<T: Send>(netns: &Path, work: impl AsyncFnOnce(Netlink) -> T + Send) -> T {
    within_net(netns, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(async { work(Netlink::here().unwrap()).await }))
    })
    .unwrap()
}

/// Name, own address with its prefix, router, a pod's address.
const MACHINES: [(&str, &str, [u8; 4], &str); 3] = [
    ("a", "192.0.2.1", [192, 0, 2, 254], "10.99.1.2"),
    ("b", "192.0.2.2", [192, 0, 2, 254], "10.99.2.2"),
    ("c", "198.51.100.3", [198, 51, 100, 254], "10.99.3.2"),
];

/// Three machines, two on one link, the third behind a router that knows nothing of pods. Pods are addresses on `lo`.
async fn build(dir: &Path) {
    let here = Netlink::here().unwrap();
    sys::namespace::set_sysctl("net.ipv4.ip_forward", "1").unwrap();
    for (bridge, address) in [("left", "192.0.2.254"), ("right", "198.51.100.254")] {
        here.bridge(bridge).await.unwrap();
        here.address(bridge, address.parse().unwrap(), 24).await.unwrap();
        here.up(bridge).await.unwrap();
    }
    for (name, address, router, pod) in MACHINES {
        pin(&[Kind::Net], &dir.join(name), "", &[]).unwrap();
        let netns = dir.join(name).join("net");
        here.veth_into(name, "eth0", &netns, None).await.unwrap();
        let bridge = here.bridge(if name == "c" { "right" } else { "left" }).await.unwrap();
        here.enslave(name, bridge).await.unwrap();
        let (address, pod) = (address.parse().unwrap(), pod.parse().unwrap());
        inside(&netns, async move |own| {
            own.up("lo").await.unwrap();
            own.up("eth0").await.unwrap();
            own.address("eth0", address, 24).await.unwrap();
            own.default_route("eth0", router.into()).await.unwrap();
            own.address("lo", pod, 32).await.unwrap();
        });
        let listener = within_net(&netns, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80))).unwrap();
        std::thread::spawn(move || {
            while let Ok((mut stream, from)) = listener.accept() {
                stream.write_all(from.ip().to_string().as_bytes()).unwrap();
            }
        });
    }
}

fn ask(netns: &Path, pod: &str) -> Result<String, String> {
    let pod: IpAddr = pod.parse().unwrap();
    let asked = within_net(netns, || {
        let mut stream = TcpStream::connect_timeout(&(pod, 80).into(), Duration::from_secs(5))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    });
    asked.map_err(|e| e.to_string())
}

#[test]
fn packets_arrive_over_routes_and_through_the_tunnel() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let done = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(build(&path));
        check(&path);
    })
    .join();
    for (name, ..) in MACHINES {
        unpin(&dir.path().join(name)).unwrap();
    }
    done.unwrap();
}

fn check(dir: &Path) {
    let nodes = MACHINES.map(|(name, address, _, pod)| {
        let range = Ipv4Net::new(pod.parse().unwrap(), 24).unwrap().trunc();
        node(name, &range.to_string(), address)
    });
    let netns = |name: &str| dir.join(name).join("net");
    let foreign =
        Route { to: Ipv4Addr::new(10, 99, 9, 0), prefix: 24, gateway: Ipv4Addr::new(192, 0, 2, 2), link: None };
    let by_hand = RouteTag { protocol: 4, metric: 7 };
    inside(&netns("a"), async |own| own.add_route(foreign, by_hand).await.unwrap());
    for (name, address, ..) in MACHINES {
        let link = Ipv4Net::new(address.parse().unwrap(), 24).unwrap().trunc();
        let ways = ways(name, &nodes, &[link], "10.99.0.0/16".parse().unwrap());
        // Twice: the second time there is nothing to do.
        inside(&netns(name), async |own| {
            apply::apply(&own, "t", &ways).await.unwrap();
            apply::apply(&own, "t", &ways).await.unwrap();
        });
    }
    assert_eq!(ask(&netns("a"), "10.99.2.2"), Ok("192.0.2.1".into()), "a route");
    assert_eq!(ask(&netns("a"), "10.99.3.2"), Ok("10.99.1.0".into()), "a tunnel");
    assert_eq!(ask(&netns("c"), "10.99.2.2"), Ok("10.99.3.0".into()), "and back");

    // The node behind the router is gone: the tunnel too.
    let two = ways("a", &nodes[..2], &["192.0.2.0/24".parse().unwrap()], "10.99.0.0/16".parse().unwrap());
    inside(&netns("a"), async |own| {
        apply::apply(&own, "t", &two).await.unwrap();
        assert_eq!(own.names().await.unwrap(), ["lo", "eth0"]);
        assert_eq!(own.routes(apply::tag("t")).await.unwrap().len(), 1);
        remove(&own, "t").await.unwrap();
        assert_eq!(own.routes(apply::tag("t")).await.unwrap(), []);
        assert_eq!(own.routes(by_hand).await.unwrap().len(), 1, "routes of others stay");
    });
}
