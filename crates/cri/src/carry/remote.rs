//! How a session ended, as clients are told.

use serde_json::{Value, json};

use crate::CriError;

/// `metav1.Status` for the error channel.
pub(super) fn status(exit: &Result<i32, CriError>) -> Value {
    match exit {
        Ok(0) => json!({"metadata": {}, "status": "Success"}),
        Ok(code) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        Err(error) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("Internal error occurred: error executing command in container: {error}"),
            "reason": "InternalError",
            "details": {"causes": [{"message": error.to_string()}]},
            "code": 500,
        }),
    }
}

/// What protocols before the fourth version say instead: nothing, or a sentence.
pub(super) fn sentence(exit: &Result<i32, CriError>) -> Option<String> {
    match exit {
        Ok(0) => None,
        Ok(code) => Some(format!("command terminated with non-zero exit code: exit status {code}")),
        Err(error) => Some(format!("error executing command in container: {error}")),
    }
}
