//! What a container left in its termination message file, or at the end of its log.

use super::{Worker, build};
use crate::podlife::State;
use crate::{sandbox, spec};

/// Limits of upstream: bytes of a message, and lines and bytes of a log that stand for it.
const MESSAGE: usize = 4096;
const LOG_LINES: usize = 80;
const LOG_BYTES: usize = 2048;

impl Worker {
    /// Fills in the messages of containers that ended. Each is read once.
    pub(super) async fn hear_last_words(&mut self) {
        let records = self.observed.containers.iter();
        let unheard: Vec<_> = records
            .filter(|record| record.state == State::Exited && !self.last_words.contains_key(&record.id))
            .map(|record| (record.id.clone(), record.name.clone(), record.attempt, record.exit_code))
            .collect();
        for (id, name, attempt, exit_code) in unheard {
            let words = self.last_words_of(&name, attempt, exit_code).await;
            self.last_words.insert(id, words);
        }
        for record in &mut self.observed.containers {
            if let Some(words) = self.last_words.get(&record.id).filter(|words| !words.is_empty()) {
                // What the engine has to say of an end (a failed start) goes before.
                record.message = match record.message.is_empty() {
                    true => words.clone(),
                    false => format!("{}: {words}", record.message),
                };
            }
        }
    }

    async fn last_words_of(&self, name: &str, attempt: u32, exit_code: i32) -> String {
        let config = &self.context.config;
        let path = build::last_words_path(config, &self.pod, name, attempt);
        let words = tokio::fs::read(&path).await.unwrap_or_default();
        if !words.is_empty() {
            return tail(&words, MESSAGE);
        }
        let entry = spec::find(&self.pod, name);
        let policy = entry.and_then(|entry| entry.container.termination_message_policy.clone());
        if exit_code == 0 || policy.as_deref() != Some("FallbackToLogsOnError") {
            return String::new();
        }
        let path = sandbox::log_directory(&self.pod, config).join(build::log_path(name, attempt));
        let log = tokio::task::spawn_blocking(move || crate::server::last_lines(&path, LOG_LINES, LOG_BYTES)).await;
        log.unwrap_or_default()
    }
}

fn tail(words: &[u8], limit: usize) -> String {
    let kept = words.get(words.len().saturating_sub(limit)..).unwrap_or(words);
    String::from_utf8_lossy(kept).into_owned()
}
