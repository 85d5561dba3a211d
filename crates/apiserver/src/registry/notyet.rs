//! Kinds that are stored and served, but that nothing acts on yet: whoever creates one is told so.

use api::catalogue::Resource;

/// What to say about a new object of this kind; none for kinds that work.
pub(crate) fn warning(resource: &Resource) -> Option<&'static str> {
    Some(match (resource.group, resource.plural) {
        ("apiextensions.k8s.io", "customresourcedefinitions") => {
            "custom resources are not served yet: this definition is stored and nothing more"
        }
        ("admissionregistration.k8s.io", _) => {
            "admission webhooks and policies are not called yet: this object is stored and nothing more"
        }
        ("certificates.k8s.io", "clustertrustbundles" | "podcertificaterequests") => {
            "nothing signs certificates of pods yet: this object is stored and nothing more"
        }
        ("resource.k8s.io", _) => "devices are not allocated yet: this object is stored and nothing more",
        ("storage.k8s.io", "csidrivers" | "volumeattachments") => {
            "CSI drivers are not called yet: this object is stored and nothing more"
        }
        _ => return None,
    })
}
