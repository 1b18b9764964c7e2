//! The table. Areas: W0 usage and files, W1 control plane, W2 addresses, W3 objects, W4 node, W5 services and DNS,
//! W6 policy, W7 identity, W8 ingress, W9 lab and internal.

use crate::{Code, ExitCode};

macro_rules! codes {
    ($($name:ident = $number:literal $reason:literal $exit:ident $retry:literal
        $summary:literal $causes:literal $remedy:literal;)*) => {
        $(
            #[doc = $summary]
            pub const $name: Code = Code {
                number: $number,
                reason: $reason,
                summary: $summary,
                causes: $causes,
                remedy: $remedy,
                exit: ExitCode::$exit,
                retryable: $retry,
            };
        )*
        /// Every registered code, in order of number.
        pub const ALL: &[&Code] = &[$(&$name),*];
    };
}

codes! {
    USAGE = 1 "Usage" Usage false
        "The command line can't be understood"
        "A flag or argument is missing, unknown or malformed"
        "see --help of the command";
    FILE_UNREADABLE = 2 "FileUnreadable" Usage false
        "A file can't be read or written"
        "It isn't there, or its owner or mode forbids it"
        "check the path and its permissions";
    CONFIG_INVALID = 3 "ConfigInvalid" Usage false
        "A configuration file or value is invalid"
        "An unknown key, a wrong type, or a value out of its range"
        "mend the named keys; --check-config lists all problems at once";
    CONFIRMATION_MISSING = 4 "ConfirmationMissing" Usage false
        "A destructive command needs a confirmation"
        "There is no terminal to ask on"
        "repeat the command with --yes";
    VERSION_SKEW = 5 "VersionSkew" Refused false
        "Two components speak versions that don't work together"
        "One of them is more than one minor version apart"
        "upgrade the older one, replicas before agents";
    INTERRUPTED = 6 "Interrupted" Interrupted false
        "The command was interrupted"
        "Ctrl-C was pressed, or the process was told to end"
        "look at what was done with weft get; a change that had been sent may have been made";

    UNREACHABLE = 1001 "Unreachable" Unreachable true
        "No replica of the control plane can be reached"
        "The machines are down, the address is wrong, or a firewall drops TCP 7443"
        "check the endpoints of the context and that weftd runs there";
    NO_LEADER = 1002 "NoLeader" Unreachable true
        "The control plane has no leader"
        "Fewer than a majority of its replicas are up and connected"
        "start the missing replicas; nodes keep forwarding meanwhile";
    BUSY = 1003 "Busy" Unreachable true
        "The control plane has too much to do"
        "More changes are pending than it accepts"
        "try again in a moment";
    DEADLINE = 1004 "Deadline" Timeout true
        "The time limit passed before the answer came"
        "The control plane or a node is slow or cut off"
        "look at the state printed, then repeat with a longer --timeout";
    DISK_FULL = 1005 "DiskFull" Refused false
        "The disk of a replica is nearly full"
        "Of the data directory's file system less than a tenth and 1 GiB is free, or less than 64 MiB"
        "free space on that machine; removals and changes of members are taken meanwhile";
    OTHER_CLUSTER = 1101 "OtherCluster" Refused false
        "A component belongs to another cluster"
        "A data directory or an address was copied from another cluster"
        "point it at its own cluster, or empty its data directory and join again";
    STORE_CORRUPT = 1102 "StoreCorrupt" Bug false
        "The replica's log or state is damaged"
        "The disk lost or changed what was written"
        "move the data directory aside and join the replica again; the others hold the data";
    STORE_LOCKED = 1103 "StoreLocked" Usage false
        "Another process uses the data directory"
        "A second weftd was started on the same directory"
        "stop the other process first";
    LOG_LOST = 1104 "LogLost" Refused false
        "The replica lost log entries it had acknowledged"
        "The disk was replaced or restored from a backup"
        "remove the replica and join it again under a new identity";
    STATE_DIVERGED = 1105 "StateDiverged" Bug false
        "Two replicas disagree about the state at the same revision"
        "A bug, or memory or disk errors"
        "keep the data directories for a report; rejoin the stopped replica";
    NOT_INITIALIZED = 1106 "NotInitialized" Usage false
        "The data directory holds no replica"
        "Neither weft init nor weftd join ran here"
        "run weft init for a new cluster, or weftd join for an existing one";
    ALREADY_INITIALIZED = 1107 "AlreadyInitialized" Refused false
        "The data directory already holds a replica or node"
        "init or join ran here before"
        "to begin anew, stop the service and remove the directory by hand";
    REPLICA_REMOVED = 1108 "ReplicaRemoved" NotAllowed false
        "This replica was removed from the cluster"
        "An admin removed it; its id is never used again"
        "keep the directory for a report if you like, then empty it and join again";

    RANGE_INVALID = 2201 "RangeInvalid" Refused false
        "A range is malformed"
        "It has host bits, isn't ADDRESS/LENGTH, or is of a family the fabric lacks"
        "write the network address and a prefix length";
    RANGE_RESERVED = 2202 "RangeReserved" Refused false
        "A range touches one that is reserved"
        "Loopback, link-local, multicast, documentation and similar ranges can't carry pods"
        "take ranges from RFC 1918 or RFC 4193 space";
    RANGE_OVERLAP = 2203 "RangeOverlap" Refused false
        "Two ranges overlap"
        "Ranges of pods, services, nodes, load balancers and host routes must be disjoint"
        "choose another range for one of the two";
    RANGE_TOO_SMALL = 2204 "RangeTooSmall" Refused false
        "A range can't hold what it must"
        "It has fewer blocks or addresses than the fabric needs at least"
        "choose a shorter prefix";
    RANGE_MISSING = 2205 "RangeMissing" Refused false
        "A family of the fabric has no range for a purpose"
        "Each family needs ranges for pods, services and nodes"
        "add a range of the named family";
    RANGE_IN_USE = 2206 "RangeInUse" Refused false
        "A range that is in use can't be removed"
        "Leases or addresses of it are held"
        "remove what uses it first: the pods, nodes or services that are named";
    BLOCKS_EXHAUSTED = 2301 "BlocksExhausted" Refused false
        "No block of the pod ranges is free"
        "Every block is leased to a node"
        "add a pod range to the fabric, or remove nodes that are gone";
    ADDRESSES_EXHAUSTED = 2302 "AddressesExhausted" Refused true
        "The node's blocks have no free address"
        "All are held by pods or in quarantine"
        "wait for a new block, which the agent has asked for, or remove pods";
    LEASE_STALE = 2303 "LeaseStale" Refused false
        "A node named a block lease that isn't its own any more"
        "The block was granted again under a newer epoch"
        "none: the agent drops the block by itself";
    NODE_ADDRESSES_EXHAUSTED = 2304 "NodeAddressesExhausted" Refused false
        "The node range has no free mesh address"
        "As many nodes have joined as the range holds"
        "add a node range to the fabric, or remove nodes that are gone";
    ADDRESS_TAKEN = 2305 "AddressTaken" Refused false
        "An address is held by another"
        "Two nodes claim one underlay address, or two pods one pod address"
        "give one of the two another address, or remove the one that is gone";
    JOURNAL_CORRUPT = 2401 "JournalCorrupt" Refused false
        "A record in the middle of the allocation journal is damaged"
        "The disk changed what was written"
        "the agent keeps the damaged file aside and rebuilds from the kernel; see the named file";

    OBJECT_INVALID = 3001 "ObjectInvalid" Refused false
        "An object isn't valid"
        "A field has a value its kind doesn't allow"
        "mend the named field";
    UNKNOWN_FIELD = 3002 "UnknownField" Refused false
        "An object has a field that its kind doesn't know"
        "A misspelt key, or one of another kind"
        "remove it, or take the suggested spelling";
    UNKNOWN_KIND = 3003 "UnknownKind" Refused false
        "A kind isn't served here"
        "It is misspelt, or none of Weft's"
        "see weft explain for the kinds there are";
    MALFORMED = 3004 "Malformed" Refused false
        "A document isn't well-formed YAML or JSON"
        "A syntax error, a duplicate key, or a limit passed"
        "mend the text at the named place";
    NOT_FOUND = 3101 "NotFound" NotFound false
        "The named object doesn't exist"
        "It is misspelt, in another namespace, or was deleted"
        "list what there is with weft get";
    ALREADY_EXISTS = 3102 "AlreadyExists" Refused false
        "The name is taken"
        "An object of that name exists already"
        "choose another name, or remove the object first";
    IMMUTABLE = 3103 "Immutable" Refused false
        "A field can't be changed any more"
        "It was fixed when the object was made"
        "make a new object instead";
    READ_ONLY_KIND = 3104 "ReadOnlyKind" Refused false
        "Objects of this kind aren't written by people"
        "The control plane or a node makes them"
        "change what they are derived from";
    STALE_SEQUENCE = 3105 "StaleSequence" Refused false
        "A client sent an older sequence number than before"
        "Two clients share one id, or an old call arrived late"
        "none: repeat the command";
    CONFLICT = 3106 "Conflict" Refused true
        "The object was changed in between"
        "Another writer was faster: the change was made from an older revision"
        "repeat the command: it starts from the object as it is now";
    CHANGED_SINCE = 3107 "ChangedSince" Refused false
        "The object isn't any more what the text was made from"
        "Somebody changed it, or made it anew, after it was printed: its resourceVersion or uid is another"
        "get the object again and make the change in that, or leave resourceVersion and uid out";
    TOO_LARGE = 3201 "TooLarge" Refused false
        "A request or object is larger than allowed"
        "See the limits in docs/reference"
        "split it";

    LINK_FAILED = 4001 "LinkFailed" Refused true
        "A network link can't be made or changed"
        "The kernel refused, or another program holds the name"
        "see the kernel's answer in the message; weft check names missing features";
    ROUTE_FAILED = 4002 "RouteFailed" Refused true
        "A route, rule or neighbour can't be set"
        "The kernel refused"
        "see the kernel's answer in the message";
    NFT_FAILED = 4003 "NftFailed" Refused true
        "An nf_tables transaction was refused"
        "The kernel lacks a feature, or another program changed the table at the same time"
        "the agent tries again; weft check names missing features";
    SYSCTL_FAILED = 4004 "SysctlFailed" Refused true
        "A kernel setting can't be written"
        "The process lacks the right, or /proc/sys is read-only"
        "give the agent CAP_NET_ADMIN and a writable /proc/sys/net";
    NAMESPACE_FAILED = 4005 "NamespaceFailed" Refused false
        "A network namespace can't be opened or entered"
        "It is gone, isn't a network namespace, or is the node's own"
        "give the path of the pod's network namespace";
    MESH_FAILED = 4101 "MeshFailed" Refused true
        "The WireGuard device can't be configured"
        "The tunnel process doesn't run, or the kernel refused"
        "see weft-agent's log; the tunnel is restarted by itself";
    UNDERLAY_UNKNOWN = 4102 "UnderlayUnknown" Usage false
        "The node's underlay address can't be found"
        "There is no default route, and no underlay is configured"
        "set underlay.interface or underlay.address in agent.toml";
    ROUTED_IMPOSSIBLE = 4103 "RoutedImpossible" Refused false
        "Mode routed can't work here"
        "It needs all nodes on one link, with an underlay address of each family of the pods"
        "use mode wireguard, or give the nodes addresses of both families on one link";
    MTU_TOO_SMALL = 4104 "MtuTooSmall" Refused false
        "The underlay's packets are too small for the fabric"
        "A link or tunnel below has an MTU under what IPv6 and the mesh's own headers need"
        "raise the underlay's MTU to 1360 at least, or use a fabric without IPv6";
    USERSPACE_TUNNEL = 4107 "UserspaceTunnel" Done false
        "There is no kernel WireGuard here: the built-in userspace tunnel is used"
        "The kernel was built without the module"
        "nothing must be done; a kernel with WireGuard saves CPU";
    PRIMARY_MISMATCH = 4201 "PrimaryMismatch" Refused false
        "The agent was told another primary family than the fabric has"
        "agent.toml and the fabric disagree"
        "remove the setting from agent.toml, or mend it";
    FOREIGN_FIREWALL = 4302 "ForeignFirewall" No false
        "A firewall that isn't ours drops packets of the fabric"
        "Another program's chain has policy drop or a drop rule"
        "allow forwarding for weftbr0 and weft0 in that chain";
    HOST_PORT_TAKEN = 4303 "HostPortTaken" Refused true
        "A port that services need is held by a program of the machine"
        "Another program listens on it; a node port takes its traffic away from it, a health check can't be answered"
        "stop that program or move it to another port; ss -ltnup names it";
    AGENT_UNREACHABLE = 4401 "AgentUnreachable" Unreachable true
        "The agent's socket isn't there or doesn't answer"
        "weft-agent isn't running on this node"
        "start weft-agent; systemctl status weft-agent says why it stopped";
    CNI_INVALID = 4402 "CniInvalid" Refused false
        "The CNI request is invalid"
        "An environment variable or the configuration on standard input is missing or malformed"
        "see the message for the variable or key";
    ATTACHMENT_EXISTS = 4403 "AttachmentExists" Refused false
        "The container already has this interface"
        "ADD came twice without DEL in between"
        "the runtime must send DEL first";
    NODE_UNREACHABLE = 4404 "NodeUnreachable" Unreachable true
        "A node doesn't answer the control plane"
        "It is down, cut off, or its agent doesn't run"
        "weft node show NODE says since when";

    SERVICE_ADDRESS_TAKEN = 5001 "ServiceAddressTaken" Refused false
        "An address that a service asks for is held by another"
        "Another service has it, or it is reserved"
        "leave the address out to get a free one, or choose another";
    SERVICE_ADDRESSES_EXHAUSTED = 5002 "ServiceAddressesExhausted" Refused false
        "No address of the service ranges is free"
        "Every address is held by a service"
        "add a service range to the fabric, or delete services";
    NODE_PORT_TAKEN = 5003 "NodePortTaken" Refused false
        "A node port is held by another service"
        "A number belongs to one service in the whole cluster"
        "leave the node port out to get a free one, or choose another";
    NODE_PORTS_EXHAUSTED = 5004 "NodePortsExhausted" Refused false
        "No node port is free"
        "Every port of the fabric's node port range is held"
        "widen spec.nodePortRange of the fabric, or set allocateLoadBalancerNodePorts to false where nobody needs them";
    EXTERNAL_ADDRESS_DENIED = 5005 "ExternalAddressDenied" NotAllowed false
        "A service names an external address that isn't allowed"
        "External addresses capture what others send there, so they are off unless an admin allows ranges"
        "use type LoadBalancer, or let an admin add a range to spec.externalIPRanges of the fabric";
    BALANCER_ADDRESS_TAKEN = 5006 "BalancerAddressTaken" Refused false
        "A service can't have the load-balancer address that it asks for"
        "Another service has it and it can't be shared, or it lies in no pool"
        "choose another, or let both services share it: annotation weft.io/allow-shared-ip and different ports";
    BALANCER_ADDRESSES_EXHAUSTED = 5007 "BalancerAddressesExhausted" Refused false
        "No load-balancer address is free"
        "Every address of the automatic pools is held"
        "add a range to a LoadBalancerPool, or let services share addresses";
    NAMESPACE_IN_USE = 5008 "NamespaceInUse" Refused false
        "A namespace can't be deleted"
        "Pods live in it, or the cluster needs it"
        "remove its pods first";
    SERVICE_LIMIT = 5101 "ServiceLimit" Refused false
        "A node can't give services all that they ask for"
        "The maps of the kernel would grow beyond their limit, or too many time-outs of client affinity are in use"
        "give fewer services more than a few endpoints, or let services share their affinity time-outs";
    DNS_UNREACHABLE = 5201 "DnsUnreachable" Unreachable true
        "A node's DNS doesn't answer its agent"
        "weft-agent dns isn't running on the node, or has just been started"
        "start it: systemctl start weft-dns; systemctl status weft-dns says why it stopped";
    DNS_UPSTREAM_LOOP = 5202 "DnsUpstreamLoop" Refused false
        "An upstream of the DNS is the DNS itself"
        "The node's resolv.conf, or spec.dns of the fabric, names one of the fabric's own DNS addresses or a stub on loopback"
        "name the servers of your network: spec.dns.upstreams of the fabric, or the node's resolv.conf";
    DNS_UPSTREAM_UNREACHABLE = 5203 "DnsUpstreamUnreachable" Refused true
        "A server that foreign names are asked of doesn't answer"
        "It is down, a firewall is in the way, or spec.dns.upstreams names a wrong address"
        "try it from the node: dig @SERVER example.com; weft get fabric -o yaml shows what is configured";
    DNS_DOMAIN_CLASH = 5204 "DnsDomainClash" Refused false
        "The fabric's domain means something else on this node too"
        "The node's own resolv.conf searches in the fabric's domain, or in one below it"
        "take that search domain out of the node's resolv.conf, or found the fabric with another domain: weft init --domain";
    DNS_BYPASSED = 5205 "DnsBypassed" Refused false
        "A pod asks other servers for names than its node's DNS"
        "Its dnsPolicy or dnsConfig says so, so it can't see the names of services"
        "use dnsPolicy ClusterFirst, and spec.dns.upstreams or spec.dns.stubDomains of the fabric for names elsewhere";
    DNS_PORT_TAKEN = 5206 "DnsPortTaken" Refused true
        "Pods of a node can't ask for names at one of the fabric's addresses"
        "Another program of the node listens on port 53 of every address"
        "bind that program to its own addresses, or stop it: ss -lnp sport = :53";
    DNS_NO_UPSTREAM = 5207 "DnsNoUpstream" Refused false
        "Nobody can be asked for names outside the fabric"
        "spec.dns.upstreams of the fabric is empty, and the node's resolv.conf names no server either"
        "name the servers of your network: spec.dns.upstreams of the fabric, or the node's resolv.conf";
    DNS_STUB_DOMAIN = 5208 "DnsStubDomain" Refused false
        "A stub domain of the DNS is left out"
        "It is no domain name, or it lies within the fabric's own domain, which every node answers for itself"
        "mend it in spec.dns.stubDomains of the fabric: weft get fabric -o yaml";

    POLICY_TOO_LARGE = 6001 "PolicyTooLarge" Refused false
        "Policies are larger than a node can hold"
        "Together they name too many peers, addresses or ports, or select too many different pods"
        "use fewer and wider selectors and blocks; the message says what there is too much of";
    POLICY_SELECTS_NOTHING = 6101 "PolicySelectsNothing" No false
        "A policy, or a peer of one of its rules, selects no pod"
        "A label is misspelt, the pods are in another namespace, or they don't run yet"
        "compare with weft get pods --show-labels; a podSelector alone means the policy's own namespace";
    POLICY_PORT_NAME_UNKNOWN = 6102 "PolicyPortNameUnknown" No false
        "A policy names a port that no pod it concerns has"
        "The name is misspelt, or of another protocol; it is looked up on the destination pod"
        "name a port of the destination's spec, with its protocol, or write the number";
    POLICY_RULE_DEAD = 6103 "PolicyRuleDead" No false
        "A rule of a policy can never match"
        "Its direction isn't in policyTypes, labels exclude each other, or its block is empty or of another family"
        "mend the named field, or take the rule out";
    POLICY_BLOCK_COVERS_PODS = 6104 "PolicyBlockCoversPods" No false
        "An ipBlock covers addresses of pods"
        "Blocks are meant for the outside; which pod has which address changes"
        "select pods by labels, and take the pod ranges out of the block by except";
    POLICY_CLOSES_DNS = 6105 "PolicyClosesDns" No false
        "Isolated pods can't ask for names"
        "Policies isolate them for egress, and no rule allows port 53 to kube-system, k8s-app: kube-dns"
        "allow UDP and TCP 53 to the pods k8s-app: kube-dns of namespace kube-system";
    POLICY_RULE_SHADOWED = 6106 "PolicyRuleShadowed" No false
        "A rule of a policy allows nothing that another of its rules doesn't"
        "It is a copy, or a narrower form, of the other rule"
        "take it out, or narrow the other one";
    DEFAULT_POLICY_KEPT = 6107 "DefaultPolicyKept" No false
        "A namespace keeps its default policy, which the applied text doesn't name"
        "Somebody set the label weft.io/default-policy; a text without it doesn't open the namespace"
        "write the label with its word (allow opens), or with an empty one to go by the fabric's default";

    NO_CERTIFICATE = 7001 "NoCertificate" NotAllowed false
        "The call needs a client certificate"
        "None was shown, or it belongs to another authority"
        "use a context of this cluster";
    ROLE_DENIED = 7002 "RoleDenied" NotAllowed false
        "The certificate's role may not do this"
        "Viewers can't change, nodes can only touch what is their own"
        "use a context with the role that is named";
    TOKEN_INVALID = 7003 "TokenInvalid" NotAllowed false
        "The join token isn't valid"
        "It is misspelt, was used, was revoked, or has expired"
        "make a new one: weft token create";
    AUTHORITY_MISMATCH = 7004 "AuthorityMismatch" NotAllowed false
        "The control plane's authority isn't the pinned one"
        "The address belongs to another cluster, or somebody is in between"
        "compare the hash with the one that weft init printed";
    KEY_EXPOSED = 7005 "KeyExposed" NotAllowed false
        "A file with a key can be read by others"
        "Its mode is wider than 0600"
        "chmod 600 the named file";
    NODE_REMOVED = 7006 "NodeRemoved" NotAllowed false
        "This node was removed from the fabric"
        "weft node remove ran for it"
        "purge it and join it again: weft-agent purge, weft-agent join";
    REQUEST_INVALID = 7007 "RequestInvalid" NotAllowed false
        "A certificate request can't be granted"
        "It names another identity or role than its token or certificate, or its signature is wrong"
        "join again with a token for the right role";

    LAB_FAILED = 9001 "LabFailed" No false
        "The lab can't do this"
        "A namespace, link or process of the lab is missing"
        "cargo lab ls shows what runs; cargo lab down removes it";
    LAB_PREREQUISITE = 9002 "LabPrerequisite" Usage false
        "The machine lacks something that the lab needs"
        "User namespaces are restricted, /dev/net/tun can't be opened, or nf_tables is missing"
        "see the message for the one command that mends it";
    INTERNAL = 9901 "Internal" Bug false
        "A bug in Weft"
        "Something that can't happen did"
        "please report it with the log";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_ordered_unique_and_complete() {
        assert!(ALL.windows(2).all(|pair| pair[0].number < pair[1].number), "ordered, none twice");
        let mut reasons: Vec<_> = ALL.iter().map(|c| c.reason).collect();
        reasons.sort_unstable();
        let count = reasons.len();
        reasons.dedup();
        assert_eq!(reasons.len(), count, "each reason once");
        for code in ALL {
            assert!(!code.summary.is_empty() && !code.causes.is_empty() && !code.remedy.is_empty(), "{code}");
        }
        assert_eq!(RANGE_OVERLAP.to_string(), "W2203");
    }
}
