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
            field("spec.blockPrefixV4", "20 to 28", "prefix length of the IPv4 blocks that nodes lease"),
            field(
                "spec.masqueradeExceptions",
                "list of ranges",
                "destinations outside that pods reach with their own address",
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
        writer: "its node publishes it: weft pod add, or CNI",
        fields: &[
            field("metadata.name", "name", "its name in its namespace"),
            field("metadata.labels", "map of texts", "labels for selectors"),
            field("spec.nodeName", "name", "the node it runs on"),
            field("spec.ports", "list", "named ports"),
            field("status.phase", "Active | Superseded", "Superseded when a younger pod owns the name"),
            field("status.ready", "true | false", "whether it takes traffic"),
            field("status.podIPs", "list of addresses", "one of each family, the primary first"),
            field("status.containerID", "text", "the container of the runtime"),
            field("status.interface", "text", "its interface"),
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
    fn known(kind: &str, at: &str) -> Vec<String> {
        let inner = match at {
            "spec" => "spec: {nonesuch: 1}",
            _ => "spec: {ranges: {nonesuch: []}}",
        };
        let text = format!("apiVersion: weft.io/v1\nkind: {kind}\n{inner}\n");
        let errors = weft_yaml::parse(&text, "f").expect_err("nonesuch is no field");
        let remedy = errors[0].envelope().remedy[0].text.clone();
        let list = remedy.rsplit_once(" are ").map(|(_, list)| list.to_owned()).unwrap_or_default();
        list.split(", ").map(|key| format!("{at}.{key}")).collect()
    }

    #[test]
    fn the_fields_of_a_fabric_are_those_that_its_reader_knows() {
        let fabric = &KINDS[0];
        let told: Vec<&str> = fabric.fields.iter().map(|f| f.path).collect();
        let mut all: Vec<String> =
            known("Fabric", "spec").into_iter().filter(|f| f != "spec.ranges").collect();
        all.extend(known("Fabric", "spec.ranges"));
        let mut told: Vec<String> = told.into_iter().map(str::to_owned).collect();
        all.sort();
        told.sort();
        assert_eq!(told, all);
    }
}
