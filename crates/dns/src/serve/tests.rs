use hickory_proto::op::Query;
use hickory_proto::rr::{RData, Record};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::entries::{Endpoint, ServiceEntry, SliceEntry};
use crate::testing::{Memory, cluster, zone};

/// A resolver on a free port of the loopback address.
struct Served {
    address: SocketAddr,
    server: Server<Handler<Memory>>,
}

async fn serve(index: Memory, upstreams: Vec<SocketAddr>) -> Served {
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = udp.local_addr().unwrap();
    let tcp = TcpListener::bind(address).await.unwrap();
    let upstream = Upstream::new(Servers::Fixed(upstreams), vec![address]);
    let mut server = Server::new(Handler { zone: zone(), index, upstream, turn: AtomicUsize::new(0) });
    server.register_socket(udp);
    server.register_listener(tcp, IDLE, RESPONSES);
    Served { address, server }
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.add_query(Query::query(name.parse().unwrap(), kind));
    message
}

impl Served {
    async fn udp(&self, question: &Message) -> Message {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&question.to_vec().unwrap(), self.address).await.unwrap();
        let mut buffer = vec![0; 4096];
        let count = socket.recv(&mut buffer).await.unwrap();
        Message::from_vec(&buffer[..count]).unwrap()
    }

    async fn tcp(&self, question: &Message) -> Message {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let bytes = question.to_vec().unwrap();
        stream.write_u16(bytes.len() as u16).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut answer = vec![0; stream.read_u16().await.unwrap().into()];
        stream.read_exact(&mut answer).await.unwrap();
        Message::from_vec(&answer).unwrap()
    }
}

fn data(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

/// A name server that answers one question and is gone.
async fn one_answer() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = vec![0; 4096];
        let (count, client) = socket.recv_from(&mut buffer).await.unwrap();
        let mut message = Message::from_vec(&buffer[..count]).unwrap().into_response();
        let name = message.queries[0].name().clone();
        message.add_answer(Record::from_rdata(name, 60, RData::A(std::net::Ipv4Addr::new(192, 0, 2, 7).into())));
        // What does not fit the question is not heard.
        let mut forged = message.clone();
        forged.metadata.id ^= 1;
        forged.answers.clear();
        socket.send_to(&forged.to_vec().unwrap(), client).await.unwrap();
        socket.send_to(&message.to_vec().unwrap(), client).await.unwrap();
    });
    address
}

#[tokio::test]
async fn answers_with_authority() {
    let mut served = serve(cluster(), Vec::new()).await;
    let asked = question("web.default.svc.cluster.local.", RecordType::A);
    let answer = served.udp(&asked).await;
    assert!(answer.metadata.authoritative && answer.metadata.recursion_available);
    assert_eq!((answer.metadata.id, data(&answer)), (asked.metadata.id, vec!["10.96.0.5".to_owned()]));
    assert_eq!(data(&served.tcp(&asked).await), ["10.96.0.5"]);
    let absent = served.udp(&question("absent.default.svc.cluster.local.", RecordType::A)).await;
    assert_eq!((absent.metadata.response_code, absent.authorities.len()), (ResponseCode::NXDomain, 1));
    served.server.shutdown_gracefully().await.unwrap();
}

#[tokio::test]
async fn follows_aliases_inside_and_outside() {
    let served = serve(cluster(), vec![one_answer().await]).await;
    let inside = served.udp(&question("inside.default.svc.cluster.local.", RecordType::A)).await;
    assert_eq!(data(&inside), ["web.default.svc.cluster.local.", "10.96.0.5"]);
    let outside = served.udp(&question("outside.default.svc.cluster.local.", RecordType::A)).await;
    assert_eq!(data(&outside), ["www.example.com.", "192.0.2.7"]);
}

#[tokio::test]
async fn passes_on_what_is_elsewhere_and_keeps_it() {
    let served = serve(cluster(), vec![one_answer().await]).await;
    for _ in 0..2 {
        let answer = served.udp(&question("www.example.org.", RecordType::A)).await;
        assert!(!answer.metadata.authoritative);
        assert_eq!(data(&answer), ["192.0.2.7"]);
    }
    let nobody = serve(cluster(), Vec::new()).await;
    let answer = nobody.udp(&question("www.example.org.", RecordType::A)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn a_search_path_is_walked_in_one_go() {
    let from = |namespace: &str| Memory { client: Some(namespace.into()), ..cluster() };
    let served = serve(from("default"), vec![one_answer().await]).await;
    // The upstream answers once: the path through the cluster costs no question to it.
    for _ in 0..2 {
        let answer = served.udp(&question("www.example.org.default.svc.cluster.local.", RecordType::A)).await;
        assert_eq!(data(&answer), ["www.example.org.", "192.0.2.7"]);
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    }
    let other = served.udp(&question("web.default.default.svc.cluster.local.", RecordType::A)).await;
    assert_eq!(data(&other), ["web.default.svc.cluster.local.", "10.96.0.5"]);
    // No address of that kind, but the name is found: the same for every kind of question.
    let mail = served.udp(&question("web.default.default.svc.cluster.local.", RecordType::MX)).await;
    assert_eq!(
        (data(&mail), mail.metadata.response_code),
        (vec!["web.default.svc.cluster.local.".into()], ResponseCode::NoError)
    );
    let absent = |name: &str| question(name, RecordType::A);
    let single = served.udp(&absent("absent.default.svc.cluster.local.")).await;
    assert_eq!(single.metadata.response_code, ResponseCode::NXDomain, "one label is the cluster's");

    let elsewhere = serve(from("other"), vec![one_answer().await]).await;
    let foreign = elsewhere.udp(&absent("www.example.org.default.svc.cluster.local.")).await;
    assert_eq!(foreign.metadata.response_code, ResponseCode::NXDomain, "not where its search begins");
    let away = serve(from("default"), Vec::new()).await;
    let nobody = away.udp(&absent("www.example.org.default.svc.cluster.local.")).await;
    assert_eq!(nobody.metadata.response_code, ResponseCode::NXDomain, "no worse than without");
}

#[tokio::test]
async fn a_silent_server_is_not_waited_for() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let served = serve(cluster(), vec![silent.local_addr().unwrap(), one_answer().await]).await;
    let asked = question("www.example.org.", RecordType::A);
    let answer = tokio::time::timeout(upstream::ATTEMPT, served.udp(&asked)).await.unwrap();
    assert_eq!(data(&answer), ["192.0.2.7"]);
}

#[tokio::test]
async fn long_answers_are_cut_for_udp_and_whole_over_tcp() {
    let namespace = || "default".to_owned();
    let endpoint = |n: u8| Endpoint { addresses: vec![[10, 1, 0, n].into()], hostname: None, ready: true };
    let endpoints = (0..100).map(endpoint).collect();
    let service = ServiceEntry { namespace: namespace(), name: "big".into(), is_headless: true, ..Default::default() };
    let slice = SliceEntry { namespace: namespace(), service: "big".into(), endpoints, ports: Vec::new() };
    let index = Memory { services: vec![service.into()], slices: vec![slice.into()], ..Memory::default() };
    let served = serve(index, Vec::new()).await;
    let mut asked = question("big.default.svc.cluster.local.", RecordType::A);
    assert!(served.udp(&asked).await.metadata.truncation);
    let whole = served.tcp(&asked).await;
    assert!(!whole.metadata.truncation);
    assert_eq!(whole.answers.len(), 100);
    assert_ne!(data(&whole).first(), data(&served.tcp(&asked).await).first(), "each time another comes first");
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    asked.set_edns(edns);
    assert!(served.udp(&asked).await.answers.len() > 50, "with EDNS more fits");
}

#[tokio::test]
async fn refuses_what_is_no_question() {
    let served = serve(cluster(), Vec::new()).await;
    let mut notify = question("cluster.local.", RecordType::SOA);
    notify.metadata.op_code = OpCode::Notify;
    assert_eq!(served.udp(&notify).await.metadata.response_code, ResponseCode::NotImp);
    let transfer = question("cluster.local.", RecordType::AXFR);
    assert_eq!(served.tcp(&transfer).await.metadata.response_code, ResponseCode::Refused);
    let mut chaos = question("version.bind.", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(served.udp(&chaos).await.metadata.response_code, ResponseCode::Refused);
}
