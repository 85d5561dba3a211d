//! The rows (tabular: one a resource; order is discovery's).

use super::row::{Resource, Subresource, Verbs};

const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];
const SCALE: Subresource = Subresource::other("scale", "autoscaling", "v1", "Scale", &["get", "patch", "update"]);

pub(super) static ROWS: &[Resource] = &[
    Resource::new("", &["v1"], "Binding", "bindings", "binding").verbs(Verbs::CreateOnly),
    Resource::new("", &["v1"], "ComponentStatus", "componentstatuses", "componentstatus")
        .cluster()
        .short(&["cs"])
        .verbs(Verbs::ReadOnly),
    Resource::new("", &["v1"], "ConfigMap", "configmaps", "configmap").short(&["cm"]),
    Resource::new("", &["v1"], "Endpoints", "endpoints", "endpoints").short(&["ep"]).at("services/endpoints"),
    Resource::new("", &["v1"], "Event", "events", "event").short(&["ev"]),
    Resource::new("", &["v1"], "LimitRange", "limitranges", "limitrange").short(&["limits"]),
    Resource::new("", &["v1"], "Namespace", "namespaces", "namespace")
        .cluster()
        .short(&["ns"])
        .verbs(Verbs::NoDeleteCollection)
        .subs(&[
            Subresource::own("status", "Namespace"),
            Subresource::other("finalize", "", "", "Namespace", &["update"]),
        ]),
    Resource::new("", &["v1"], "Node", "nodes", "node")
        .cluster()
        .short(&["no"])
        .subs(&[Subresource::own("status", "Node"), Subresource::other("proxy", "", "", "NodeProxyOptions", PROXY)])
        .at("minions"),
    Resource::new("", &["v1"], "PersistentVolumeClaim", "persistentvolumeclaims", "persistentvolumeclaim")
        .short(&["pvc"])
        .subs(&[Subresource::own("status", "PersistentVolumeClaim")]),
    Resource::new("", &["v1"], "PersistentVolume", "persistentvolumes", "persistentvolume")
        .cluster()
        .short(&["pv"])
        .subs(&[Subresource::own("status", "PersistentVolume")]),
    Resource::new("", &["v1"], "Pod", "pods", "pod").short(&["po"]).category(&["all"]).subs(&[
        Subresource::other("attach", "", "", "PodAttachOptions", &["create", "get"]),
        Subresource::other("binding", "", "", "Binding", &["create"]),
        Subresource::own("ephemeralcontainers", "Pod"),
        Subresource::other("eviction", "policy", "v1", "Eviction", &["create"]),
        Subresource::other("exec", "", "", "PodExecOptions", &["create", "get"]),
        Subresource::other("log", "", "", "Pod", &["get"]),
        Subresource::other("portforward", "", "", "PodPortForwardOptions", &["create", "get"]),
        Subresource::other("proxy", "", "", "PodProxyOptions", PROXY),
        Subresource::own("resize", "Pod"),
        Subresource::own("status", "Pod"),
    ]),
    Resource::new("", &["v1"], "PodTemplate", "podtemplates", "podtemplate"),
    Resource::new("", &["v1"], "ReplicationController", "replicationcontrollers", "replicationcontroller")
        .short(&["rc"])
        .category(&["all"])
        .subs(&[SCALE, Subresource::own("status", "ReplicationController")])
        .at("controllers"),
    Resource::new("", &["v1"], "ResourceQuota", "resourcequotas", "resourcequota")
        .short(&["quota"])
        .subs(&[Subresource::own("status", "ResourceQuota")]),
    Resource::new("", &["v1"], "Secret", "secrets", "secret"),
    Resource::new("", &["v1"], "ServiceAccount", "serviceaccounts", "serviceaccount")
        .short(&["sa"])
        .subs(&[Subresource::other("token", "authentication.k8s.io", "v1", "TokenRequest", &["create"])]),
    Resource::new("", &["v1"], "Service", "services", "service")
        .short(&["svc"])
        .category(&["all"])
        .subs(&[
            Subresource::other("proxy", "", "", "ServiceProxyOptions", PROXY),
            Subresource::own("status", "Service"),
        ])
        .at("services/specs"),
    Resource::new("apiregistration.k8s.io", &["v1"], "APIService", "apiservices", "apiservice")
        .cluster()
        .category(&["api-extensions"])
        .subs(&[Subresource::own("status", "APIService")])
        .at("apiregistration.k8s.io/apiservices"),
    Resource::new("apps", &["v1"], "ControllerRevision", "controllerrevisions", "controllerrevision"),
    Resource::new("apps", &["v1"], "DaemonSet", "daemonsets", "daemonset")
        .short(&["ds"])
        .category(&["all"])
        .subs(&[Subresource::own("status", "DaemonSet")]),
    Resource::new("apps", &["v1"], "Deployment", "deployments", "deployment")
        .short(&["deploy"])
        .category(&["all"])
        .subs(&[SCALE, Subresource::own("status", "Deployment")]),
    Resource::new("apps", &["v1"], "ReplicaSet", "replicasets", "replicaset")
        .short(&["rs"])
        .category(&["all"])
        .subs(&[SCALE, Subresource::own("status", "ReplicaSet")]),
    Resource::new("apps", &["v1"], "StatefulSet", "statefulsets", "statefulset")
        .short(&["sts"])
        .category(&["all"])
        .subs(&[SCALE, Subresource::own("status", "StatefulSet")]),
    Resource::new("events.k8s.io", &["v1"], "Event", "events", "event").short(&["ev"]).stored_as("", "v1"),
    Resource::new("authentication.k8s.io", &["v1"], "SelfSubjectReview", "selfsubjectreviews", "selfsubjectreview")
        .cluster()
        .verbs(Verbs::CreateOnly),
    Resource::new("authentication.k8s.io", &["v1"], "TokenReview", "tokenreviews", "tokenreview")
        .cluster()
        .verbs(Verbs::CreateOnly),
    Resource::new(
        "authorization.k8s.io",
        &["v1"],
        "LocalSubjectAccessReview",
        "localsubjectaccessreviews",
        "localsubjectaccessreview",
    )
    .verbs(Verbs::CreateOnly),
    Resource::new(
        "authorization.k8s.io",
        &["v1"],
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
        "selfsubjectaccessreview",
    )
    .cluster()
    .verbs(Verbs::CreateOnly),
    Resource::new(
        "authorization.k8s.io",
        &["v1"],
        "SelfSubjectRulesReview",
        "selfsubjectrulesreviews",
        "selfsubjectrulesreview",
    )
    .cluster()
    .verbs(Verbs::CreateOnly),
    Resource::new(
        "authorization.k8s.io",
        &["v1"],
        "SubjectAccessReview",
        "subjectaccessreviews",
        "subjectaccessreview",
    )
    .cluster()
    .verbs(Verbs::CreateOnly),
    Resource::new(
        "autoscaling",
        &["v2", "v1"],
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        "horizontalpodautoscaler",
    )
    .short(&["hpa"])
    .category(&["all"])
    .subs(&[Subresource::own("status", "HorizontalPodAutoscaler")]),
    Resource::new("batch", &["v1"], "CronJob", "cronjobs", "cronjob")
        .short(&["cj"])
        .category(&["all"])
        .subs(&[Subresource::own("status", "CronJob")]),
    Resource::new("batch", &["v1"], "Job", "jobs", "job").category(&["all"]).subs(&[Subresource::own("status", "Job")]),
    Resource::new(
        "certificates.k8s.io",
        &["v1"],
        "CertificateSigningRequest",
        "certificatesigningrequests",
        "certificatesigningrequest",
    )
    .cluster()
    .short(&["csr"])
    .subs(&[
        Subresource::own("approval", "CertificateSigningRequest"),
        Subresource::own("status", "CertificateSigningRequest"),
    ]),
    Resource::new("certificates.k8s.io", &["v1"], "ClusterTrustBundle", "clustertrustbundles", "clustertrustbundle")
        .cluster(),
    Resource::new(
        "certificates.k8s.io",
        &["v1"],
        "PodCertificateRequest",
        "podcertificaterequests",
        "podcertificaterequest",
    )
    .subs(&[Subresource::own("status", "PodCertificateRequest")]),
    Resource::new("networking.k8s.io", &["v1"], "IngressClass", "ingressclasses", "ingressclass").cluster(),
    Resource::new("networking.k8s.io", &["v1"], "Ingress", "ingresses", "ingress")
        .short(&["ing"])
        .subs(&[Subresource::own("status", "Ingress")])
        .at("ingress"),
    Resource::new("networking.k8s.io", &["v1"], "IPAddress", "ipaddresses", "ipaddress").cluster().short(&["ip"]),
    Resource::new("networking.k8s.io", &["v1"], "NetworkPolicy", "networkpolicies", "networkpolicy").short(&["netpol"]),
    Resource::new("networking.k8s.io", &["v1"], "ServiceCIDR", "servicecidrs", "servicecidr")
        .cluster()
        .subs(&[Subresource::own("status", "ServiceCIDR")]),
    Resource::new("policy", &["v1"], "PodDisruptionBudget", "poddisruptionbudgets", "poddisruptionbudget")
        .short(&["pdb"])
        .subs(&[Subresource::own("status", "PodDisruptionBudget")]),
    Resource::new(
        "rbac.authorization.k8s.io",
        &["v1"],
        "ClusterRoleBinding",
        "clusterrolebindings",
        "clusterrolebinding",
    )
    .cluster(),
    Resource::new("rbac.authorization.k8s.io", &["v1"], "ClusterRole", "clusterroles", "clusterrole").cluster(),
    Resource::new("rbac.authorization.k8s.io", &["v1"], "RoleBinding", "rolebindings", "rolebinding"),
    Resource::new("rbac.authorization.k8s.io", &["v1"], "Role", "roles", "role"),
    Resource::new("storage.k8s.io", &["v1"], "CSIDriver", "csidrivers", "csidriver").cluster(),
    Resource::new("storage.k8s.io", &["v1"], "CSINode", "csinodes", "csinode").cluster(),
    Resource::new("storage.k8s.io", &["v1"], "CSIStorageCapacity", "csistoragecapacities", "csistoragecapacity"),
    Resource::new("storage.k8s.io", &["v1"], "StorageClass", "storageclasses", "storageclass").cluster().short(&["sc"]),
    Resource::new("storage.k8s.io", &["v1"], "VolumeAttachment", "volumeattachments", "volumeattachment")
        .cluster()
        .subs(&[Subresource::own("status", "VolumeAttachment")]),
    Resource::new(
        "storage.k8s.io",
        &["v1"],
        "VolumeAttributesClass",
        "volumeattributesclasses",
        "volumeattributesclass",
    )
    .cluster()
    .short(&["vac"]),
    Resource::new(
        "admissionregistration.k8s.io",
        &["v1"],
        "MutatingAdmissionPolicy",
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicy",
    )
    .cluster()
    .category(&["api-extensions"]),
    Resource::new(
        "admissionregistration.k8s.io",
        &["v1"],
        "MutatingAdmissionPolicyBinding",
        "mutatingadmissionpolicybindings",
        "mutatingadmissionpolicybinding",
    )
    .cluster()
    .category(&["api-extensions"]),
    Resource::new(
        "admissionregistration.k8s.io",
        &["v1"],
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        "mutatingwebhookconfiguration",
    )
    .cluster()
    .category(&["api-extensions"]),
    Resource::new(
        "admissionregistration.k8s.io",
        &["v1"],
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
        "validatingadmissionpolicy",
    )
    .cluster()
    .category(&["api-extensions"])
    .subs(&[Subresource::own("status", "ValidatingAdmissionPolicy")]),
    Resource::new(
        "admissionregistration.k8s.io",
        &["v1"],
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        "validatingadmissionpolicybinding",
    )
    .cluster()
    .category(&["api-extensions"]),
    Resource::new(
        "admissionregistration.k8s.io",
        &["v1"],
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        "validatingwebhookconfiguration",
    )
    .cluster()
    .category(&["api-extensions"]),
    Resource::new(
        "apiextensions.k8s.io",
        &["v1"],
        "CustomResourceDefinition",
        "customresourcedefinitions",
        "customresourcedefinition",
    )
    .cluster()
    .short(&["crd", "crds"])
    .category(&["api-extensions"])
    .subs(&[Subresource::own("status", "CustomResourceDefinition")])
    .at("apiextensions.k8s.io/customresourcedefinitions"),
    Resource::new("scheduling.k8s.io", &["v1"], "PriorityClass", "priorityclasses", "priorityclass")
        .cluster()
        .short(&["pc"]),
    Resource::new("coordination.k8s.io", &["v1"], "Lease", "leases", "lease"),
    Resource::new("node.k8s.io", &["v1"], "RuntimeClass", "runtimeclasses", "runtimeclass").cluster(),
    Resource::new("discovery.k8s.io", &["v1"], "EndpointSlice", "endpointslices", "endpointslice"),
    Resource::new("resource.k8s.io", &["v1"], "DeviceClass", "deviceclasses", "deviceclass").cluster(),
    Resource::new("resource.k8s.io", &["v1"], "ResourceClaim", "resourceclaims", "resourceclaim")
        .subs(&[Subresource::own("status", "ResourceClaim")]),
    Resource::new(
        "resource.k8s.io",
        &["v1"],
        "ResourceClaimTemplate",
        "resourceclaimtemplates",
        "resourceclaimtemplate",
    ),
    Resource::new("resource.k8s.io", &["v1"], "ResourceSlice", "resourceslices", "resourceslice").cluster(),
    Resource::new("resource.k8s.io", &["v1"], "DeviceTaintRule", "devicetaintrules", "devicetaintrule")
        .cluster()
        .subs(&[Subresource::own("status", "DeviceTaintRule")]),
    Resource::new("flowcontrol.apiserver.k8s.io", &["v1"], "FlowSchema", "flowschemas", "flowschema")
        .cluster()
        .subs(&[Subresource::own("status", "FlowSchema")]),
    Resource::new(
        "flowcontrol.apiserver.k8s.io",
        &["v1"],
        "PriorityLevelConfiguration",
        "prioritylevelconfigurations",
        "prioritylevelconfiguration",
    )
    .cluster()
    .subs(&[Subresource::own("status", "PriorityLevelConfiguration")]),
    Resource::new(
        "storagemigration.k8s.io",
        &["v1"],
        "StorageVersionMigration",
        "storageversionmigrations",
        "storageversionmigration",
    )
    .cluster()
    .subs(&[Subresource::own("status", "StorageVersionMigration")]),
];
