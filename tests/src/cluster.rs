//! The cluster of a test.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::engine::{Daemon, Engine};
use crate::network::Namespace;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A private cluster.
pub struct Cluster {
    /// The engine, when it is a process of its own. Stopped after the cluster was taken down, before its network goes.
    daemon: Option<Daemon>,
    network: Namespace,
    directory: PathBuf,
    name: String,
}

/// What a command said.
#[derive(Debug)]
pub struct Output {
    /// Exit code 0.
    pub ok: bool,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

#[allow(clippy::panic, reason = "a test whose cluster does not do what it must has failed")]
impl Cluster {
    /// A started cluster with the nginx image.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Self {
        Self::start_on(Engine::Native)
    }

    /// The same on a certain engine.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_on(engine: Engine) -> Self {
        let mut cluster = Self::prepared();
        let place = std::env::temp_dir().join(format!("{}-engine", cluster.name));
        cluster.daemon =
            engine.start(|program| cluster.network.command(program), &place).unwrap_or_else(|e| panic!("{e}"));
        cluster.up(&[]);
        cluster.import_nginx();
        cluster
    }

    /// Takes the nginx image in, on every machine.
    ///
    /// # Panics
    /// When that fails.
    pub fn import_nginx(&self) {
        let mut import = self.oxikube_command();
        import.args(["image", "import"]).arg(workspace().join("target/nginx.tar"));
        if let Some(data) = self.daemon.as_ref().and_then(Daemon::data) {
            import.arg("--data-dir").arg(data);
        }
        collect(import, None).must();
    }

    /// A cluster that is not started yet.
    ///
    /// # Panics
    /// When there is no network namespace to be had.
    pub fn prepared() -> Self {
        let name = format!("oxt{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let network = Namespace::new(&name).unwrap_or_else(|e| panic!("{e}"));
        let directory = std::env::temp_dir().join(&name);
        Self { network, directory, name, daemon: None }
    }

    /// `oxikube up` with more arguments.
    ///
    /// # Panics
    /// When it fails.
    pub fn up(&self, more: &[&str]) -> String {
        let mut all = vec!["--hostname-override=node-1"];
        let endpoint = self.daemon.as_ref().map(|d| format!("--container-runtime-endpoint={}", d.endpoint()));
        all.extend(endpoint.as_deref());
        all.extend(more);
        self.up_machines(&all)
    }

    /// `oxikube up` of machines that get their names from the instance.
    ///
    /// # Panics
    /// When it fails.
    pub fn up_machines(&self, more: &[&str]) -> String {
        let name = format!("--name={}", self.name);
        let mut arguments = vec!["up", &name, "--timeout=60s"];
        arguments.extend(more);
        self.oxikube(&arguments).must()
    }

    /// A command that runs oxikube in this cluster's network.
    pub fn oxikube_command(&self) -> Command {
        let mut command = self.network.command(&binary().display().to_string());
        command.env("OXIKUBE_DATA_DIR", &self.directory);
        command
    }

    /// The same under another name of the binary.
    ///
    /// # Panics
    /// When the name cannot be made.
    pub fn oxikube_called(&self, name: &str) -> Command {
        let folder = self.directory.join("bin");
        let link = folder.join(name);
        if !link.exists() {
            let made = std::fs::create_dir_all(&folder).and_then(|()| std::os::unix::fs::symlink(binary(), &link));
            made.unwrap_or_else(|e| panic!("{}: {e}", link.display()));
        }
        self.network.command(&link.display().to_string())
    }

    /// Runs oxikube on this cluster's data directory.
    ///
    /// # Panics
    /// When it cannot be run at all.
    pub fn oxikube(&self, arguments: &[&str]) -> Output {
        let mut command = self.oxikube_command();
        command.args(arguments);
        collect(command, None)
    }

    /// Runs kubectl as the administrator.
    ///
    /// # Panics
    /// When it cannot be run at all.
    pub fn kubectl(&self, arguments: &[&str]) -> Output {
        self.kubectl_with(arguments, None)
    }

    /// Runs kubectl with standard input.
    ///
    /// # Panics
    /// When it cannot be run at all.
    pub fn kubectl_with(&self, arguments: &[&str], stdin: Option<&str>) -> Output {
        collect(self.kubectl_command(arguments), stdin)
    }

    /// kubectl, to be started by the test itself.
    pub fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&kubectl());
        command.args(arguments);
        command
    }

    /// Any command in the cluster's network, with its KUBECONFIG.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.network.command(program);
        command.env("KUBECONFIG", self.directory.join("admin.kubeconfig")).env("HOME", &self.directory);
        command
    }

    /// Starts programs in the cluster's network.
    pub(crate) fn launcher(&self) -> Box<dyn Fn(&str) -> Command + Send + Sync> {
        let network = self.network.handle();
        Box::new(move |program| network.command(program))
    }

    /// An object as JSON.
    ///
    /// # Errors
    /// What kubectl says when it is not there.
    pub fn get(&self, arguments: &[&str]) -> Result<Value, String> {
        let mut all = vec!["get", "-o", "json"];
        all.extend(arguments);
        let output = self.kubectl(&all);
        if !output.ok {
            return Err(output.stderr);
        }
        serde_json::from_str(&output.stdout).map_err(|e| e.to_string())
    }

    /// Applies a manifest.
    ///
    /// # Panics
    /// When it is refused.
    pub fn apply(&self, manifest: &str) -> String {
        self.kubectl_with(&["apply", "-f", "-"], Some(manifest)).must()
    }

    /// Where the cluster keeps its data.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file of the network namespace that it runs in.
    pub fn netns(&self) -> PathBuf {
        self.network.file()
    }

    /// Name of the instance.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Address of the machine that the cluster runs on.
    pub fn address(&self) -> &'static str {
        crate::network::ADDRESS
    }

    /// What `oxikube status` says.
    ///
    /// # Panics
    /// When the server does not run.
    pub fn status(&self) -> Value {
        let status = self.oxikube(&["status", "-o", "json"]).must();
        serde_json::from_str(&status).unwrap_or_default()
    }

    /// Process id of the server.
    ///
    /// # Panics
    /// When it does not run.
    pub fn server_pid(&self) -> i64 {
        let status = self.status();
        status.get("pid").and_then(Value::as_i64).unwrap_or_else(|| panic!("no process id in {status}"))
    }

    /// Sees that `oxikube down` has left no link, table, mount, control group or process.
    ///
    /// # Panics
    /// When something is there.
    pub fn left_nothing(&self) {
        let said = |program: &str, arguments: &[&str]| {
            let output = self.command(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let links = said("ip", &["-br", "link"]);
        assert!(links.lines().all(|l| ["lo", "up0", "up1"].iter().any(|known| l.starts_with(known))), "{links}");
        assert_eq!(said("nft", &["list", "tables"]), "");
        let directory = self.directory.display().to_string();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        assert!(!mounts.contains(&directory), "{mounts}");
        for group in [self.name.clone(), format!("{}.nodes", self.name)] {
            let there = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"].map(|root| Path::new(root).join(&group));
            assert!(!there.iter().any(|group| group.exists()), "{there:?}");
        }
        let processes = said("ps", &["-eo", "args"]);
        let own: Vec<&str> = processes.lines().filter(|line| line.contains(&directory)).collect();
        assert!(own.is_empty(), "{own:?}");
    }

    /// Ends the server without warning.
    ///
    /// # Panics
    /// When that fails.
    pub fn kill_server(&self) {
        let pid = self.server_pid().to_string();
        let killed = Command::new("kill").args(["-9", &pid]).status();
        assert!(killed.is_ok_and(|s| s.success()), "cannot kill {pid}");
        let gone = || if Path::new("/proc").join(&pid).exists() { Err("still there".to_owned()) } else { Ok(()) };
        crate::eventually("the server is gone", gone);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed && let Ok(log) = std::fs::read_to_string(self.directory.join("logs/server.log")) {
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- the server's last words\n{}", lines.split_at(lines.len().saturating_sub(30)).1.join("\n"));
        }
        let down = self.oxikube(&["down", "--purge"]);
        if !down.ok {
            eprintln!("left behind: {}: {}", self.directory.display(), down.stderr);
        }
    }
}

impl Output {
    /// Standard output of a command that must have succeeded.
    ///
    /// # Panics
    /// When it has not.
    #[allow(clippy::panic, reason = "a test whose command fails has failed")]
    pub fn must(self) -> String {
        assert!(self.ok, "failed: {}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Standard error of a command that must have failed.
    ///
    /// # Panics
    /// When it has not.
    #[allow(clippy::panic, reason = "a test whose command succeeds where it must not has failed")]
    pub fn must_fail(self) -> String {
        assert!(!self.ok, "succeeded: {}", self.stdout);
        self.stderr
    }
}

#[allow(clippy::panic, reason = "a test without its tools has failed")]
pub(crate) fn collect(mut command: Command, stdin: Option<&str>) -> Output {
    command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    let spawned = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.unwrap_or_else(|e| panic!("{command:?}: {e}"));
    if let (Some(text), Some(mut pipe)) = (stdin, child.stdin.take())
        && let Err(error) = pipe.write_all(text.as_bytes())
    {
        eprintln!("{command:?} did not read its input: {error}");
    }
    let output = child.wait_with_output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    Output {
        ok: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

pub(crate) fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The binary beside the tests.
#[allow(clippy::panic, reason = "a test without the binary has failed")]
#[must_use]
pub fn binary() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let found = own.ancestors().map(|a| a.join("oxikube")).find(|p| p.is_file());
    found.unwrap_or_else(|| panic!("no oxikube binary beside {}; run 'make test'", own.display()))
}

pub(crate) fn kubectl() -> String {
    std::env::var("KUBECTL").unwrap_or_else(|_| workspace().join(".cache/kubectl/bin/kubectl").display().to_string())
}
