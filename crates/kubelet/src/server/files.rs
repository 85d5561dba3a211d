//! Log files as CRI lays them down: `TIME STREAM TAG TEXT`, a line each; the tag P says that the line goes on. Docker
//! Engine's own files, JSON lines, are read as well.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use jiff::Timestamp;

/// One line of a log file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) time: Cow<'a, str>,
    pub(super) stream: Cow<'a, str>,
    /// The next line of the stream belongs to this one.
    pub(super) partial: bool,
    pub(super) text: Cow<'a, [u8]>,
}

/// A line of Docker's `json-file`.
#[derive(serde::Deserialize)]
struct DockerLine {
    #[serde(default)]
    log: String,
    #[serde(default)]
    stream: String,
    #[serde(default)]
    time: String,
}

/// What a container wrote without a line's end is all that it wrote before Docker's buffer was full.
fn parse_docker(line: &[u8]) -> Option<Line<'static>> {
    let DockerLine { mut log, stream, time } = serde_json::from_slice(line).ok()?;
    let partial = !log.ends_with('\n');
    if !partial {
        log.pop();
    }
    Some(Line { time: time.into(), stream: stream.into(), partial, text: log.into_bytes().into() })
}

/// None for what is no such line.
pub(super) fn parse(line: &[u8]) -> Option<Line<'_>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    if line.first() == Some(&b'{') {
        return parse_docker(line);
    }
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let mut word = || parts.next().and_then(|part| std::str::from_utf8(part).ok());
    let (time, stream, tag) = (word()?, word()?, word()?);
    let text = parts.next().unwrap_or_default();
    let partial = tag.split(':').next() == Some("P");
    Some(Line { time: time.into(), stream: stream.into(), partial, text: text.into() })
}

impl Line<'_> {
    pub(super) fn at(&self) -> Option<Timestamp> {
        self.time.parse().ok()
    }
}

/// Where the last `count` lines of a file begin.
pub(super) fn tail_offset(file: &mut File, count: u64) -> io::Result<u64> {
    const BLOCK: u64 = 64 * 1024;
    let end = file.seek(SeekFrom::End(0))?;
    if count == 0 {
        return Ok(end);
    }
    let (mut position, mut found) = (end, 0);
    while position > 0 {
        let begin = position.saturating_sub(BLOCK);
        let mut block = vec![0; usize::try_from(position - begin).unwrap_or(0)];
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(&mut block)?;
        for (index, byte) in block.iter().enumerate().rev() {
            let at = begin + index as u64;
            if *byte == b'\n' && at + 1 < end {
                found += 1;
                if found == count {
                    return Ok(at + 1);
                }
            }
        }
        position = begin;
    }
    Ok(0)
}

/// The last lines of a log as text, for termination messages.
pub(crate) fn last_lines(path: &Path, lines: usize, bytes: usize) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let offset = tail_offset(&mut file, lines as u64)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut raw = Vec::new();
        file.take(1 << 20).read_to_end(&mut raw)?;
        let mut text = Vec::new();
        for line in raw.split_inclusive(|byte| *byte == b'\n').filter_map(parse) {
            text.extend_from_slice(&line.text);
            if !line.partial {
                text.push(b'\n');
            }
        }
        Ok(text)
    };
    match read() {
        Ok(text) => {
            let kept = text.get(text.len().saturating_sub(bytes)..).unwrap_or(&text);
            String::from_utf8_lossy(kept).into_owned()
        }
        Err(error) => {
            tracing::debug!(%error, path = %path.display(), "log not read for a termination message");
            String::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_apart() {
        let line = parse(b"2026-01-02T03:04:05.6Z stderr F a b\n").unwrap();
        assert_eq!((&*line.stream, line.partial, &*line.text), ("stderr", false, &b"a b"[..]));
        assert!(parse(b"2026-01-02T03:04:05Z stdout P \n").unwrap().partial);
        assert_eq!(parse(b"garbage\n"), None);
        let line = parse(br#"{"log":"a \u003c b\n","stream":"stdout","time":"2026-01-02T03:04:05.6Z"}"#).unwrap();
        assert_eq!((&*line.stream, line.partial, &*line.text), ("stdout", false, &b"a < b"[..]));
        assert!(parse(br#"{"log":"half","stream":"stdout","time":"2026-01-02T03:04:05Z"}"#).unwrap().partial);
    }

    #[test]
    fn the_tail_is_found_from_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let lines: String = (0..20_000).map(|n| format!("2026-01-02T03:04:05Z stdout F line {n}\n")).collect();
        std::fs::write(&path, lines).unwrap();
        assert_eq!(last_lines(&path, 2, 1000), "line 19998\nline 19999\n");
        assert_eq!(last_lines(&path, 2, 6), "19999\n");
        let mut file = File::open(&path).unwrap();
        let end = std::fs::metadata(&path).unwrap().len();
        assert_eq!(tail_offset(&mut file, 0).unwrap(), end);
        assert_eq!(tail_offset(&mut file, 50_000).unwrap(), 0);
    }
}
