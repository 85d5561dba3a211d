//! What kubectl carries through the API server to a container: forwarded ports, files, standard input. Over WebSocket,
//! and over the SPDY of older clients.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};

use tests::Cluster;

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers: [{name: nginx, image: nginx, imagePullPolicy: IfNotPresent}]
";

fn started() -> Cluster {
    let cluster = Cluster::start();
    cluster.apply(POD);
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/web", "--timeout=60s"]).must();
    cluster
}

/// A forwarded port, for as long as it is held.
struct Forward {
    kubectl: Child,
    /// Held open: kubectl goes on writing to it.
    _said: BufReader<ChildStdout>,
    url: String,
}

impl Forward {
    fn new(cluster: &Cluster, port: &str, websockets: &str) -> Self {
        let mut command = cluster.kubectl_command(&["port-forward", "pod/web", port]);
        command.env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets);
        let mut kubectl = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(kubectl.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        // Forwarding from 127.0.0.1:PORT -> 80
        let address = line.split_whitespace().nth(2).unwrap_or_else(|| panic!("kubectl said {line:?}")).to_owned();
        Self { kubectl, _said: said, url: format!("http://{address}/") }
    }

    fn fetch(&self, cluster: &Cluster, path: &str) -> Result<String, String> {
        let mut curl = cluster.command("curl");
        let output = curl.args(["-sS", "--max-time", "20"]).arg(format!("{}{path}", self.url)).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        if let Err(error) = self.kubectl.kill().and_then(|()| self.kubectl.wait().map(drop)) {
            eprintln!("kubectl port-forward is left: {error}");
        }
    }
}

#[test]
fn a_port_is_forwarded() {
    let cluster = started();
    let big = "head -c 3000000 /dev/zero | tr '\\0' x > /usr/share/nginx/html/big || \
               head -c 3000000 /dev/zero | tr '\\0' x > /var/www/html/big";
    cluster.kubectl(&["exec", "web", "--", "sh", "-c", big]).must();
    for websockets in ["true", "false"] {
        let forward = Forward::new(&cluster, ":80", websockets);
        for _ in 0..3 {
            assert!(forward.fetch(&cluster, "").unwrap().contains("Welcome to nginx"));
        }
        assert_eq!(forward.fetch(&cluster, "big").unwrap().len(), 3_000_000, "WebSocket: {websockets}");
        // Several at once through one session.
        let pages: Vec<String> = std::thread::scope(|scope| {
            let fetches: Vec<_> = (0..8).map(|_| scope.spawn(|| forward.fetch(&cluster, "").unwrap())).collect();
            fetches.into_iter().map(|fetch| fetch.join().unwrap()).collect()
        });
        assert!(pages.iter().all(|page| page.contains("Welcome to nginx")));
    }
    // Nobody listens there: the connection ends, kubectl says why.
    let closed = Forward::new(&cluster, ":81", "true");
    assert!(closed.fetch(&cluster, "").is_err());
}

#[test]
fn files_and_standard_input_reach_a_container() {
    let cluster = started();
    let (from, back) = (cluster.directory().join("from"), cluster.directory().join("back"));
    let content: Vec<u8> = (0..3_000_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    std::fs::write(&from, &content).unwrap();
    for websockets in ["true", "false"] {
        let kubectl = |arguments: &[&str]| {
            let mut command = cluster.kubectl_command(arguments);
            command.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets);
            command
        };
        let run = |arguments: &[&str]| {
            let output = kubectl(arguments).output().unwrap();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (output.status.code(), text(&output.stdout), text(&output.stderr))
        };
        let copied = run(&["cp", &from.display().to_string(), "web:/tmp/copy"]);
        assert_eq!(copied.0, Some(0), "{copied:?}");
        let copied = run(&["cp", "web:/tmp/copy", &back.display().to_string()]);
        assert_eq!(copied.0, Some(0), "{copied:?}");
        assert!(std::fs::read(&back).unwrap() == content, "WebSocket: {websockets}");
        std::fs::remove_file(&back).unwrap();

        let mut counting = kubectl(&["exec", "-i", "web", "--", "sh", "-c", "wc -c; echo end >&2; exit 3"]);
        let input = std::fs::File::open(&from).unwrap();
        let output = counting.stdin(input).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), content.len().to_string());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("end") && said.contains("exit code 3"), "{said}");
        assert_eq!(output.status.code(), Some(3));
    }
}
