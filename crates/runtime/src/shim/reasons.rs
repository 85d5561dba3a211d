//! Why libcontainer failed: its errors name the step, its log lines the cause. The lines are written by processes that
//! it forks, so they are kept in a file that all of them share.

use std::fmt::{Debug, Write as _};
use std::fs::File;
use std::io::{self, Read, Seek, Write};

use nix::sys::memfd::{MFdFlags, memfd_create};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata};

/// Collects error lines of this process and those forked from it.
pub(crate) struct Reasons(File);

struct Collector(File);

impl Reasons {
    /// Starts collecting.
    pub(crate) fn collect() -> io::Result<Self> {
        let file = File::from(memfd_create("reasons", MFdFlags::MFD_CLOEXEC)?);
        let collector = Collector(file.try_clone()?);
        tracing::subscriber::set_global_default(collector).map_err(io::Error::other)?;
        Ok(Self(file))
    }

    /// The line written first: the innermost cause.
    pub(crate) fn first(mut self) -> Option<String> {
        let mut text = String::new();
        self.0.rewind().ok()?;
        (&mut self.0).take(4096).read_to_string(&mut text).ok()?;
        text.lines().next().map(str::to_owned)
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let gap = if self.0.is_empty() { "" } else { ", " };
        let _infallible = match field.name() {
            "message" => write!(self.0, "{gap}{value:?}"),
            name => write!(self.0, "{gap}{name}: {value:?}"),
        };
    }
}

impl tracing::Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        // A reason that cannot be kept is one reason less.
        drop((&self.0).write_all(format!("{}\n", line.0.replace('\n', " ")).as_bytes()));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
