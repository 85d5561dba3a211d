//! Why a container could not be started; becomes its waiting state.

use std::time::Duration;

#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}: {message}")]
pub(crate) struct StartError {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// When to try again; growing pauses if not said.
    pub(crate) retry_after: Option<Duration>,
}

impl StartError {
    pub(crate) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), retry_after: None }
    }

    pub(crate) fn after(self, pause: Duration) -> Self {
        Self { retry_after: Some(pause), ..self }
    }
}
