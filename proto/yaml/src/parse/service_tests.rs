//! Tables for the kinds of Kubernetes: defaults, odd forms, and each refusal with its path.

use weft_errors::Coded;
use weft_model::{
    AddressType, ClusterAddresses, EndpointSlice, Family, Kind, LoadBalancerPool, Object, PodSpec,
    ProbeHandler, Protocol, Service, ServiceType, TargetPort, TrafficDistribution, TrafficPolicy,
};

use super::*;

const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata:
  name: web
  annotations: {service.kubernetes.io/topology-mode: Auto}
spec:
  selector: {app: web}
  ports:
  - port: 80
";

const POD: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: shop, labels: {app: web}}
spec:
  containers:
  - name: main
    image: web:1
    ports:
    - {name: http, containerPort: 8080}
    - containerPort: 9090
    readinessProbe:
      httpGet: {path: /ready, port: http}
";

const SLICE: &str = "\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: db-1
  labels: {kubernetes.io/service-name: db}
addressType: IPv4
ports: [{port: 5432}]
endpoints:
- addresses: [192.0.2.7]
  conditions: {ready: true, serving: null}
  targetRef: {kind: Pod, name: db-0, namespace: default}
  zone: a
  hints: {forZones: [{name: a}]}
";

fn whole(text: &str) -> Object {
    let parsed = parse(text, "f", &Options::default()).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    match parsed.objects.into_iter().next() {
        Some(Drafted { draft: Draft::Whole(object), .. }) => object,
        other => panic!("{other:?}"),
    }
}

fn service(text: &str) -> Service {
    let Object::Service(service) = whole(text) else { panic!("{text}") };
    service
}

fn pod(text: &str) -> PodSpec {
    let Object::PodSpec(pod) = whole(text) else { panic!("{text}") };
    pod
}

/// The first refusal of a text.
fn refused(text: &str, words: &str) {
    let errors = parse(text, "f", &Options::default()).expect_err(text);
    let first = errors.first().map(ToString::to_string).unwrap_or_default();
    assert!(first.contains(words), "{text}\n gave {first}\n wanted {words}");
}

#[test]
fn a_service_is_read_with_the_defaults_of_kubernetes() {
    let read = service(SERVICE);
    assert_eq!(read.name.to_string(), "default/web");
    let spec = &read.spec;
    assert_eq!((spec.kind, &spec.addresses), (ServiceType::ClusterIp, &ClusterAddresses::Wanted));
    let [port] = spec.ports.as_slice() else { panic!("{spec:?}") };
    assert_eq!((port.protocol, &port.target, port.node_port), (Protocol::Tcp, &TargetPort::Number(80), 0));
    assert!(spec.allocate_node_ports && !spec.publish_not_ready && spec.affinity.is_none());
    assert_eq!(
        (spec.external_policy, spec.internal_policy),
        (TrafficPolicy::Cluster, TrafficPolicy::Cluster)
    );
    assert_eq!(read.annotations.get("service.kubernetes.io/topology-mode").map(String::as_str), Some("Auto"));
}

/// A service with one more line in its spec.
fn with(line: &str) -> String {
    format!("{SERVICE}  {line}\n")
}

#[test]
fn every_field_of_a_service_means_what_kubernetes_means() {
    let spec = |line: &str| service(&with(line)).spec;
    for (lines, addresses) in [
        ("clusterIP: ''", ClusterAddresses::Wanted),
        ("clusterIP: null", ClusterAddresses::Wanted),
        ("clusterIP: None", ClusterAddresses::None),
        ("clusterIPs: [None]", ClusterAddresses::None),
        ("clusterIP: 10.1.0.9", ClusterAddresses::Given(vec!["10.1.0.9".parse().unwrap()])),
        (
            "clusterIPs: [10.1.0.9, 'fd00::9']\n  clusterIP: 10.1.0.9",
            ClusterAddresses::Given(vec!["10.1.0.9".parse().unwrap(), "fd00::9".parse().unwrap()]),
        ),
    ] {
        assert_eq!(spec(lines).addresses, addresses, "{lines}");
    }
    assert_eq!(spec("ipFamilies: [IPv6, IPv4]").families, [Family::V6, Family::V4]);
    assert_eq!(spec("sessionAffinity: ClientIP").affinity.map(|a| a.timeout_seconds), Some(10_800));
    let configured = "sessionAffinity: ClientIP\n  sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}";
    assert_eq!(spec(configured).affinity.map(|a| a.timeout_seconds), Some(60));
    for word in ["PreferClose", "PreferSameZone"] {
        let read = spec(&format!("trafficDistribution: {word}")).distribution;
        assert_eq!(read, Some(TrafficDistribution::PreferSameZone), "{word}");
    }
    assert_eq!(spec("loadBalancerIP: 192.0.2.1").load_balancer_ips.len(), 1);
    let ranges = spec("loadBalancerSourceRanges: [' 10.1.2.3/8']").source_ranges;
    assert_eq!(ranges.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.0/8"]);
    assert!(!spec("allocateLoadBalancerNodePorts: false").allocate_node_ports);
    let annotated =
        SERVICE.replace("{service", "{weft.io/load-balancer-ips: '192.0.2.1, 2001:db8::1', service");
    assert_eq!(service(&annotated).spec.load_balancer_ips.len(), 2);
}

#[test]
fn a_target_port_is_a_number_or_a_name() {
    for (written, read) in [
        ("8080", TargetPort::Number(8080)),
        ("http", TargetPort::Name("http".to_owned())),
        ("'8080'", TargetPort::Name("8080".to_owned())),
        ("0", TargetPort::Number(80)),
        ("''", TargetPort::Number(80)),
    ] {
        let text = SERVICE.replace("port: 80", &format!("{{port: 80, targetPort: {written}}}"));
        assert_eq!(service(&text).spec.ports[0].target, read, "{written}");
    }
}

#[test]
fn a_bad_service_is_refused_with_the_path() {
    for (line, words) in [
        ("typ: NodePort", "spec.typ isn't a field of Service; did you mean \"type\"?"),
        ("type: Nodeport", "spec.type: unknown type \"Nodeport\": use ClusterIP, NodePort"),
        ("clusterIP: 10.1.0", "spec.clusterIP: \"10.1.0\" is neither an address"),
        ("clusterIP: '::ffff:10.0.0.1'", "spec.clusterIP: "),
        (
            "clusterIP: 10.1.0.9\n  clusterIPs: [10.1.0.8]",
            "spec.clusterIPs[0]: must be the same as clusterIP",
        ),
        ("clusterIPs: [10.1.0.9, None]", "spec.clusterIPs: None stands alone"),
        ("ipFamilies: [ipv4]", "spec.ipFamilies[0]: unknown family \"ipv4\""),
        ("ipFamilyPolicy: Dual", "spec.ipFamilyPolicy: unknown family policy"),
        ("externalIPs: [192.0.2.300]", "spec.externalIPs[0]: \"192.0.2.300\" is not an address"),
        ("sessionAffinity: Client", "spec.sessionAffinity: unknown affinity"),
        (
            "sessionAffinityConfig: {clientIP: {timeoutSeconds: 3}}",
            "spec.sessionAffinityConfig: means something only",
        ),
        (
            "sessionAffinity: ClientIP\n  sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}",
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: must be a whole number from 1 to 86400",
        ),
        ("publishNotReadyAddresses: yes", "spec.publishNotReadyAddresses: must be true or false, is text"),
        ("healthCheckNodePort: 65536", "spec.healthCheckNodePort: must be a whole number from 0 to 65535"),
        ("trafficDistribution: Near", "spec.trafficDistribution: unknown traffic distribution"),
        ("loadBalancerSourceRanges: [here]", "spec.loadBalancerSourceRanges[0]: \"here\" is not a range"),
    ] {
        refused(&with(line), words);
    }
    for (port, words) in [
        ("{port: 0}", "spec.ports[0].port: must be a whole number from 1 to 65535"),
        ("{name: a}", "spec.ports[0].port: must be given"),
        ("{port: '80'}", "spec.ports[0].port: must be a whole number"),
        ("{port: 80, protocol: tcp}", "spec.ports[0].protocol: unknown protocol \"tcp\": use TCP, UDP, SCTP"),
        ("{port: 80, targetPort: 70000}", "spec.ports[0].targetPort: must be a whole number"),
        ("{port: 80, nodePort: -1}", "spec.ports[0].nodePort: must be a whole number"),
        ("{port: 80, tagetPort: 1}", "did you mean \"targetPort\"?"),
    ] {
        refused(&SERVICE.replace("port: 80", port), words);
    }
    refused(&SERVICE.replace("name: web", "name: Web"), "metadata.name: \"Web\" is not a valid name");
    refused(&SERVICE.replace("name: web", "namespace: a"), "metadata.name: must be given");
    refused("apiVersion: v1\nkind: Service\nmetadata: {name: a}\n", "spec: must be given");
}

#[test]
fn a_pod_is_its_names_ports_and_readiness() {
    let read = pod(POD);
    assert_eq!((read.name.to_string().as_str(), read.ports.len()), ("shop/web-0", 1));
    let probe = read.readiness.expect("it has one");
    assert_eq!((probe.period_ms, probe.timeout_ms, probe.failure_threshold), (10_000, 1_000, 3));
    let ProbeHandler::Http { port, path, tls, .. } = probe.handler else { panic!("{probe:?}") };
    assert_eq!((port, path.as_str(), tls), (8080, "/ready", false));
    assert_eq!((read.ready, read.terminating), (None, false));
    let status = format!(
        "{POD}status: {{phase: Running, conditions: [{{type: Ready, status: 'False', reason: x}}]}}\n"
    );
    assert_eq!(pod(&status).ready, Some(false));
    let going = POD.replace("labels: {app: web}", "deletionTimestamp: '2026-11-24T06:08:10Z'");
    assert!(pod(&going).terminating);
    let grpc = POD.replace("httpGet: {path: /ready, port: http}", "grpc: {port: 9090, service: a}");
    assert!(matches!(pod(&grpc).readiness.unwrap().handler, ProbeHandler::Grpc { port: 9090, .. }));
    refused(&POD.replace("port: http}", "port: https}"), "the container has no port named \"https\"");
    refused(&POD.replace("image:", "imige:"), "spec.containers[0].imige isn't a field of Pod");
    refused(
        &POD.replace("httpGet:", "tcpSocket: {port: 1}\n      httpGet:"),
        "spec.containers[0].readinessProbe: asks in one way",
    );
}

#[test]
fn what_means_nothing_here_is_told_once() {
    let text = POD.replace("  containers:", "  nodeName: n1\n  volumes: []\n  containers:");
    let warnings = parse(&text, "f", &Options::default()).unwrap().warnings;
    assert_eq!(
        warnings,
        [
            "f:1:1: of this Pod these fields mean nothing here: spec.containers[].image, spec.nodeName, spec.volumes"
        ]
    );
    assert!(parse(SERVICE, "f", &Options::default()).unwrap().warnings.is_empty());
}

#[test]
fn a_slice_is_read_and_bad_ones_are_refused() {
    let read = |text: &str| -> EndpointSlice {
        let Object::Slice(slice) = whole(text) else { panic!("{text}") };
        slice
    };
    let slice = read(SLICE);
    assert_eq!(slice.service().map(|s| s.to_string()).as_deref(), Some("default/db"));
    let [endpoint] = slice.endpoints.as_slice() else { panic!("{slice:?}") };
    assert_eq!((endpoint.conditions.ready, endpoint.conditions.serving), (Some(true), None));
    assert_eq!(endpoint.pod.as_ref().map(|pod| pod.as_str()), Some("db-0"));
    assert_eq!((endpoint.zone.as_str(), endpoint.hints.zones.len()), ("a", 1));
    assert_eq!(read(&SLICE.replace("port: 5432", "name: any")).ports[0].port, None);
    let fqdn = SLICE.replace("IPv4", "FQDN").replace("192.0.2.7", "db.example.com");
    let fqdn = read(&fqdn);
    assert_eq!((fqdn.address_type, fqdn.endpoints[0].fqdn.len()), (AddressType::Fqdn, 1));
    refused(&SLICE.replace("addressType: IPv4\n", ""), "addressType: must be given");
    refused(&SLICE.replace("IPv4", "ipv4"), "addressType: unknown type \"ipv4\"");
    refused(&SLICE.replace("192.0.2.7", "db.example"), "endpoints[0].addresses[0]: ");
    refused(
        &SLICE.replace("[{name: a}]", "[{zone: a}]"),
        "endpoints[0].hints.forZones[0].zone isn't a field",
    );
}

#[test]
fn pools_and_namespaces_are_read() {
    let pool = "apiVersion: weft.io/v1\nkind: LoadBalancerPool\nmetadata: {name: lan}\nspec: {ranges: [192.0.2.0/28]}\n";
    let Object::Pool(LoadBalancerPool { automatic, announce, nodes, .. }) = whole(pool) else { panic!() };
    assert!(automatic && announce && nodes.is_empty());
    refused(&pool.replace("ranges:", "range:"), "spec.range isn't a field of LoadBalancerPool");
    refused(
        &pool.replace("{name: lan}", "{name: lan, namespace: a}"),
        "a LoadBalancerPool is in no namespace",
    );
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: a}}\n";
    let Object::Namespace(read) = whole(namespace) else { panic!() };
    assert_eq!((read.name.as_str(), read.labels.len()), ("shop", 1));
    refused(&namespace.replace("shop", "a.b"), "metadata.name: ");
}

#[test]
fn kinds_that_are_not_served_are_refused_or_left_out() {
    let text =
        format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec: {{}}\n---\n{SERVICE}");
    let errors = parse(&text, "f", &Options::default()).unwrap_err();
    assert_eq!(errors[0].to_string(), "f:1:1: kind Deployment of apps/v1 isn't served here");
    let envelope = errors[0].envelope();
    assert_eq!((envelope.code.as_str(), envelope.remedy.len()), ("W3003", 1));
    let skip = Options { skip_unknown: true, ..Options::default() };
    let parsed = parse(&text, "f", &skip).unwrap();
    assert_eq!(parsed.objects.len(), 1);
    assert_eq!(
        parsed.warnings,
        ["f:1:1: Deployment web is left out: kind Deployment of apps/v1 isn't served here"]
    );
    refused(&SERVICE.replace("apiVersion: v1", "apiVersion: weft.io/v1"), "; its apiVersion is v1");
}

#[test]
fn names_alone_are_read_for_deleting() {
    let text = format!("{SERVICE}---\n{POD}---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: shop}}\n");
    let inside = Options { namespace: "shop", ..Options::default() };
    let read: Vec<_> =
        names(&text, "f", &inside).unwrap().into_iter().map(|n| (n.kind, n.namespace, n.name)).collect();
    let row = |kind, namespace: &str, name: &str| (kind, namespace.to_owned(), name.to_owned());
    assert_eq!(
        read,
        [
            row(Kind::Service, "shop", "web"),
            row(Kind::PodSpec, "shop", "web-0"),
            row(Kind::Namespace, "", "shop")
        ]
    );
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]
    #[test]
    fn a_damaged_text_is_read_or_refused(kind in 0..3usize, at: proptest::sample::Index, with in "[ -~\\n]{0,4}") {
        let mut text = [SERVICE, POD, SLICE][kind].to_owned();
        let at = at.index(text.len());
        text.replace_range(at..=at, &with);
        let _ = parse(&text, "f", &Options::default());
    }
}
