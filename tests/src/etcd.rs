//! A private etcd cluster: Debian's `etcd-server`, on free ports, with its data in a temporary folder.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Cluster;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The members; they and their data are gone when it is dropped.
pub struct Etcd {
    directory: PathBuf,
    members: Vec<Member>,
    launch: Launch,
    /// The folder with the certificates, as `oxikube certs create` makes it; none: no TLS.
    pki: Option<PathBuf>,
}

/// How a program is started: here, or inside a network namespace.
type Launch = Box<dyn Fn(&str) -> Command + Send + Sync>;

struct Member {
    client: u16,
    peer: u16,
    child: Option<Child>,
}

#[allow(clippy::panic, reason = "a test without its etcd has failed")]
impl Etcd {
    /// So many members, started; whoever uses them waits for their answer.
    ///
    /// # Panics
    /// When they cannot be started.
    pub fn start(members: usize) -> Self {
        Self::start_by(members, Box::new(|program| Command::new(program)), None)
    }

    /// The same inside a cluster's network.
    ///
    /// # Panics
    /// When they cannot be started.
    pub fn start_in(cluster: &Cluster, members: usize) -> Self {
        Self::start_by(members, cluster.launcher(), None)
    }

    /// The same over TLS, for clients with a certificate of etcd's CA only. `pki` is made by `oxikube certs create`.
    ///
    /// # Panics
    /// When they cannot be started.
    pub fn start_with_tls_in(cluster: &Cluster, members: usize, pki: &Path) -> Self {
        Self::start_by(members, cluster.launcher(), Some(pki.to_owned()))
    }

    fn start_by(members: usize, launch: Launch, pki: Option<PathBuf>) -> Self {
        let name = format!("oxikube-etcd-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(name);
        let mut ports = free_ports(members * 2).into_iter();
        let mut port = || ports.next().unwrap_or_else(|| panic!("no free port"));
        let members = (0..members).map(|_| Member { client: port(), peer: port(), child: None }).collect();
        let mut etcd = Self { directory, members, launch, pki };
        (0..etcd.members.len()).for_each(|i| etcd.run(i));
        etcd
    }

    /// Where the members answer clients.
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|m| self.url(m.client)).collect()
    }

    fn url(&self, port: u16) -> String {
        format!("{}://127.0.0.1:{port}", if self.pki.is_some() { "https" } else { "http" })
    }

    /// etcd's flags for TLS between members, and with clients.
    fn tls(&self) -> Vec<String> {
        let Some(pki) = &self.pki else { return Vec::new() };
        let file = |flag: &str, name: &str| format!("--{flag}={}", pki.join("etcd").join(name).display());
        vec![
            file("cert-file", "server.crt"),
            file("key-file", "server.key"),
            file("trusted-ca-file", "ca.crt"),
            "--client-cert-auth".into(),
            file("peer-cert-file", "peer.crt"),
            file("peer-key-file", "peer.key"),
            file("peer-trusted-ca-file", "ca.crt"),
            "--peer-client-cert-auth".into(),
        ]
    }

    /// How many members there are.
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// Where the data is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Starts a member that does not run.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run(&mut self, member: usize) {
        let peers: Vec<String> =
            self.members.iter().enumerate().map(|(i, m)| format!("m{i}={}", self.url(m.peer))).collect();
        let data = self.directory.join(format!("m{member}"));
        std::fs::create_dir_all(&data).unwrap_or_else(|e| panic!("{}: {e}", data.display()));
        let Some((client, peer)) = self.members.get(member).map(|m| (self.url(m.client), self.url(m.peer))) else {
            return;
        };
        let tls = self.tls();
        let Some(own) = self.members.get_mut(member) else { return };
        let spawned = (self.launch)("etcd")
            .arg(format!("--name=m{member}"))
            .arg(format!("--data-dir={}", data.display()))
            .arg(format!("--listen-client-urls={client}"))
            .arg(format!("--advertise-client-urls={client}"))
            .arg(format!("--listen-peer-urls={peer}"))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .arg(format!("--initial-cluster={}", peers.join(",")))
            .args(["--logger=zap", "--log-level=error"])
            .args(tls)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        own.child = Some(spawned.unwrap_or_else(|e| panic!("etcd (Debian package etcd-server): {e}")));
    }

    /// Ends a member without warning.
    ///
    /// # Panics
    /// When that fails.
    pub fn kill(&mut self, member: usize) {
        if let Some(mut child) = self.members.get_mut(member).and_then(|m| m.child.take()) {
            child.kill().and_then(|()| child.wait()).unwrap_or_else(|e| panic!("cannot kill etcd: {e}"));
        }
    }

    /// Stops a member for now; [`Etcd::resume`] lets it go on.
    ///
    /// # Panics
    /// When that fails.
    pub fn pause(&self, member: usize) {
        self.signal(member, "-STOP");
    }

    /// Lets a paused member go on.
    ///
    /// # Panics
    /// When that fails.
    pub fn resume(&self, member: usize) {
        self.signal(member, "-CONT");
    }

    fn signal(&self, member: usize, signal: &str) {
        let Some(child) = self.members.get(member).and_then(|m| m.child.as_ref()) else { return };
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status();
        assert!(sent.is_ok_and(|s| s.success()), "cannot send {signal} to etcd");
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            if let Some(mut child) = member.child.take()
                && let Err(error) = child.kill().and_then(|()| child.wait())
            {
                eprintln!("left behind: etcd process {}: {error}", child.id());
            }
        }
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            eprintln!("left behind: {}: {error}", self.directory.display());
        }
    }
}

/// Ports that are free now, all different.
#[allow(clippy::panic, reason = "a test without a port has failed")]
fn free_ports(count: usize) -> Vec<u16> {
    let bound: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap_or_else(|e| panic!("no free port: {e}"))).collect();
    bound.iter().filter_map(|l| l.local_addr().ok()).map(|a| a.port()).collect()
}
