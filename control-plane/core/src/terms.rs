//! What annotations and classes of services mean here.

use weft_model::Service;

/// Class of load balancers that is ours, besides none at all.
pub const LOAD_BALANCER_CLASS: &str = "weft.io/lb";
/// Annotation: services with the same value may have one load-balancer address.
pub const SHARED_IP_ANNOTATION: &str = "weft.io/allow-shared-ip";
/// Annotation of Kubernetes: how endpoints are meant for zones; wins over `trafficDistribution`.
pub const TOPOLOGY_MODE_ANNOTATION: &str = "service.kubernetes.io/topology-mode";

/// The key under which a service shares load-balancer addresses.
pub(crate) fn sharing_key(service: &Service) -> Option<&str> {
    service.annotations.get(SHARED_IP_ANNOTATION).map(String::as_str).filter(|key| !key.is_empty())
}

/// Whether endpoints are spread over the zones by the zones' sizes (topology mode `Auto`).
pub(crate) fn is_automatic(service: &Service) -> bool {
    let mode = service.annotations.get(TOPOLOGY_MODE_ANNOTATION);
    mode.is_some_and(|mode| mode.eq_ignore_ascii_case("auto"))
}

/// Whether we are the load balancer of a service.
pub(crate) fn is_our_class(class: Option<&str>) -> bool {
    class.is_none_or(|class| class == LOAD_BALANCER_CLASS)
}
