//! Which addresses are meant.

use super::Case;

pub(super) const CASES: &[Case] = &[
    (
        "* a block of one pod's address, of that family alone",
        "p x/p {podSelector: $a, ingress: [{from: [{ipBlock: {cidr: \"<1:net:y/b>\"}}]}]}\nin x/a: y/b@1",
    ),
    (
        "a block of one address in each family",
        "p x/p {podSelector: $a, ingress: [{from: [{ipBlock: {cidr: <4:y/b>/32}}, {ipBlock: {cidr: \"<6:y/b>/128\"}}]}]}\nin x/a: y/b",
    ),
    (
        "a block with all pods of a node",
        "p x/p {podSelector: $a, ingress: [{from: [{ipBlock: {cidr: \"<4:pods:2>\"}}]}]}\nin x/a: */c@4",
    ),
    (
        "the same in IPv6",
        "p x/p {podSelector: $c, ingress: [{from: [{ipBlock: {cidr: \"<6:pods:1>\"}}]}]}\nin x/c: */a@6 */b@6",
    ),
    (
        "* except takes out of its own block",
        "p x/p {podSelector: $a, ingress: [{from: [{ipBlock: {cidr: \"<1:pods>\", except: [\"<1:pods:2>\"]}}]}]}\nin x/a: */a@1 */b@1",
    ),
    (
        "except of one address",
        "p x/p {podSelector: $a, ingress: [{from: [{ipBlock: {cidr: \"<4:pods>\", except: [<4:y/b>/32]}}]}]}\nin x/a: x/*@4 z/*@4 y/a@4 y/c@4",
    ),
    (
        "several exceptions, one inside another",
        "p x/p {podSelector: $a, ingress: [{from: [{ipBlock: {cidr: \"<4:pods>\", except: [<4:z/c>/32, \"<4:pods:2>\", <4:y/b>/32]}}]}]}\nin x/a: x/a@4 x/b@4 y/a@4 z/a@4 z/b@4",
    ),
    (
        "except of one rule doesn't bind another",
        "p x/p {podSelector: $a, ingress: [{from: [{ipBlock: {cidr: \"<4:pods>\", except: [\"<4:pods:2>\"]}}]}, {from: [{ipBlock: {cidr: <4:z/c>/32}}]}]}\nin x/a: */a@4 */b@4 z/c@4",
    ),
    (
        "except of one item doesn't bind another",
        "p x/p {podSelector: $a, ingress: [{from: [{ipBlock: {cidr: \"<4:pods>\", except: [\"<4:pods:2>\"]}}, {podSelector: $c}]}]}\nin x/a: */a@4 */b@4 x/c",
    ),
    (
        "except of one policy doesn't bind another",
        "p x/one {podSelector: $a, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [\"<4:pods:2>\"]}}]}]}\np x/two {podSelector: $a, ingress: [{from: [{namespaceSelector: $y}]}]}\nin x/a: */a@4 */b@4 y/*",
    ),
    (
        "all of IPv4 keeps IPv6 out",
        "p x/p {podSelector: $a, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}\nin x/a: all@4",
    ),
    (
        "all of IPv6 keeps IPv4 out",
        "p x/p {podSelector: $c, ingress: [{from: [{ipBlock: {cidr: \"::/0\"}}]}]}\nin x/c: all@6",
    ),
    (
        "all of both",
        "p x/p {podSelector: $a, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}, {ipBlock: {cidr: \"::/0\"}}]}]}\nall",
    ),
    (
        "egress to a block of one address",
        "p x/p {podSelector: $a, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: <4:z/c>/32}}]}]}\nout x/a: z/c@4",
    ),
    (
        "* egress to a block with an exception",
        "p x/p {podSelector: $c, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: \"<1:pods>\", except: [\"<1:pods:2>\"]}}]}]}\nout x/c: */a@1 */b@1",
    ),
    (
        "egress to blocks of both families with exceptions",
        "p x/p {podSelector: $a, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [<4:y/a>/32]}}, {ipBlock: {cidr: \"::/0\", except: [\"<6:y/b>/128\"]}}]}]}\nout x/a: x/* z/* y/c y/a@6 y/b@4",
    ),
    (
        "a block beside a selector in one rule: either is enough",
        "p x/p {podSelector: $a, ingress: [{from: [{podSelector: $b}, {ipBlock: {cidr: <4:z/c>/32}}]}]}\nin x/a: x/b z/c@4",
    ),
    (
        "a block with its ports",
        "p x/p {podSelector: $a, ingress: [{from: [{ipBlock: {cidr: <4:z/c>/32}}], ports: [{port: 81}]}]}\nin x/a 81/tcp: z/c@4",
    ),
    (
        "blocks that overlap, each with its ports",
        "p x/p {podSelector: $a, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: \"<4:pods>\"}}], ports: [{port: 80}]}, {to: [{ipBlock: {cidr: \"<4:pods:2>\"}}], ports: [{port: 81, protocol: UDP}]}]}\nout x/a 80/tcp: all@4\nout x/a 81/udp: */c@4",
    ),
    (
        "what a block allows a pod comes on top of what its labels allow",
        "p x/p {podSelector: $a, ingress: [{from: [{podSelector: $b}], ports: [{port: 80}]}, {from: [{ipBlock: {cidr: <4:x/b>/32}}], ports: [{port: 81}]}]}\nin x/a 80/tcp: x/b\nin x/a 81/tcp: x/b@4",
    ),
    (
        "exceptions that are all of their block together leave nothing",
        "p x/p {podSelector: $a, ingress: [{from: [{ipBlock: {cidr: \"<4:pods>\", except: [\"<4:pods:1>\", \"<4:pods:2>\"]}}]}]}\nin x/a: none",
    ),
    (
        "another node by a block of its address in the mesh",
        "p x/p {podSelector: $a, ingress: [{from: [{ipBlock: {cidr: <4:mesh:2>/32}}]}]}\nin x/a: none\n+ node:2 <4:x/a> 80/tcp\n-i node:2 <6:x/a> 80/tcp x/a",
    ),
    (
        "a block elsewhere closes all of the grid",
        "p x/p {podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{from: [{ipBlock: {cidr: 198.51.100.0/24}}]}], egress: [{to: [{ipBlock: {cidr: \"2001:db8::/32\"}}]}]}\nin x/*: none\nout x/*: none",
    ),
];
