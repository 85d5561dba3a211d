//! Container engines of others for a test, with folders and sockets of their own, in the network of the cluster.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Which engine a cluster runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// The one that is built in.
    Native,
    /// Debian's containerd.
    Containerd,
    /// Debian's Docker Engine.
    Docker,
    /// The native one as a process of its own, on a CRI socket.
    Offered,
}

/// A daemon under way; stopped, with all that it mounted, when it is dropped.
pub struct Daemon {
    process: Child,
    directory: PathBuf,
    endpoint: String,
    /// Data directory, of the engine that is this project's.
    data: Option<PathBuf>,
}

impl Engine {
    /// Starts what the engine needs, with `command` for a program in the network of the cluster.
    ///
    /// # Errors
    /// When it is not installed, or cannot be started.
    pub fn start(self, command: impl Fn(&str) -> Command, directory: &Path) -> Result<Option<Daemon>, String> {
        let (mut command, socket, scheme) = match self {
            Self::Native => return Ok(None),
            Self::Containerd => {
                let text = containerd(directory);
                let configuration = directory.join("config.toml");
                write(&configuration, &text)?;
                let mut command = command("containerd");
                command.arg("--config").arg(&configuration);
                (command, directory.join("containerd.sock"), "unix")
            }
            Self::Offered => {
                let (socket, data) = (directory.join("cri.sock"), directory.join("data"));
                std::fs::create_dir_all(&data).map_err(|e| format!("{}: {e}", data.display()))?;
                let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let mut command = command(&crate::cluster::binary().display().to_string());
                command
                    .arg("cri")
                    .arg(format!("--name={name}"))
                    .arg("--data-dir")
                    .arg(&data)
                    .arg("--listen")
                    .arg(&socket);
                (command, socket, "unix")
            }
            Self::Docker => {
                write(&directory.join("daemon.json"), "{}")?;
                let (at, socket) =
                    (|name: &str| directory.join(name).display().to_string(), directory.join("docker.sock"));
                let mut command = command("dockerd");
                command.args(["--data-root", &at("root"), "--exec-root", &at("exec"), "--pidfile", &at("pid")]);
                command.args(["--host", &format!("unix://{}", socket.display()), "--config-file", &at("daemon.json")]);
                // The pods' network is not Docker's.
                command.args(["--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"]);
                command.args(["--userland-proxy=false", "--exec-opt=native.cgroupdriver=cgroupfs"]);
                (command, socket, "docker")
            }
        };
        let log = directory.join("daemon.log");
        let log = std::fs::File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let process = spawned.map_err(|e| format!("{command:?}: {e}"))?;
        let endpoint = format!("{scheme}://{}", socket.display());
        let data = (self == Self::Offered).then(|| directory.join("data"));
        let daemon = Daemon { process, directory: directory.to_owned(), endpoint, data };
        crate::eventually("the engine listens", || match std::os::unix::net::UnixStream::connect(&socket) {
            Ok(_) => Ok(()),
            Err(e) => Err(format!("{e}: {}", daemon.last_words())),
        });
        Ok(Some(daemon))
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    made.and_then(|()| std::fs::write(path, text)).map_err(|e| format!("{}: {e}", path.display()))
}

fn containerd(directory: &Path) -> String {
    let at = |name: &str| directory.join(name).display().to_string();
    let (root, state, socket) = (at("root"), at("state"), at("containerd.sock"));
    let (binaries, configurations) = (at("cni-bin"), at("cni-conf"));
    format!(
        r#"version = 2
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/oxikube/pause:1"
restrict_oom_score_adj = true
disable_apparmor = true
netns_mounts_under_state_dir = true
stream_server_address = "127.0.0.1"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{binaries}"
conf_dir = "{configurations}"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"#
    )
}

impl Daemon {
    /// As `--container-runtime-endpoint` names it.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Where images are imported, when it is not by the cluster's own node.
    pub(crate) fn data(&self) -> Option<&Path> {
        self.data.as_deref()
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(self.directory.join("daemon.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// What a failed test left: shims name their daemon's folder on their command line.
    fn kill_shims(&self) {
        let wanted = self.directory.display().to_string();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if !String::from_utf8_lossy(&line).contains(&wanted) {
                continue;
            }
            let pid = entry.file_name().to_string_lossy().into_owned();
            eprintln!("killing {pid}, which the test left: {}", String::from_utf8_lossy(&line).replace('\0', " "));
            run(Command::new("kill").args(["-9", &pid]));
        }
    }

    fn unmount(&self) {
        let table = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let wanted = format!("{}/", self.directory.display());
        let mut points: Vec<&str> = table.lines().filter_map(|line| line.split(' ').nth(1)).collect();
        points.retain(|point| point.starts_with(&wanted));
        for point in points.iter().rev() {
            run(Command::new("umount").args(["-l", point]));
        }
    }
}

fn run(command: &mut Command) {
    if let Err(error) = command.status() {
        eprintln!("{command:?}: {error}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the engine's last words\n{}", self.last_words());
        }
        run(Command::new("kill").arg(self.process.id().to_string()));
        if let Err(error) = self.process.wait() {
            eprintln!("the engine does not end: {error}");
        }
        if let Some(data) = &self.data {
            let mut down = Command::new(crate::cluster::binary());
            run(down.args(["down", "--purge", "--data-dir"]).arg(data).stdout(Stdio::null()));
        }
        self.kill_shims();
        self.unmount();
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            eprintln!("left behind: {}: {error}", self.directory.display());
        }
    }
}
