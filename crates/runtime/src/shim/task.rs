//! One container of a shim: its streams, log, attached clients and end.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use super::log::{Lines, Log};
use super::protocol::{Exit, Start};

/// A client that falls this far behind is let go: it must not hold up the container.
const MAX_BEHIND: usize = 256 * 1024;

/// One direction of output.
#[derive(Debug)]
pub(crate) struct Output {
    pub file: File,
    lines: Lines,
    name: &'static str,
}

impl Output {
    pub(crate) fn new(fd: OwnedFd, name: &'static str) -> io::Result<Self> {
        sys::fd::set_nonblocking(&fd)?;
        Ok(Self { file: File::from(fd), lines: Lines::default(), name })
    }
}

/// Where an attached client gets output.
#[derive(Debug)]
pub(crate) struct Sink {
    file: File,
    behind: Vec<u8>,
}

impl Sink {
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        sys::fd::set_nonblocking(&fd)?;
        Ok(Self { file: File::from(fd), behind: Vec::new() })
    }

    /// False when the client is gone or too slow.
    fn push(&mut self, bytes: &[u8]) -> bool {
        self.behind.extend_from_slice(bytes);
        self.flush() && self.behind.len() <= MAX_BEHIND
    }

    pub(crate) fn flush(&mut self) -> bool {
        while !self.behind.is_empty() {
            match self.file.write(&self.behind) {
                Ok(n) => drop(self.behind.drain(..n)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return true,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    /// Set while there is something to write.
    pub(crate) fn waiting(&self) -> Option<BorrowedFd<'_>> {
        (!self.behind.is_empty()).then(|| self.file.as_fd())
    }
}

/// A client attached to a container.
#[derive(Debug)]
pub(crate) struct Client {
    pub connection: u64,
    pub stdin: Option<File>,
    pub stdout: Option<Sink>,
    pub stderr: Option<Sink>,
}

/// A container that was started.
#[derive(Debug)]
pub(crate) struct Task {
    pub start: Start,
    pub pid: i32,
    pub outputs: Vec<Output>,
    /// Standard input: a pipe, or the terminal's master end.
    pub input: Option<File>,
    pub unwritten: Vec<u8>,
    pub log: Option<Log>,
    pub clients: Vec<Client>,
    pub exit: Option<Exit>,
}

impl Task {
    /// Reads what is there of one output, into the log and to every client.
    pub(crate) fn pump(&mut self, name: &str) {
        let Some(index) = self.outputs.iter().position(|output| output.name == name) else { return };
        let mut buffer = [0; 16 * 1024];
        let mut ended = false;
        // A bounded number of rounds: a container that never stops writing must not starve the others.
        for _ in 0..8 {
            let Some(output) = self.outputs.get_mut(index) else { return };
            match output.file.read(&mut buffer) {
                Ok(0) => ended = true,
                Ok(n) => self.spread(index, buffer.get(..n).unwrap_or_default()),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // A terminal whose other end is closed says EIO.
                Err(_) => ended = true,
            }
            if ended {
                self.close(index);
                return;
            }
        }
    }

    fn spread(&mut self, index: usize, bytes: &[u8]) {
        let (Some(output), log) = (self.outputs.get_mut(index), &mut self.log) else { return };
        output.lines.push(bytes, |line, whole| write_line(log, output.name, line, whole));
        let stderr = output.name == "stderr";
        for client in &mut self.clients {
            let sink = if stderr { &mut client.stderr } else { &mut client.stdout };
            if sink.as_mut().is_some_and(|sink| !sink.push(bytes)) {
                *sink = None;
            }
        }
    }

    fn close(&mut self, index: usize) {
        let mut output = self.outputs.remove(index);
        let log = &mut self.log;
        output.lines.finish(|line, whole| write_line(log, output.name, line, whole));
        for client in &mut self.clients {
            let sink = if output.name == "stderr" { &mut client.stderr } else { &mut client.stdout };
            *sink = None;
        }
    }

    /// The first process has ended: takes what it left in the pipes, and records the end on disk.
    pub(crate) fn end(&mut self, pod: &Path, code: i32, at: i64) -> io::Result<Exit> {
        let cgroups = sys::cgroup::Cgroups::detect().ok();
        if let Some(cgroups) = &cgroups {
            // In a PID namespace that others share, too, a container is over when its first process is.
            drop(cgroups.kill(&self.start.cgroup));
        }
        for name in ["stdout", "stderr"] {
            self.pump(name);
        }
        while !self.outputs.is_empty() {
            self.close(0);
        }
        (self.input, self.log) = (None, None);
        let oom = cgroups.as_ref().is_some_and(|cgroups| cgroups.oom_kills(&self.start.cgroup) > 0);
        let exit = Exit { id: self.start.id.clone(), code, at, oom };
        self.exit = Some(exit.clone());
        let directory = pod.join("containers").join(&self.start.id);
        let new = directory.join("exit.json.new");
        fs::write(&new, serde_json::to_vec(&exit)?)?;
        fs::rename(&new, directory.join("exit.json"))?;
        Ok(exit)
    }

    /// Moves input from a client to the container.
    pub(crate) fn feed(&mut self, connection: u64) {
        let Some(client) = self.clients.iter_mut().find(|client| client.connection == connection) else { return };
        let Some(stdin) = &mut client.stdin else { return };
        let mut buffer = [0; 4096];
        match stdin.read(&mut buffer) {
            Ok(0) => {
                client.stdin = None;
                if self.start.stdin_once && !self.start.tty {
                    self.flush_input();
                    self.input = None;
                }
            }
            Ok(n) => {
                self.unwritten.extend_from_slice(buffer.get(..n).unwrap_or_default());
                self.flush_input();
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => client.stdin = None,
        }
    }

    pub(crate) fn flush_input(&mut self) {
        let Some(input) = &mut self.input else { return self.unwritten.clear() };
        while !self.unwritten.is_empty() {
            match input.write(&self.unwritten) {
                Ok(n) => drop(self.unwritten.drain(..n)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.input = None;
                    return self.unwritten.clear();
                }
            }
        }
    }

    pub(crate) fn name_of(output: &Output) -> &'static str {
        output.name
    }
}

fn write_line(log: &mut Option<Log>, name: &str, line: &[u8], whole: bool) {
    // A log that cannot be written (disk full) must not stop the container; the line is lost.
    if let Some(log) = log {
        drop(log.write(name, line, whole));
    }
}
