//! A page of the documentation, followed to the letter.
//!
//! What stands in blocks marked `sh` is run, block after block, by one shell; each command of a block marked `sh terminals`
//! runs beside the rest until the page ends. Blocks without a mark are to be read only. The shell sees a machine of its
//! own, called `first`: the cluster's network, and an `/etc`, `/usr/bin` and `/var/lib` whose changes nobody else sees.
//! Other machines are reached by `ssh NAME COMMAND`.

use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::{Cluster, binary, collect, kubectl, workspace};
use crate::machine::Machine;

/// Other machines of a page, by the names that it calls them.
pub type Others<'a> = [(&'a str, &'a Machine)];

/// A page.
pub struct Page {
    name: String,
    blocks: Vec<Block>,
}

struct Block {
    line: usize,
    terminals: bool,
    text: String,
}

#[allow(clippy::panic, reason = "a page that cannot be followed is a failed test")]
impl Page {
    /// Reads `docs/NAME`.
    ///
    /// # Panics
    /// When it is not there, or has nothing to follow.
    pub fn read(name: &str) -> Self {
        let file = workspace().join("docs").join(name);
        let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let blocks = blocks(&text);
        assert!(!blocks.is_empty(), "{name} has no block marked sh");
        Self { name: name.to_owned(), blocks }
    }

    /// Runs what stands there, after the commands of `before`.
    ///
    /// # Panics
    /// When a command fails.
    pub fn follow(&self, cluster: &Cluster, before: &str) {
        self.follow_on(cluster, before, &[]);
    }

    /// The same with other machines beside the first.
    ///
    /// # Panics
    /// When a command fails.
    pub fn follow_on(&self, cluster: &Cluster, before: &str, others: &Others) {
        let place = cluster.directory().with_extension("page");
        let script = furnish(&place, others).and_then(|()| {
            let script = place.join("script");
            std::fs::write(&script, self.script(&place, cluster, before, others)).map(|()| script)
        });
        let script = script.unwrap_or_else(|e| panic!("{}: {e}", place.display()));
        let mut shell: Command = cluster.command("unshare");
        shell
            .args(["--mount", "--uts", "--propagation=private", "timeout", "--kill-after=60", "300", "bash"])
            .arg(script);
        let output = collect(shell, None);
        let said = format!("{}\n{}", output.stdout, output.stderr);
        assert!(output.ok, "docs/{} cannot be followed:\n{said}", self.name);
        std::fs::remove_dir_all(&place).unwrap_or_else(|e| panic!("{}: {e}", place.display()));
    }

    fn script(&self, place: &Path, cluster: &Cluster, before: &str, others: &Others) -> String {
        let (boot, halt) =
            others.iter().map(|(name, machine)| other(place, name, machine)).unzip::<_, _, String, String>();
        let (place, data) = (place.display(), cluster.directory().display());
        let mut script = format!(
            "set -euo pipefail\n\
             hostname first\n\
             for there in etc usr/bin var/lib; do\n\
             mkdir -p {place}/over/$there/new {place}/over/$there/work\n\
             mount -t overlay -o lowerdir=/$there,upperdir={place}/over/$there/new,workdir={place}/over/$there/work none /$there\n\
             done\n\
             mkdir -p {data}\n\
             for own in oxikube kubelet kube-apiserver; do\n\
             mkdir -p /var/lib/$own {place}/data/$own; mount --bind {place}/data/$own /var/lib/$own\n\
             done\n\
             mount --bind {data} /var/lib/oxikube\n\
             export PATH={place}/bin:$PATH OXIKUBE_NAME={name}\n\
             {boot}\
             end() {{ code=$?; set +e; {halt}kill $(jobs -p) 2>/dev/null; wait; \
             if [ $code != 0 ]; then tail -n 30 {place}/*.log /var/lib/oxikube/logs/server.log 2>/dev/null; fi >&2; \
             for own in kubelet oxikube; do [ ! -e /var/lib/$own/VERSION ] || oxikube down --data-dir /var/lib/$own; done >/dev/null; exit $code; }}\n\
             trap end EXIT\n\
             cd {place}/work\n{before}\n",
            name = cluster.name(),
        );
        for block in &self.blocks {
            let Block { line, terminals, text } = block;
            let name = &self.name;
            let step = if *terminals { terminals_of(text, &place.to_string(), *line) } else { text.clone() };
            // Writing to a String does not fail.
            _ = writeln!(script, "echo '--- docs/{name}, line {line}' | tee /dev/stderr\n{step}");
        }
        script
    }
}

/// What starts another machine, with mounts, processes and a name of its own, and what ends it.
fn other(place: &Path, name: &str, machine: &Machine) -> (String, String) {
    let (place, data) = (place.display(), machine.directory().display());
    let boot = format!(
        "mkdir -p {data}\n\
         nsenter --net={net} unshare --mount --uts --pid --fork --kill-child --mount-proc --propagation=private sh -c \
         'hostname {name}; mount --bind {data} /var/lib/oxikube; touch {place}/{name}; exec sleep infinity' &\n\
         echo $! >{place}/{name}.pid\n\
         until [ -e {place}/{name} ]; do sleep 0.1; done\n",
        net = machine.netns().display(),
    );
    // Its first process heeds no gentler signal.
    (boot, format!("ssh {name} oxikube reset --force >/dev/null; kill -9 $(cat {place}/{name}.pid); "))
}

/// `ssh` to the machines beside the first.
fn ssh(place: &Path, others: &Others) -> String {
    let groups: String = others.iter().map(|(name, machine)| format!("{name}) group={};; ", machine.name())).collect();
    format!(
        "#!/bin/bash\nmachine=$1; shift\n\
         case $machine in {groups}*) echo \"ssh: no machine is called $machine\" >&2; exit 255;; esac\n\
         unset OXIKUBE_NAME KUBECONFIG; export OXIKUBE_CGROUP_ROOT=$group\n\
         exec nsenter --target $(pgrep -P $(cat {place}/$machine.pid)) --net --mount --uts --pid bash -c \"$*\"\n",
        place = place.display(),
    )
}

/// The programs and files that a page takes for granted.
fn furnish(place: &Path, others: &Others) -> std::io::Result<()> {
    for folder in ["bin", "over", "data", "work/target/release"] {
        std::fs::create_dir_all(place.join(folder))?;
    }
    let here = |path: &str| workspace().join(path);
    let links: [(PathBuf, &str); 7] = [
        (binary(), "bin/oxikube"),
        (kubectl().into(), "bin/kubectl"),
        (binary(), "work/target/release/oxikube"),
        (here("target/nginx.tar"), "work/nginx.tar"),
        (here("examples"), "work/examples"),
        (here("packaging"), "work/packaging"),
        (here("docs"), "work/docs"),
    ];
    links.iter().try_for_each(|(original, link)| std::os::unix::fs::symlink(original, place.join(link)))?;
    let program = place.join("bin/ssh");
    std::fs::write(&program, ssh(place, others))?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    for (number, line) in (1..).zip(text.lines()) {
        match line.strip_prefix("```") {
            Some(_) if inside => inside = false,
            Some(mark) if mark.split(' ').next() == Some("sh") => {
                inside = true;
                blocks.push(Block { line: number, terminals: mark == "sh terminals", text: String::new() });
            }
            Some(_) | None if !inside => {}
            _ => {
                if let Some(block) = blocks.last_mut() {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
            }
        }
    }
    blocks
}

/// Each command in the background, with a log of its own.
fn terminals_of(text: &str, place: &str, line: usize) -> String {
    let commands = text.replace("\\\n", " ");
    let started = commands.lines().enumerate().map(|(i, command)| format!("{command} >{place}/{line}-{i}.log 2>&1 &"));
    started.collect::<Vec<_>>().join("\n")
}
