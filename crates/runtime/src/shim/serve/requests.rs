//! What the engine asks of the shim, one method a request.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Helper, Purpose, Shim};
use crate::shim::helper::Job;
use crate::shim::log::Log;
use crate::shim::protocol::{ContainerState, Exec, Reply, Request, Start};
use crate::shim::task::{Client, Output, Sink};

impl Shim {
    pub(super) fn serve(&mut self, token: u64, request: Request, fds: Vec<OwnedFd>) -> io::Result<()> {
        match request {
            Request::Start(start) => return self.start(token, start),
            Request::Exec(exec) => return self.exec(token, &exec, fds),
            Request::Pause => {
                let null = || File::options().read(true).write(true).open("/dev/null");
                return self.spawn(token, "sandbox", Job::default(), [null()?, null()?, null()?], Purpose::Pause);
            }
            Request::Attach { id, stdin, stdout, stderr } => {
                let client = attached(token, fds, stdin, stdout, stderr)?;
                let task = self.task(&id)?;
                if let Some(exit) = &task.exit {
                    let code = exit.code;
                    self.reply(token, &Reply::Exited { code });
                    return Ok(());
                }
                task.clients.push(client);
            }
            Request::Resize { id, columns, rows } => {
                if let Some(terminal) = &self.task(&id)?.input {
                    sys::fd::resize(terminal, columns, rows)?;
                }
            }
            Request::Kill { id, exec, signal } => self.kill(&id, exec.as_deref(), signal)?,
            Request::ReopenLog { id } => self.task(&id)?.log.as_mut().map_or(Ok(()), Log::reopen)?,
            Request::Forget { id } => {
                if self.tasks.get(&id).is_some_and(|task| task.exit.is_some()) {
                    self.tasks.remove(&id);
                }
            }
            Request::Events => {
                let state = self.tasks.values().map(|task| ContainerState {
                    id: task.start.id.clone(),
                    pid: task.pid,
                    exit: task.exit.clone(),
                });
                let reply = Reply::State { containers: state.collect() };
                self.connections.get_mut(&token).into_iter().for_each(|connection| connection.events = true);
                self.reply(token, &reply);
                return Ok(());
            }
            Request::Shutdown => {
                self.stopping = true;
                let running = self.tasks.values().filter(|task| task.exit.is_none()).map(|task| task.pid);
                running.chain(self.pause).try_for_each(|pid| sys::process::kill(pid, nix::libc::SIGKILL))?;
            }
        }
        self.reply(token, &Reply::Ok);
        Ok(())
    }

    fn kill(&mut self, id: &str, exec: Option<&str>, signal: i32) -> io::Result<()> {
        let pid = match exec {
            Some(exec) => self.runs.iter().find(|run| run.id == id && run.exec == exec).map(|run| run.pid),
            None => Some(self.task(id)?).filter(|task| task.exit.is_none()).map(|task| task.pid),
        };
        // Only children that were not collected yet are signalled: their ids cannot have been given to others.
        pid.map_or(Ok(()), |pid| sys::process::kill(pid, signal))
    }

    fn start(&mut self, token: u64, start: Start) -> io::Result<()> {
        if self.tasks.contains_key(&start.id) {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "the container was started already"));
        }
        let log = start.log.as_ref().map(|path| Log::open(Path::new(path))).transpose()?;
        let null = || File::options().read(true).write(true).open("/dev/null");
        let (mut outputs, mut input) = (Vec::new(), None);
        let streams = if start.tty {
            [null()?, null()?, null()?]
        } else {
            let ((out_read, out_write), (err_read, err_write)) = (sys::fd::pipe()?, sys::fd::pipe()?);
            // What opens `/dev/stdout` by its path needs leave of its own.
            [&out_write, &err_write].into_iter().try_for_each(|fd| sys::fd::give_to(fd, start.uid))?;
            outputs.extend([Output::new(out_read, "stdout")?, Output::new(err_read, "stderr")?]);
            let stdin = if start.stdin {
                let (read, write) = sys::fd::pipe()?;
                sys::fd::set_nonblocking(&write)?;
                sys::fd::give_to(&read, start.uid)?;
                input = Some(File::from(write));
                File::from(read)
            } else {
                null()?
            };
            [stdin, out_write.into(), err_write.into()]
        };
        let job = Job { id: start.id.clone(), tty: start.tty, oom_score_adj: start.oom_score_adj, ..Job::default() };
        self.spawn(token, "create", job, streams, Purpose::Start { start, outputs, input, log })
    }

    fn exec(&mut self, token: u64, exec: &Exec, fds: Vec<OwnedFd>) -> io::Result<()> {
        if self.task(&exec.id)?.exit.is_some() {
            return Err(io::Error::new(ErrorKind::NotFound, "the container is not running"));
        }
        let mut fds = fds.into_iter().map(File::from);
        let mut next = || {
            let given = if exec.tty { None } else { fds.next() };
            given.map_or_else(|| File::options().read(true).write(true).open("/dev/null"), Ok)
        };
        let streams = [next()?, next()?, next()?];
        let process = Some(PathBuf::from(&exec.process));
        let job = Job { id: exec.id.clone(), tty: exec.tty, process, ..Job::default() };
        self.spawn(token, "exec", job, streams, Purpose::Exec { id: exec.id.clone(), exec: exec.exec.clone() })
    }

    fn spawn(&mut self, token: u64, verb: &str, job: Job, streams: [File; 3], purpose: Purpose) -> io::Result<()> {
        let (report, theirs) = UnixStream::pair()?;
        sys::fd::inherit(&theirs)?;
        let job = Job { report: theirs.as_raw_fd(), pod: self.pod.clone(), ..job };
        let [stdin, stdout, stderr] = streams.map(Stdio::from);
        let mut command = Command::new("/proc/self/exe");
        command.args(["shim", verb, &serde_json::to_string(&job)?]).stdin(stdin).stdout(stdout).stderr(stderr);
        // Its end is collected with all the others'.
        drop(command.spawn()?);
        self.helpers.push(Helper { report, connection: token, purpose });
        Ok(())
    }
}

fn attached(connection: u64, fds: Vec<OwnedFd>, stdin: bool, stdout: bool, stderr: bool) -> io::Result<Client> {
    let mut fds = fds.into_iter();
    let mut next = |wanted: bool| if wanted { fds.next() } else { None };
    let (input, output, errors) = (next(stdin), next(stdout), next(stderr));
    input.as_ref().map_or(Ok(()), sys::fd::set_nonblocking)?;
    Ok(Client {
        connection,
        stdin: input.map(File::from),
        stdout: output.map(Sink::new).transpose()?,
        stderr: errors.map(Sink::new).transpose()?,
    })
}
