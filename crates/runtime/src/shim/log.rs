//! Container output as CRI's log lines: `TIME STREAM TAG TEXT`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Longer lines are written in parts, tagged `P` up to the last, which is tagged `F`.
const MAX_LINE: usize = 16 * 1024;

/// Cuts a byte stream into tagged lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    /// Takes bytes in; hands out each finished line or part, with whether it is whole.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut out: impl FnMut(&[u8], bool)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            self.extend(line, &mut out);
            out(&self.pending, true);
            self.pending.clear();
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.extend(bytes, &mut out);
    }

    fn extend(&mut self, bytes: &[u8], out: &mut impl FnMut(&[u8], bool)) {
        self.pending.extend_from_slice(bytes);
        while self.pending.len() > MAX_LINE {
            let rest = self.pending.split_off(MAX_LINE);
            out(&self.pending, false);
            self.pending = rest;
        }
    }

    /// The stream has ended: hands out what is left, a line that was never finished.
    pub(crate) fn finish(&mut self, mut out: impl FnMut(&[u8], bool)) {
        if !self.pending.is_empty() {
            out(&self.pending, false);
        }
        self.pending = Vec::new();
    }
}

/// A container's log file.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        Ok(Self { path: path.to_owned(), file: append(path)? })
    }

    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        self.file = append(&self.path)?;
        Ok(())
    }

    /// Writes one line. A full disk loses the line, not the container.
    pub(crate) fn write(&mut self, stream: &str, line: &[u8], whole: bool) -> io::Result<()> {
        let time = jiff::Timestamp::now();
        let tag = if whole { 'F' } else { 'P' };
        let mut text = format!("{time:.9} {stream} {tag} ").into_bytes();
        text.extend_from_slice(line);
        text.push(b'\n');
        self.file.write_all(&text)
    }
}

fn append(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(chunks: &[&[u8]]) -> Vec<(usize, bool)> {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        for chunk in chunks {
            lines.push(chunk, |line, whole| out.push((line.len(), whole)));
        }
        lines.finish(|line, whole| out.push((line.len(), whole)));
        out
    }

    #[test]
    fn lines_are_cut_wherever_the_reads_fall() {
        assert_eq!(cut(&[b"ab\nc", b"d\n\ne"]), [(2, true), (2, true), (0, true), (1, false)]);
    }

    #[test]
    fn long_lines_come_in_parts() {
        let long = vec![b'x'; 40_000];
        assert_eq!(cut(&[&long, b"\n"]), [(16384, false), (16384, false), (7232, true)]);
    }

    #[test]
    fn a_log_line_reads_as_cri_says() {
        let dir = std::env::temp_dir().join(format!("shim-log-{}", std::process::id()));
        let path = dir.join("deep/0.log");
        Log::open(&path).unwrap().write("stderr", b"hello", false).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        let words: Vec<_> = text.split(' ').collect();
        assert_eq!(words[0].len(), "2006-01-02T15:04:05.999999999Z".len(), "{text}");
        assert_eq!(words[1..], ["stderr", "P", "hello\n"]);
    }
}
