//! Answers.

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;
pub(crate) type Answer = Response<Body>;

/// A request that is not answered, in words.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    message: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn internal(error: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }

    pub(crate) fn into_answer(self) -> Answer {
        text(self.status, &self.message)
    }
}

impl From<cri::carry::Refused> for Refusal {
    fn from(refused: cri::carry::Refused) -> Self {
        Self::new(refused.status, refused.message)
    }
}

impl From<cri::CriError> for Refusal {
    fn from(error: cri::CriError) -> Self {
        let status = match error {
            cri::CriError::NotFound(_) => StatusCode::NOT_FOUND,
            cri::CriError::InvalidArgument(_) => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

pub(crate) fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}

fn typed(status: StatusCode, kind: &'static str, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    answer
}

pub(crate) fn text(status: StatusCode, text: &str) -> Answer {
    typed(status, "text/plain; charset=utf-8", full(text.to_owned()))
}

pub(crate) fn json(value: &impl serde::Serialize) -> Result<Answer, Refusal> {
    let text = serde_json::to_vec(value).map_err(Refusal::internal)?;
    Ok(typed(StatusCode::OK, "application/json", full(text)))
}

pub(crate) fn stream(body: Body) -> Answer {
    typed(StatusCode::OK, "text/plain", body)
}
