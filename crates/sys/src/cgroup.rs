//! Control groups: version 1, version 2, and both side by side, behind one interface.
//!
//! A group is named by a path from the root, such as `/oxikube/kubepods/pod1`; with version 1 it exists in every
//! hierarchy that matters.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::libc::SIGKILL;

use crate::devices::{self, Allowed};
use crate::{Result, SysError, process};

/// The hierarchies of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroups {
    /// Version 1: controller (or `name=systemd`) to mount point. In a hybrid set-up `unified` is among them: version 2
    /// without controllers, where engines of others make groups, too.
    v1: BTreeMap<String, PathBuf>,
    /// Version 2, when controllers can be used through it.
    v2: Option<PathBuf>,
}

/// Limits of a group. What is none stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Weight, in version 1's shares (2 to 262144).
    pub cpu_shares: Option<u64>,
    /// Microseconds of CPU in a period; negative means no limit.
    pub cpu_quota: Option<i64>,
    /// The period, in microseconds.
    pub cpu_period: Option<u64>,
    /// Bytes of memory; negative means no limit.
    pub memory: Option<i64>,
    /// Number of processes; negative means no limit.
    pub pids: Option<i64>,
    /// CPUs that may be used (`0-3`).
    pub cpuset_cpus: Option<String>,
    /// Memory nodes that may be used.
    pub cpuset_mems: Option<String>,
}

/// What a group has used and uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// CPU time, in nanoseconds.
    pub cpu_nanoseconds: u64,
    /// Memory with caches.
    pub memory_usage: u64,
    /// Memory without what could be dropped at once.
    pub memory_working_set: u64,
    /// Anonymous memory.
    pub memory_rss: u64,
    /// Page faults.
    pub page_faults: u64,
    /// Page faults that needed the disk.
    pub major_page_faults: u64,
    /// Memory limit, none when there is none.
    pub memory_limit: Option<u64>,
    /// Number of processes.
    pub processes: u64,
}

impl Cgroups {
    /// Looks at what is mounted.
    pub fn detect() -> Result<Self> {
        let table = fs::read_to_string("/proc/self/mountinfo").map_err(|e| SysError::new("read", "mountinfo", e))?;
        let found = Self::parse(&table);
        if found.v1.is_empty() && found.v2.is_none() {
            let cause = io::Error::new(io::ErrorKind::NotFound, "no control groups are mounted");
            return Err(SysError::new("look for", "cgroups", cause));
        }
        Ok(found)
    }

    fn parse(mountinfo: &str) -> Self {
        let (mut v1, mut unified) = (BTreeMap::new(), None);
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let Some(point) = left.split(' ').nth(4).map(PathBuf::from) else { continue };
            let mut right = right.split(' ');
            match right.next() {
                Some("cgroup2") => unified = unified.or(Some(point)),
                Some("cgroup") => {
                    for option in right.nth(1).unwrap_or_default().split(',').filter(|o| !matches!(*o, "rw" | "ro")) {
                        v1.entry(option.to_owned()).or_insert_with(|| point.clone());
                    }
                }
                _ => {}
            }
        }
        let has_v1 = v1.contains_key("memory") || v1.contains_key("cpu");
        if let Some(point) = unified.take_if(|_| has_v1) {
            v1.insert("unified".to_owned(), point);
        }
        Self { v1, v2: unified }
    }

    /// Whether controllers are used through version 2.
    pub fn is_v2(&self) -> bool {
        self.v2.is_some()
    }

    fn roots(&self) -> Vec<&Path> {
        let mut roots: Vec<&Path> = self.v1.values().map(PathBuf::as_path).chain(self.v2.as_deref()).collect();
        roots.dedup();
        roots
    }

    fn directory(&self, controller: &str, group: &str) -> Option<PathBuf> {
        self.v2.as_ref().or_else(|| self.v1.get(controller)).map(|root| root.join(group.trim_start_matches('/')))
    }

    /// Makes a group and those above it, and turns controllers on down to it.
    pub fn create(&self, group: &str) -> Result<()> {
        match &self.v2 {
            Some(root) => create_v2(root, group),
            None => ["cpu", "cpuacct", "memory", "pids"].iter().try_for_each(|controller| {
                let Some(directory) = self.directory(controller, group) else { return Ok(()) };
                fs::create_dir_all(&directory).map_err(|e| SysError::at("create cgroup", &directory, e))
            }),
        }
    }

    /// Lets the processes of a group (made before) use these devices only. Version 1 has files for that, written by
    /// whoever makes the group: nothing is done there.
    pub fn restrict_devices(&self, group: &str, allowed: &[Allowed]) -> Result<()> {
        match &self.v2 {
            Some(root) => devices::restrict(&root.join(group.trim_start_matches('/')), allowed),
            None => Ok(()),
        }
    }

    /// Moves a process into a group (made before).
    pub fn enter(&self, group: &str, pid: u32) -> Result<()> {
        let controllers = ["cpu", "cpuacct", "memory", "pids"];
        for controller in controllers.iter().take(if self.is_v2() { 1 } else { controllers.len() }) {
            if let Some(directory) = self.directory(controller, group) {
                write(&directory.join("cgroup.procs"), &pid.to_string())?;
            }
        }
        Ok(())
    }

    /// Sets limits.
    pub fn limit(&self, group: &str, limits: &Limits) -> Result<()> {
        for (controller, file, value) in settings(limits, self.is_v2()) {
            if let Some(directory) = self.directory(controller, group) {
                write(&directory.join(file), &value)?;
            }
        }
        Ok(())
    }

    /// Every process of a group and those below it.
    pub fn processes(&self, group: &str) -> Vec<i32> {
        let controller = if self.v1.contains_key("pids") { "pids" } else { "memory" };
        let mut pids = Vec::new();
        if let Some(directory) = self.directory(controller, group) {
            collect_processes(&directory, &mut pids);
        }
        pids
    }

    /// Sends SIGKILL to every process of a group and those below it.
    pub fn kill(&self, group: &str) -> Result<()> {
        if let Some(file) = self.v2.as_ref().map(|root| root.join(group.trim_start_matches('/')).join("cgroup.kill"))
            && file.exists()
        {
            return write(&file, "1");
        }
        for pid in self.processes(group) {
            process::kill(pid, SIGKILL).map_err(|e| SysError::new("kill", pid.to_string(), e))?;
        }
        Ok(())
    }

    /// Removes a group and those below it. Fails with `EBUSY` while there are processes in it.
    pub fn remove(&self, group: &str) -> Result<()> {
        for root in self.roots() {
            remove_tree(&root.join(group.trim_start_matches('/')))?;
        }
        Ok(())
    }

    /// Whether a group exists.
    pub fn exists(&self, group: &str) -> bool {
        self.directory("memory", group).is_some_and(|directory| directory.is_dir())
    }

    /// Figures of a group.
    pub fn stats(&self, group: &str) -> Result<Stats> {
        let missing = || SysError::new("read", group, io::Error::from(io::ErrorKind::NotFound));
        let memory = self.directory("memory", group).filter(|d| d.is_dir()).ok_or_else(missing)?;
        let table = read_table(&memory.join("memory.stat"));
        let field = |name: &str| table.get(name).copied().unwrap_or_default();
        let number =
            |controller: &str, file: &str| self.directory(controller, group).and_then(|d| read_number(&d.join(file)));
        let (cpu, usage, inactive, rss, limit) = if self.is_v2() {
            let cpu = read_table(&memory.join("cpu.stat")).get("usage_usec").copied().unwrap_or_default() * 1000;
            let usage = number("memory", "memory.current").unwrap_or_default();
            (cpu, usage, field("inactive_file"), field("anon"), number("memory", "memory.max"))
        } else {
            let usage = number("memory", "memory.usage_in_bytes").unwrap_or_default();
            let limit = number("memory", "memory.limit_in_bytes").filter(|limit| *limit < i64::MAX as u64 / 2);
            let cpu = number("cpuacct", "cpuacct.usage").unwrap_or_default();
            (cpu, usage, field("total_inactive_file"), field("total_rss"), limit)
        };
        let prefix = if self.is_v2() { "" } else { "total_" };
        Ok(Stats {
            cpu_nanoseconds: cpu,
            memory_usage: usage,
            memory_working_set: usage.saturating_sub(inactive),
            memory_rss: rss,
            page_faults: field(&format!("{prefix}pgfault")),
            major_page_faults: field(&format!("{prefix}pgmajfault")),
            memory_limit: limit,
            processes: self.processes(group).len() as u64,
        })
    }

    /// How often the kernel killed a process of the group because memory ran out.
    pub fn oom_kills(&self, group: &str) -> u64 {
        let file = if self.is_v2() { "memory.events" } else { "memory.oom_control" };
        let Some(directory) = self.directory("memory", group) else { return 0 };
        read_table(&directory.join(file)).get("oom_kill").copied().unwrap_or_default()
    }
}

/// Which file of which controller gets which value.
fn settings(limits: &Limits, v2: bool) -> Vec<(&'static str, &'static str, String)> {
    let mut out = Vec::new();
    let unlimited = |value: i64| if value < 0 { "max".to_owned() } else { value.to_string() };
    if let Some(shares) = limits.cpu_shares.filter(|shares| *shares > 0) {
        let (file, value) = if v2 { ("cpu.weight", weight(shares)) } else { ("cpu.shares", shares) };
        out.push(("cpu", file, value.to_string()));
    }
    if v2 {
        if let Some(quota) = limits.cpu_quota.filter(|quota| *quota != 0) {
            let period = limits.cpu_period.unwrap_or(100_000);
            out.push(("cpu", "cpu.max", format!("{} {period}", unlimited(quota))));
        }
    } else {
        if let Some(period) = limits.cpu_period.filter(|period| *period > 0) {
            out.push(("cpu", "cpu.cfs_period_us", period.to_string()));
        }
        if let Some(quota) = limits.cpu_quota.filter(|quota| *quota != 0) {
            out.push(("cpu", "cpu.cfs_quota_us", quota.to_string()));
        }
    }
    if let Some(memory) = limits.memory.filter(|memory| *memory != 0) {
        let (file, value) =
            if v2 { ("memory.max", unlimited(memory)) } else { ("memory.limit_in_bytes", memory.to_string()) };
        out.push(("memory", file, value));
    }
    if let Some(pids) = limits.pids.filter(|pids| *pids != 0) {
        out.push(("pids", "pids.max", unlimited(pids)));
    }
    let cpuset = [("cpuset.cpus", &limits.cpuset_cpus), ("cpuset.mems", &limits.cpuset_mems)];
    for (file, value) in cpuset {
        out.extend(value.iter().filter(|v| !v.is_empty()).map(|value| ("cpuset", file, value.clone())));
    }
    out
}

/// Version 1's shares as version 2's weight, by the formula that all runtimes use.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

fn create_v2(root: &Path, group: &str) -> Result<()> {
    let mut directory = root.to_path_buf();
    for part in group.split('/').filter(|part| !part.is_empty()) {
        for controller in ["+cpu", "+memory", "+pids", "+cpuset", "+io"] {
            // A controller that the machine does not hand down is left out; limits on it then say so.
            drop(fs::write(directory.join("cgroup.subtree_control"), controller));
        }
        directory.push(part);
        match fs::create_dir(&directory) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(SysError::at("create cgroup", &directory, e));
            }
            _ => {}
        }
    }
    Ok(())
}

fn collect_processes(directory: &Path, pids: &mut Vec<i32>) {
    let listed = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    pids.extend(listed.lines().filter_map(|line| line.parse::<i32>().ok()));
    for child in subdirectories(directory) {
        collect_processes(&child, pids);
    }
}

fn remove_tree(directory: &Path) -> Result<()> {
    for child in subdirectories(directory) {
        remove_tree(&child)?;
    }
    match fs::remove_dir(directory) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(SysError::at("remove cgroup", directory, e)),
        _ => Ok(()),
    }
}

fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}

fn write(file: &Path, value: &str) -> Result<()> {
    fs::write(file, value).map_err(|e| SysError::new("write", format!("{value} to {}", file.display()), e))
}

fn read_number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn read_table(file: &Path) -> BTreeMap<String, u64> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.filter_map(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "1 0 0:1 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
        2 1 0:2 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
        3 1 0:3 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        4 1 0:4 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn hybrid_uses_version_one() {
        let found = Cgroups::parse(HYBRID);
        assert!(!found.is_v2());
        assert_eq!(found.directory("cpuacct", "/a/b"), Some("/sys/fs/cgroup/cpu,cpuacct/a/b".into()));
    }

    #[test]
    fn version_two_alone_is_used() {
        let found = Cgroups::parse("4 1 0:4 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        assert!(found.is_v2());
        assert_eq!(found.directory("memory", "/a"), Some("/sys/fs/cgroup/a".into()));
    }

    #[test]
    fn limits_become_files() {
        let limits = Limits { cpu_shares: Some(1024), cpu_quota: Some(50_000), memory: Some(-1), ..Limits::default() };
        let v1 = [
            ("cpu", "cpu.shares", "1024"),
            ("cpu", "cpu.cfs_quota_us", "50000"),
            ("memory", "memory.limit_in_bytes", "-1"),
        ];
        assert_eq!(settings(&limits, false), v1.map(|(c, f, v)| (c, f, v.to_owned())));
        let v2 = [("cpu", "cpu.weight", "39"), ("cpu", "cpu.max", "50000 100000"), ("memory", "memory.max", "max")];
        assert_eq!(settings(&limits, true), v2.map(|(c, f, v)| (c, f, v.to_owned())));
    }

    #[test]
    fn a_group_holds_limits_kills_and_goes() {
        let cgroups = Cgroups::detect().unwrap();
        let group = format!("/sys-test-{}", std::process::id());
        cgroups.create(&format!("{group}/a")).unwrap();
        cgroups.limit(&format!("{group}/a"), &Limits { memory: Some(64 << 20), ..Limits::default() }).unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        cgroups.enter(&format!("{group}/a"), child.id()).unwrap();
        assert_eq!(cgroups.processes(&group), [i32::try_from(child.id()).unwrap()]);
        assert_eq!(cgroups.stats(&format!("{group}/a")).unwrap().memory_limit, Some(64 << 20));
        cgroups.kill(&group).unwrap();
        child.wait().unwrap();
        cgroups.remove(&group).unwrap();
        assert!(!cgroups.exists(&group));
    }
}
