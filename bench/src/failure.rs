//! What can go wrong.

/// Why a measurement was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A file, process or connection.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// HTTP itself.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// An answer is no JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// An answer that was not expected.
    #[error("{request}: {status}: {body}")]
    Answer {
        /// What was asked.
        request: String,
        /// Status code.
        status: u16,
        /// What came back.
        body: String,
    },
    /// It took longer than it ever should.
    #[error("{0}: took too long")]
    Late(String),
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::Other(text)
    }
}
