//! Pods with scheduling gates are not looked at before the last gate is gone.

use crate::pod::PodInfo;

pub(crate) fn gated(pod: &PodInfo) -> bool {
    pod.wishes.as_ref().is_some_and(|wishes| !wishes.gates.is_empty())
}
