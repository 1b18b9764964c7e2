//! The fields of each kind, in words, for `weft explain`.

/// One kind.
pub(crate) struct KindHelp {
    /// As in `kind:`.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) summary: &'static str,
    /// Who writes it.
    pub(crate) writer: &'static str,
    /// Its fields.
    pub(crate) fields: &'static [FieldHelp],
}

/// One field.
pub(crate) struct FieldHelp {
    /// Path within the object.
    pub(crate) path: &'static str,
    /// Form of its value.
    pub(crate) form: &'static str,
    /// What it means.
    pub(crate) text: &'static str,
}

const fn field(path: &'static str, form: &'static str, text: &'static str) -> FieldHelp {
    FieldHelp { path, form, text }
}

const PEOPLE: &str = "people write it: weft apply -f FILE";

/// The largest of them stands alone.
const SERVICE: KindHelp = KindHelp {
    name: "Service",
    summary: "a stable address in front of pods that come and go",
    writer: PEOPLE,
    fields: &[
        field("spec.type", "ClusterIP | NodePort | LoadBalancer | ExternalName", "how it is reached"),
        field("spec.selector", "map of texts", "labels of its pods; without one its endpoints are written"),
        field("spec.clusterIP", "address | None", "its address; absent: one is given out; None: headless"),
        field("spec.clusterIPs", "list of addresses", "one per family, the first is clusterIP"),
        field("spec.ipFamilies", "list: IPv4, IPv6", "its families, preferred first; the first can't change"),
        field(
            "spec.ipFamilyPolicy",
            "SingleStack | PreferDualStack | RequireDualStack",
            "how many families it wants",
        ),
        field(
            "spec.ports",
            "list",
            "name, protocol, port, targetPort (number or name), nodePort, appProtocol",
        ),
        field(
            "spec.externalIPs",
            "list of addresses",
            "taken as this service's, within the Fabric's externalIPRanges",
        ),
        field("spec.externalName", "name", "what it is an alias of, for type ExternalName"),
        field("spec.sessionAffinity", "None | ClientIP", "whether a client keeps its backend"),
        field(
            "spec.sessionAffinityConfig",
            "clientIP.timeoutSeconds",
            "for how long: 1 to 86400, default 10800",
        ),
        field(
            "spec.externalTrafficPolicy",
            "Cluster | Local",
            "Local: backends of that node alone, which see the client",
        ),
        field("spec.internalTrafficPolicy", "Cluster | Local", "Local: backends of the client's node alone"),
        field(
            "spec.healthCheckNodePort",
            "port",
            "where nodes answer whether they have backends; with Local only",
        ),
        field(
            "spec.publishNotReadyAddresses",
            "true | false",
            "endpoints count as ready whatever their pods say",
        ),
        field("spec.allocateLoadBalancerNodePorts", "true | false", "whether a LoadBalancer gets node ports"),
        field(
            "spec.loadBalancerIP",
            "address",
            "the address it wants; annotation weft.io/load-balancer-ips takes several",
        ),
        field("spec.loadBalancerClass", "text", "another class than weft.io/lb is left to others; set once"),
        field(
            "spec.loadBalancerSourceRanges",
            "list of ranges",
            "who may reach the load balancer's addresses",
        ),
        field("spec.trafficDistribution", "PreferSameZone | PreferSameNode", "which backends are preferred"),
    ],
};

const POLICY: KindHelp = KindHelp {
    name: "NetworkPolicy",
    summary: "who may talk to the pods it selects; pods that none selects are as spec.policy of the Fabric says",
    writer: PEOPLE,
    fields: &[
        field(
            "spec.podSelector",
            "matchLabels, matchExpressions",
            "the pods of its namespace that it isolates; empty: all of them",
        ),
        field(
            "spec.policyTypes",
            "list: Ingress, Egress",
            "directions in which it isolates; absent: Ingress, and Egress if there are egress rules",
        ),
        field("spec.ingress", "list of rules", "what may come in; none: nothing; {}: everything"),
        field(
            "spec.ingress.from",
            "list of podSelector, namespaceSelector, ipBlock (cidr, except)",
            "from whom; absent: anybody. Both selectors in one entry: pods of these namespaces",
        ),
        field(
            "spec.ingress.ports",
            "list of protocol, port, endPort",
            "to which of its ports: a number, a range to endPort, or a name; absent: every port and protocol",
        ),
        field("spec.egress", "list of rules", "what may go out; none: nothing; {}: everything"),
        field("spec.egress.to", "as ingress.from", "to whom"),
        field(
            "spec.egress.ports",
            "as ingress.ports",
            "to which ports of theirs, after translation of services",
        ),
    ],
};

/// All kinds.
pub(crate) const KINDS: &[KindHelp] = &[
    KindHelp {
        name: "Fabric",
        summary: "the one cluster network; its name is main",
        writer: PEOPLE,
        fields: &[
            field(
                "spec.families",
                "v4 | v6 | dual | dual6",
                "families of pods and which comes first; fixed by weft init",
            ),
            field("spec.overlay", "wireguard | routed", "how packets travel between nodes"),
            field("spec.domain", "text", "domain of names in the cluster"),
            field(
                "spec.dns.enabled",
                "true | false",
                "whether nodes run the DNS; without it pods ask as their node does",
            ),
            field(
                "spec.dns.ttl",
                "0 to 3600",
                "seconds for which answers about the cluster count; 5 by default",
            ),
            field(
                "spec.dns.upstreams",
                "list of servers",
                "who is asked about foreign names: ADDRESS or ADDRESS:PORT; empty: whom each node asks itself",
            ),
            field("spec.dns.stubDomains", "list", "domain, servers: who is asked about names in that domain"),
            field(
                "spec.dns.searchPath",
                "true | false",
                "whether a name that can only be foreign is answered at a pod's first search domain; true by default",
            ),
            field(
                "spec.dns.rebindProtection",
                "true | false",
                "whether foreign answers with addresses of the fabric are dropped; false by default",
            ),
            field(
                "spec.dns.podRecords",
                "true | false",
                "whether living pods have names made of their addresses; true by default",
            ),
            field("spec.blockPrefixV4", "20 to 28", "prefix length of the IPv4 blocks that nodes lease"),
            field(
                "spec.masqueradeExceptions",
                "list of ranges",
                "destinations outside that pods reach with their own address",
            ),
            field(
                "spec.nodePortAddresses",
                "list of ranges",
                "addresses of nodes that take node ports; empty: the primary one of each family",
            ),
            field("spec.nodePortRange", "FIRST-LAST", "ports that services get on nodes"),
            field(
                "spec.policy.default",
                "allow | deny-ingress | deny-egress | deny",
                "for pods that no policy isolates; a namespace's label weft.io/default-policy comes first; kube-system and \
                 weft-system stay open; allow by default",
            ),
            field(
                "spec.policy.nodeEgress",
                "policy | allow",
                "whether policies decide of a pod's traffic to its own node; policy by default",
            ),
            field(
                "spec.nodeGraceSeconds",
                "5 to 600",
                "how long nothing may be heard of a node until its pods take no new connections; 20 by default",
            ),
            field(
                "spec.externalIPRanges",
                "list of ranges",
                "what services may name in externalIPs; empty: nothing, since whoever may write a service could take \
                 foreign addresses",
            ),
            field("spec.ranges.pods", "list of ranges", "addresses of pods"),
            field("spec.ranges.services", "list of ranges", "virtual addresses of services"),
            field("spec.ranges.nodes", "list of ranges", "mesh addresses of nodes"),
            field("spec.ranges.loadBalancers", "list of ranges", "addresses of load balancers"),
        ],
    },
    KindHelp {
        name: "Node",
        summary: "a machine that runs pods",
        writer: "it joins: weft token create; people write its labels",
        fields: &[
            field("metadata.name", "name", "its name, given at the join"),
            field("metadata.labels", "map of texts", "labels for selectors"),
            field("status.state", "Active | Removed", "whether it takes part"),
            field("status.mesh", "list of addresses", "its addresses in the mesh"),
            field("status.underlay", "list of addresses", "its own addresses"),
            field("status.endpoint", "address and port", "where its WireGuard listens"),
            field(
                "status.hostRoutes",
                "list of ranges",
                "routes of the machine that the fabric must not overlap",
            ),
        ],
    },
    KindHelp {
        name: "Pod",
        summary: "a network namespace with an address of its own",
        writer: "its node publishes it (weft pod add, or CNI); people may say more of it: weft apply -f FILE",
        fields: &[
            field("metadata.name", "name", "its name in its namespace"),
            field("metadata.labels", "map of texts", "labels for selectors, beside those it was made with"),
            field(
                "metadata.deletionTimestamp",
                "time",
                "it is about to end: it serves only where nobody else does",
            ),
            field("spec.containers.ports", "list", "named ports; in place of those it was made with"),
            field("spec.containers.readinessProbe", "probe", "httpGet, tcpSocket or grpc; its node asks"),
            field(
                "spec.containers.startupProbe",
                "probe",
                "until it has succeeded once, the pod isn't ready",
            ),
            field("spec.hostname", "name", "its name within spec.subdomain, for DNS"),
            field("spec.subdomain", "name", "name of a headless service"),
            field(
                "spec.dnsPolicy",
                "ClusterFirst | ClusterFirstWithHostNet | Default | None",
                "whom it asks for names; counts when it is made",
            ),
            field(
                "spec.dnsConfig",
                "nameservers, searches, options",
                "what is added to its resolv.conf; counts when it is made",
            ),
            field(
                "spec.enableServiceLinks",
                "true | false",
                "whether it gets its namespace's services as environment variables; counts when it is made",
            ),
            field("spec.nodeName", "name", "the node it runs on"),
            field("status.conditions", "list", "condition Ready: whether an orchestrator says it is ready"),
            field("status.phase", "Active | Superseded", "Superseded when a younger pod owns the name"),
            field("status.ready", "true | false", "whether it takes traffic"),
            field("status.terminating", "true | false", "whether it is about to end"),
            field("status.podIPs", "list of addresses", "one of each family, the primary first"),
            field("status.containerID", "text", "the container of the runtime"),
            field("status.interface", "text", "its interface"),
        ],
    },
    KindHelp {
        name: "Namespace",
        summary: "a place for objects; names are unique within it",
        writer: PEOPLE,
        fields: &[
            field("metadata.name", "name", "its name"),
            field(
                "metadata.labels",
                "map of texts",
                "labels for selectors; kubernetes.io/metadata.name is its name always",
            ),
            field(
                "metadata.labels.weft.io/default-policy",
                "allow | deny-ingress | deny-egress | deny",
                "for its pods that no policy isolates, in place of the Fabric's spec.policy.default",
            ),
        ],
    },
    SERVICE,
    POLICY,
    KindHelp {
        name: "EndpointSlice",
        summary: "endpoints that people write, for a service without a selector or beside it",
        writer: PEOPLE,
        fields: &[
            field(
                "metadata.labels",
                "map of texts",
                "kubernetes.io/service-name says whose endpoints these are",
            ),
            field("addressType", "IPv4 | IPv6 | FQDN", "kind of the addresses; fixed once"),
            field("ports", "list", "name, protocol, port, appProtocol; those of the service by name"),
            field("endpoints.addresses", "list", "alike; the first counts"),
            field("endpoints.conditions", "ready, serving, terminating", "its state; absent: ready"),
            field("endpoints.nodeName", "name", "the node it is on"),
            field("endpoints.zone", "text", "the zone it is in"),
            field("endpoints.hostname", "name", "its name within the service, for DNS"),
            field("endpoints.hints", "forZones, forNodes", "for whom it is meant"),
            field("endpoints.targetRef", "reference", "the pod behind it"),
        ],
    },
    KindHelp {
        name: "LoadBalancerPool",
        summary: "addresses for services of type LoadBalancer",
        writer: PEOPLE,
        fields: &[
            field("spec.ranges", "list of ranges", "what it gives out, every address of each range"),
            field(
                "spec.automatic",
                "true | false",
                "whether services that ask for no address get one from here",
            ),
            field(
                "spec.announce",
                "true | false",
                "whether one node at a time answers for its addresses on the link",
            ),
            field("spec.ipMode", "VIP | Proxy", "Proxy: nodes take no short cut to the address"),
            field("spec.nodeSelector", "map of texts", "labels that a node needs to own an address"),
        ],
    },
    KindHelp {
        name: "Block",
        summary: "a slice of the pod range that one node leases",
        writer: "the control plane grants it when a node needs addresses",
        fields: &[
            field("metadata.name", "range", "the block"),
            field("status.node", "name", "who leases it"),
            field("status.epoch", "number", "which grant it is; an older one is void"),
        ],
    },
    KindHelp {
        name: "Member",
        summary: "a replica of the control plane",
        writer: "it joins: weft token create --role replica",
        fields: &[
            field("metadata.name", "name", "name of its machine"),
            field("status.id", "number", "never used again after a removal"),
            field("status.address", "address and port", "where it serves"),
            field("status.role", "learner | voter", "whether it has a vote yet"),
        ],
    },
];

#[cfg(test)]
mod tests {
    use weft_errors::Coded;

    use super::*;

    /// Keys that the reader knows at a place, by its own refusal of another one.
    fn known(version: &str, kind: &str, at: &str) -> Vec<String> {
        let inner = match at {
            "spec" => "spec: {nonesuch: 1}",
            "spec.dns" => "spec: {dns: {nonesuch: 1}}",
            "spec.policy" => "spec: {policy: {nonesuch: 1}}",
            _ => "spec: {ranges: {nonesuch: []}}",
        };
        let text = format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: main}}\n{inner}\n");
        let errors = weft_yaml::parse(&text, "f", &weft_yaml::Options::default());
        let errors = errors.expect_err("nonesuch is no field");
        let remedy = errors[0].envelope().remedy[0].text.clone();
        let list = remedy.rsplit_once(" are ").map(|(_, list)| list.to_owned()).unwrap_or_default();
        list.split(", ").map(|key| format!("{at}.{key}")).collect()
    }

    fn told(kind: &str) -> Vec<String> {
        let kind = KINDS.iter().find(|known| known.name == kind).expect("it is explained");
        let mut told: Vec<String> = kind.fields.iter().map(|f| f.path.to_owned()).collect();
        told.sort();
        told
    }

    #[test]
    fn the_fields_of_a_fabric_are_those_that_its_reader_knows() {
        let parts = ["spec.ranges", "spec.dns", "spec.policy"];
        let mut all = known("weft.io/v1", "Fabric", "spec");
        all.retain(|field| !parts.contains(&field.as_str()));
        all.extend(parts.iter().flat_map(|part| known("weft.io/v1", "Fabric", part)));
        all.sort();
        assert_eq!(told("Fabric"), all);
    }

    #[test]
    fn the_fields_of_services_pools_and_policies_are_those_that_their_readers_know() {
        for (version, kind) in
            [("v1", "Service"), ("weft.io/v1", "LoadBalancerPool"), ("networking.k8s.io/v1", "NetworkPolicy")]
        {
            let mut all = known(version, kind, "spec");
            all.sort();
            let mut told = told(kind);
            told.retain(|field| field.matches('.').count() == 1);
            assert_eq!(told, all, "{kind}");
        }
    }
}
