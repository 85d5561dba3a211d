//! What an engine answers when it cannot do what was asked.

use tonic::Code;

/// An engine's refusal. The variants are the gRPC codes that the kubelet tells apart.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CriError {
    /// There is no such sandbox, container or image.
    #[error("{0}")]
    NotFound(String),
    /// The request makes no sense.
    #[error("{0}")]
    InvalidArgument(String),
    /// It is not in the state that the request needs.
    #[error("{0}")]
    FailedPrecondition(String),
    /// It did not finish in time.
    #[error("{0}")]
    DeadlineExceeded(String),
    /// The engine (or a registry) cannot be reached now.
    #[error("{0}")]
    Unavailable(String),
    /// The engine does not offer this.
    #[error("{0}")]
    Unimplemented(String),
    /// Anything else.
    #[error("{0}")]
    Internal(String),
}

impl From<tonic::Status> for CriError {
    fn from(status: tonic::Status) -> Self {
        let message = status.message().to_owned();
        match status.code() {
            Code::NotFound => Self::NotFound(message),
            Code::InvalidArgument => Self::InvalidArgument(message),
            Code::FailedPrecondition => Self::FailedPrecondition(message),
            Code::DeadlineExceeded => Self::DeadlineExceeded(message),
            Code::Unavailable => Self::Unavailable(message),
            Code::Unimplemented => Self::Unimplemented(message),
            _ => Self::Internal(message),
        }
    }
}

impl From<CriError> for tonic::Status {
    fn from(error: CriError) -> Self {
        let code = match error {
            CriError::NotFound(_) => Code::NotFound,
            CriError::InvalidArgument(_) => Code::InvalidArgument,
            CriError::FailedPrecondition(_) => Code::FailedPrecondition,
            CriError::DeadlineExceeded(_) => Code::DeadlineExceeded,
            CriError::Unavailable(_) => Code::Unavailable,
            CriError::Unimplemented(_) => Code::Unimplemented,
            CriError::Internal(_) => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}
