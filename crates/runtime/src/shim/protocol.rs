//! What engine and shim say to each other: frames of JSON, each behind its length, over a unix socket.
//!
//! A connection carries one request, with its descriptors, and the answers to it. [`VERSION`] only grows; a shim
//! answers requests of its own version and of older ones, and unknown fields are skipped, so that a newer engine can
//! talk to an older shim.

use std::io;

use serde::{Deserialize, Serialize};

/// Version of the protocol.
pub const VERSION: u32 = 1;
/// Name of the socket in a sandbox's directory.
pub const SOCKET: &str = "shim.sock";
/// No frame is longer.
pub const MAX_FRAME: usize = 256 * 1024;

/// A request, with the version that its sender speaks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Envelope {
    /// The sender's version.
    pub version: u32,
    /// What is asked.
    pub request: Request,
}

/// What the engine can ask.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// Starts the container whose bundle is at `containers/ID`; answers [`Reply::Started`].
    Start(Start),
    /// Runs a command in a container. The streams come along as descriptors (stdin, stdout, stderr), or none with a
    /// terminal, whose master end comes back with [`Reply::Started`]. [`Reply::Exited`] follows.
    Exec(Exec),
    /// Joins a container's streams: descriptors for stdin, stdout, stderr as flagged. [`Reply::Exited`] follows.
    Attach {
        /// Container.
        id: String,
        /// A descriptor to read input from comes first.
        stdin: bool,
        /// A descriptor to write output to comes next.
        stdout: bool,
        /// A descriptor to write errors to comes last.
        stderr: bool,
    },
    /// Sets the size of a container's terminal.
    Resize {
        /// Container.
        id: String,
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
    },
    /// Sends a signal to a container's first process, or to a running command.
    Kill {
        /// Container.
        id: String,
        /// Command, as named by [`Exec::exec`].
        exec: Option<String>,
        /// Number of the signal.
        signal: i32,
    },
    /// Opens a container's log anew.
    ReopenLog {
        /// Container.
        id: String,
    },
    /// Drops what is remembered of a container that has ended.
    Forget {
        /// Container.
        id: String,
    },
    /// First [`Reply::State`], then a [`Reply::Event`] for each container that ends.
    Events,
    /// Makes the process that holds a PID namespace shared by the pod; answers [`Reply::Started`].
    Pause,
    /// Kills what runs and ends the shim.
    Shutdown,
}

/// How to start a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Start {
    /// Container.
    pub id: String,
    /// Log file; none throws output away.
    pub log: Option<String>,
    /// A terminal instead of pipes.
    pub tty: bool,
    /// Keep standard input open.
    pub stdin: bool,
    /// Close standard input when the first attached client closes its own.
    pub stdin_once: bool,
    /// Score that the kernel's out-of-memory killer adds.
    pub oom_score_adj: Option<i64>,
    /// Control group, for telling whether memory ran out.
    pub cgroup: String,
    /// User that the container runs as: its streams are this one's, so that it can open `/dev/stdout`.
    #[serde(default)]
    pub uid: u32,
}

/// How to run a command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Exec {
    /// Container.
    pub id: String,
    /// Name of this run, unique in the pod.
    pub exec: String,
    /// File with the OCI process.
    pub process: String,
    /// A terminal instead of the streams sent along.
    pub tty: bool,
}

/// What the shim answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// Done.
    Ok,
    /// Not done, and why.
    Failed {
        /// The cause.
        message: String,
    },
    /// A process runs.
    Started {
        /// Its id.
        pid: i32,
    },
    /// The process that this connection is about has ended.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// Every container that was started.
    State {
        /// Containers.
        containers: Vec<ContainerState>,
    },
    /// A container has ended.
    Event {
        /// Which and how.
        exit: Exit,
    },
}

/// One container of a shim.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerState {
    /// Container.
    pub id: String,
    /// Its first process.
    pub pid: i32,
    /// Set when it has ended.
    pub exit: Option<Exit>,
}

/// How a container ended; also kept as `containers/ID/exit.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Container.
    pub id: String,
    /// Exit code; 128 and the signal's number when a signal ended it.
    pub code: i32,
    /// When, in nanoseconds since 1970.
    pub at: i64,
    /// The kernel killed a process of it because memory ran out.
    pub oom: bool,
}

/// One message as bytes.
pub fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let body = serde_json::to_vec(message)?;
    if body.len() > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "message too long"));
    }
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    Ok([length.to_le_bytes().as_slice(), &body].concat())
}

/// Takes one whole message off the front of `buffer`; none when there is not one yet.
pub fn decode<T: for<'a> Deserialize<'a>>(buffer: &mut Vec<u8>) -> io::Result<Option<T>> {
    let Some(length) = buffer.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes) as usize) else {
        return Ok(None);
    };
    if length > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "message too long"));
    }
    let Some(body) = buffer.get(4..4 + length) else { return Ok(None) };
    let message = serde_json::from_slice(body)?;
    buffer.drain(..4 + length);
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_whole_or_not_at_all() {
        let bytes = encode(&Reply::Started { pid: 7 }).unwrap();
        let mut buffer = bytes[..bytes.len() - 1].to_vec();
        assert!(decode::<Reply>(&mut buffer).unwrap().is_none());
        buffer.extend([bytes[bytes.len() - 1], 9]);
        assert!(matches!(decode(&mut buffer).unwrap(), Some(Reply::Started { pid: 7 })));
        assert_eq!(buffer, [9]);
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused() {
        assert!(decode::<Reply>(&mut vec![0xff; 8]).is_err());
    }

    #[test]
    fn unknown_fields_are_skipped() {
        let text = r#"{"version":2,"request":{"op":"kill","id":"a","signal":9,"novel":true}}"#;
        let envelope: Envelope = serde_json::from_str(text).unwrap();
        assert!(matches!(envelope.request, Request::Kill { signal: 9, exec: None, .. }));
    }
}
