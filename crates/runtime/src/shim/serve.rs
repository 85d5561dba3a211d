//! The shim's loop: one thread, everything in one `poll`.

mod requests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use sys::process::Side;

use super::log::Log;
use super::protocol::{self, Envelope, Exit, Reply, Start, VERSION};
use super::task::{Output, Sink, Task};

/// Runs the shim of one sandbox: returns in the starter as soon as the socket is there, in the daemon at its end.
pub(crate) fn main(directory: &str, cgroup: &str) -> io::Result<()> {
    let pod = PathBuf::from(directory);
    // Out of the server's group: who stops that one must not take the pods along.
    sys::cgroup::Cgroups::detect()
        .and_then(|cgroups| cgroups.enter(cgroup, std::process::id()))
        .map_err(io::Error::other)?;
    std::fs::create_dir_all(super::helper::state_root(&pod))?;
    match std::fs::remove_file(pod.join(protocol::SOCKET)) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = sys::fd::listen(&pod, protocol::SOCKET)?;
    listener.set_nonblocking(true)?;
    if sys::process::daemonize()? == Side::Starter {
        return Ok(());
    }
    sys::process::become_subreaper()?;
    silence()?;
    Shim::new(pod, listener)?.run()
}

/// The server's standard streams are not the shim's.
fn silence() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    std::env::set_current_dir("/")
}

struct Connection {
    stream: UnixStream,
    input: Vec<u8>,
    fds: Vec<OwnedFd>,
    output: Vec<u8>,
    events: bool,
}

/// A helper under way, and what its report is for.
struct Helper {
    report: UnixStream,
    connection: u64,
    purpose: Purpose,
}

enum Purpose {
    Start { start: Start, outputs: Vec<Output>, input: Option<File>, log: Option<Log> },
    Exec { id: String, exec: String },
    Pause,
}

struct Run {
    connection: u64,
    id: String,
    exec: String,
    pid: i32,
}

/// What a descriptor in the poll list belongs to.
enum Source {
    Listener,
    Signal,
    Connection(u64),
    Report(usize),
    Output(String, &'static str),
    Input(String),
    ClientInput(String, u64),
    ClientOutput(String),
}

struct Shim {
    pod: PathBuf,
    listener: UnixListener,
    signals: SignalFd,
    connections: BTreeMap<u64, Connection>,
    next_connection: u64,
    helpers: Vec<Helper>,
    tasks: BTreeMap<String, Task>,
    runs: Vec<Run>,
    pause: Option<i32>,
    /// Exits of processes whose helper has not reported yet.
    early: BTreeMap<i32, i32>,
    stopping: bool,
}

impl Shim {
    fn new(pod: PathBuf, listener: UnixListener) -> io::Result<Self> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGCHLD);
        set.thread_block()?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self {
            pod,
            listener,
            signals,
            connections: BTreeMap::new(),
            next_connection: 0,
            helpers: Vec::new(),
            tasks: BTreeMap::new(),
            runs: Vec::new(),
            pause: None,
            early: BTreeMap::new(),
            stopping: false,
        })
    }

    fn run(mut self) -> io::Result<()> {
        while !self.finished() {
            for (source, flags) in self.wait()? {
                self.handle(source, flags)?;
            }
            self.connections.retain(|_, connection| connection.flush());
            let alive = &self.connections;
            for task in self.tasks.values_mut() {
                task.clients.retain(|client| alive.contains_key(&client.connection));
            }
        }
        drop(std::fs::remove_file(self.pod.join(protocol::SOCKET)));
        Ok(())
    }

    fn finished(&self) -> bool {
        self.stopping && self.helpers.is_empty() && self.tasks.values().all(|task| task.exit.is_some())
    }

    fn wait(&self) -> io::Result<Vec<(Source, PollFlags)>> {
        let mut sources: Vec<(Source, BorrowedFd<'_>, PollFlags)> = vec![
            (Source::Listener, self.listener.as_fd(), PollFlags::POLLIN),
            (Source::Signal, self.signals.as_fd(), PollFlags::POLLIN),
        ];
        for (token, connection) in &self.connections {
            let write = if connection.output.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
            sources.push((Source::Connection(*token), connection.stream.as_fd(), PollFlags::POLLIN | write));
        }
        for (index, helper) in self.helpers.iter().enumerate() {
            sources.push((Source::Report(index), helper.report.as_fd(), PollFlags::POLLIN));
        }
        for (id, task) in &self.tasks {
            task_sources(id, task, &mut sources);
        }
        let mut fds: Vec<_> = sources.iter().map(|(_, fd, flags)| PollFd::new(*fd, *flags)).collect();
        match poll(&mut fds, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => return Ok(Vec::new()),
            other => other?,
        };
        let seen: Vec<_> = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty())).collect();
        let pairs = sources.into_iter().map(|(source, _, _)| source).zip(seen);
        let mut ready: Vec<_> = pairs.filter(|(_, flags)| !flags.is_empty()).collect();
        // Output first, so that nothing is read after its container's end was told; a helper's report before exits.
        ready.sort_by_key(|(source, _)| match source {
            Source::Output(..) => 0,
            Source::Report(index) => 1 + usize::MAX / 2 - index,
            _ => usize::MAX,
        });
        Ok(ready)
    }

    fn handle(&mut self, source: Source, flags: PollFlags) -> io::Result<()> {
        match source {
            Source::Listener => self.accept(),
            Source::Signal => self.collect(),
            Source::Connection(token) => {
                if flags.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
                    self.read(token);
                }
                Ok(())
            }
            Source::Report(index) => self.reported(index),
            Source::Output(id, name) => {
                self.tasks.get_mut(&id).into_iter().for_each(|task| task.pump(name));
                Ok(())
            }
            Source::Input(id) => {
                self.tasks.get_mut(&id).into_iter().for_each(Task::flush_input);
                Ok(())
            }
            Source::ClientInput(id, connection) => {
                self.tasks.get_mut(&id).into_iter().for_each(|task| task.feed(connection));
                Ok(())
            }
            Source::ClientOutput(id) => {
                for client in self.tasks.get_mut(&id).into_iter().flat_map(|task| &mut task.clients) {
                    for sink in [&mut client.stdout, &mut client.stderr] {
                        if sink.as_mut().is_some_and(|sink| !sink.flush()) {
                            *sink = None;
                        }
                    }
                }
                Ok(())
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    // The directory is root's alone; this is the second lock.
                    if sys::process::peer_uid(&stream)? != nix::unistd::geteuid().as_raw() {
                        continue;
                    }
                    stream.set_nonblocking(true)?;
                    self.next_connection += 1;
                    let (input, output) = (Vec::new(), Vec::new());
                    let connection = Connection { stream, input, fds: Vec::new(), output, events: false };
                    self.connections.insert(self.next_connection, connection);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn read(&mut self, token: u64) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        let mut buffer = [0; 16 * 1024];
        let envelope = match sys::fd::receive(&connection.stream, &mut buffer) {
            Ok((0, _)) => Err(io::Error::from(ErrorKind::UnexpectedEof)),
            Ok((n, fds)) => {
                connection.input.extend_from_slice(buffer.get(..n).unwrap_or_default());
                connection.fds.extend(fds);
                protocol::decode::<Envelope>(&mut connection.input)
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return,
            Err(e) => Err(e),
        };
        match envelope {
            Ok(Some(envelope)) if envelope.version <= VERSION => {
                let fds = std::mem::take(&mut connection.fds);
                if let Err(error) = self.serve(token, envelope.request, fds) {
                    self.reply(token, &Reply::Failed { message: error.to_string() });
                }
            }
            Ok(Some(envelope)) => {
                let message = format!("version {} is newer than this shim's {VERSION}", envelope.version);
                self.reply(token, &Reply::Failed { message });
            }
            Ok(None) => {}
            Err(_) => drop(self.connections.remove(&token)),
        }
    }

    fn reply(&mut self, token: u64, reply: &Reply) {
        if let (Some(connection), Ok(bytes)) = (self.connections.get_mut(&token), protocol::encode(reply)) {
            connection.output.extend(bytes);
        }
    }

    fn task(&mut self, id: &str) -> io::Result<&mut Task> {
        self.tasks.get_mut(id).ok_or_else(|| io::Error::new(ErrorKind::NotFound, "no such container was started"))
    }

    fn reported(&mut self, index: usize) -> io::Result<()> {
        if index >= self.helpers.len() {
            return Ok(());
        }
        let helper = self.helpers.swap_remove(index);
        let mut buffer = [0; 16 * 1024];
        let lost = || Reply::Failed { message: "the helper ended without a report".to_owned() };
        let (reply, fds) = match sys::fd::receive(&helper.report, &mut buffer) {
            Ok((n, fds)) => {
                let mut bytes = buffer.get(..n).unwrap_or_default().to_vec();
                (protocol::decode(&mut bytes).ok().flatten().unwrap_or_else(lost), fds)
            }
            Err(_) => (lost(), Vec::new()),
        };
        if let Reply::Started { pid } = reply {
            self.started(helper.connection, pid, helper.purpose, fds)?;
        } else {
            self.reply(helper.connection, &reply);
        }
        if self.helpers.is_empty() {
            self.early.clear();
        }
        Ok(())
    }

    fn started(&mut self, token: u64, pid: i32, purpose: Purpose, fds: Vec<OwnedFd>) -> io::Result<()> {
        let master = fds.into_iter().next();
        match purpose {
            Purpose::Start { start, mut outputs, mut input, log } => {
                if let Some(master) = master {
                    input = Some(File::from(master.try_clone()?));
                    outputs.push(Output::new(master, "stdout")?);
                }
                let (unwritten, clients) = (Vec::new(), Vec::new());
                let task = Task { pid, outputs, input, unwritten, log, clients, exit: None, start };
                self.tasks.insert(task.start.id.clone(), task);
                self.reply(token, &Reply::Started { pid });
            }
            Purpose::Exec { id, exec } => {
                self.runs.push(Run { connection: token, id, exec, pid });
                let bytes = protocol::encode(&Reply::Started { pid })?;
                if let (Some(connection), Some(master)) = (self.connections.get(&token), &master) {
                    sys::fd::send(&connection.stream, &bytes, &[master.as_raw_fd()])?;
                } else {
                    self.reply(token, &Reply::Started { pid });
                }
            }
            Purpose::Pause => {
                self.pause = Some(pid);
                self.reply(token, &Reply::Started { pid });
            }
        }
        if let Some(code) = self.early.remove(&pid) {
            self.ended(pid, code)?;
        }
        Ok(())
    }

    /// Children have ended.
    fn collect(&mut self) -> io::Result<()> {
        while self.signals.read_signal()?.is_some() {}
        while let Some(exit) = sys::process::reap()? {
            self.ended(exit.pid, exit.code)?;
        }
        Ok(())
    }

    fn ended(&mut self, pid: i32, code: i32) -> io::Result<()> {
        if let Some(index) = self.runs.iter().position(|run| run.pid == pid) {
            let run = self.runs.swap_remove(index);
            self.reply(run.connection, &Reply::Exited { code });
        } else if let Some(task) = self.tasks.values_mut().find(|task| task.pid == pid && task.exit.is_none()) {
            let at = i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
            let exit = match task.end(&self.pod, code, at) {
                Ok(exit) => exit,
                // The record on disk failed (disk full); the engine is told all the same.
                Err(_) => task.exit.clone().unwrap_or(Exit { id: task.start.id.clone(), code, at, oom: false }),
            };
            let clients: Vec<u64> = task.clients.drain(..).map(|client| client.connection).collect();
            clients.into_iter().for_each(|token| self.reply(token, &Reply::Exited { code }));
            let listeners: Vec<u64> = self.connections.iter().filter(|(_, c)| c.events).map(|(t, _)| *t).collect();
            listeners.into_iter().for_each(|token| self.reply(token, &Reply::Event { exit: exit.clone() }));
        } else if !self.helpers.is_empty() {
            self.early.insert(pid, code);
        }
        Ok(())
    }
}

impl Connection {
    /// False when the other end is gone.
    fn flush(&mut self) -> bool {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(n) => drop(self.output.drain(..n)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return self.output.len() <= 4 * protocol::MAX_FRAME,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }
}

fn task_sources<'a>(id: &str, task: &'a Task, sources: &mut Vec<(Source, BorrowedFd<'a>, PollFlags)>) {
    for output in &task.outputs {
        sources.push((Source::Output(id.to_owned(), Task::name_of(output)), output.file.as_fd(), PollFlags::POLLIN));
    }
    if let Some(input) = task.input.as_ref().filter(|_| !task.unwritten.is_empty()) {
        sources.push((Source::Input(id.to_owned()), input.as_fd(), PollFlags::POLLOUT));
    }
    for client in &task.clients {
        if let Some(stdin) = client.stdin.as_ref().filter(|_| task.unwritten.is_empty()) {
            sources.push((Source::ClientInput(id.to_owned(), client.connection), stdin.as_fd(), PollFlags::POLLIN));
        }
        for fd in [&client.stdout, &client.stderr].into_iter().flatten().filter_map(Sink::waiting) {
            sources.push((Source::ClientOutput(id.to_owned()), fd, PollFlags::POLLOUT));
        }
    }
}
