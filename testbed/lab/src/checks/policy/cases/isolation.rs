//! Whether a pod is isolated, in which direction, and what several policies say together.

use super::Case;

pub(super) const CASES: &[Case] = &[
    ("* no policy: everything passes", "all"),
    (
        "* deny all ingress of a namespace: its egress stays",
        "p x/p {podSelector: {}, policyTypes: [Ingress]}\nin x/*: none",
    ),
    (
        "deny all egress of a namespace: its ingress stays",
        "p x/p {podSelector: {}, policyTypes: [Egress]}\nout x/*: none",
    ),
    (
        "* deny both ways",
        "p x/p {podSelector: {}, policyTypes: [Ingress, Egress]}\nin x/*: none\nout x/*: none",
    ),
    ("an empty list of ingress rules denies", "p x/p {podSelector: {}, ingress: []}\nin x/*: none"),
    (
        "an empty list of egress rules with its type denies",
        "p x/p {podSelector: {}, policyTypes: [Egress], egress: []}\nout x/*: none",
    ),
    (
        "an empty list of egress rules without types isolates ingress alone",
        "p x/p {podSelector: {}, egress: []}\nin x/*: none",
    ),
    ("nothing but a selector isolates ingress", "p x/p {podSelector: $a}\nin x/a: none"),
    ("* an empty rule allows everybody in", "p x/p {podSelector: {}, ingress: [{}]}\nall"),
    (
        "an empty rule allows everybody out, and ingress isn't isolated",
        "p x/p {podSelector: {}, policyTypes: [Egress], egress: [{}]}\nall",
    ),
    (
        "egress rules without types isolate both directions",
        "p x/p {podSelector: $a, egress: [{}]}\nin x/a: none",
    ),
    (
        "both kinds of rules without types",
        "p x/p {podSelector: $a, ingress: [{from: [{podSelector: $b}]}], egress: [{to: [{podSelector: $c}]}]}\nin x/a: x/b\nout x/a: x/c",
    ),
    (
        "types with egress alone: rules for ingress are ignored",
        "p x/p {podSelector: $a, policyTypes: [Egress], ingress: [{from: [{podSelector: $b}]}]}\nout x/a: none",
    ),
    (
        "types with ingress alone: rules for egress are ignored",
        "p x/p {podSelector: $a, policyTypes: [Ingress], egress: [{to: [{podSelector: $b}]}]}\nin x/a: none",
    ),
    ("a policy is about its own namespace alone", "p x/p {podSelector: $a}\nin x/a: none"),
    ("a policy that selects nobody closes nothing", "p x/p {podSelector: {matchLabels: {pod: nobody}}}\nall"),
    (
        "* allow all beside deny all: the union counts",
        "p x/deny {podSelector: {}, policyTypes: [Ingress]}\np x/allow {podSelector: $a, ingress: [{}]}\nin x/b: none\nin x/c: none",
    ),
    (
        "* policies that overlap: what either allows",
        "p x/one {podSelector: $a, ingress: [{from: [{podSelector: $b}]}]}\np x/two {podSelector: $a, ingress: [{from: [{namespaceSelector: $y}]}]}\nin x/a: x/b y/*",
    ),
    (
        "three policies of one pod in both directions",
        "p x/one {podSelector: $a, ingress: [{from: [{podSelector: $b}]}]}\np x/two {podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: $x}]}]}\np x/three {podSelector: $a, policyTypes: [Egress], egress: [{to: [{namespaceSelector: $z}]}]}\nin x/a: x/b\nout x/a: x/* z/*\nout x/b: x/*\nout x/c: x/*",
    ),
    (
        "policies of two namespaces",
        "p x/p {podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}\np y/p {podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}\nin x/*: x/*\nin y/*: y/*",
    ),
    (
        "the same name in two namespaces is two policies",
        "p x/p {podSelector: $a}\np y/p {podSelector: $b}\nin x/a: none\nin y/b: none",
    ),
    (
        "* a connection needs egress of one end and ingress of the other",
        "p x/out {podSelector: $a, policyTypes: [Egress], egress: [{to: [{podSelector: $b}]}]}\np x/in {podSelector: $b, ingress: [{from: [{podSelector: $c}]}]}\nout x/a: x/b\nin x/b: x/c",
    ),
    (
        "both ends allow",
        "p x/out {podSelector: $a, policyTypes: [Egress], egress: [{to: [{podSelector: $b}]}]}\np x/in {podSelector: $b, ingress: [{from: [{podSelector: $a}]}]}\nout x/a: x/b\nin x/b: x/a",
    ),
    (
        "both ends over two nodes and namespaces",
        "p x/out {podSelector: $a, policyTypes: [Egress], egress: [{to: [{namespaceSelector: $y, podSelector: $c}]}]}\np y/in {podSelector: $c, ingress: [{from: [{namespaceSelector: $x}]}]}\nout x/a: y/c\nin y/c: x/*",
    ),
    (
        "answers need no rule: egress denied, and who asks is answered",
        "p x/p {podSelector: $c, policyTypes: [Egress]}\nout x/c: none\n+ y/a x/c 80/tcp\n+ node:1 x/c 80/udp",
    ),
    (
        "the own node's processes come in, another's don't",
        "p x/p {podSelector: {}}\nin x/*: none\n+ node:1 x/a 80/tcp\n+ node:1 x/b 81/udp\n+ node:2 x/c 80/tcp\n-i node:2 x/a 80/tcp\n-i node:1 x/c 80/udp",
    ),
    (
        "* the fabric closed by default: ingress",
        "fabric {default: deny-ingress, nodeEgress: policy}\nin all: none",
    ),
    (
        "the fabric closed by default: egress",
        "fabric {default: deny-egress, nodeEgress: policy}\nout all: none",
    ),
    (
        "the fabric closed by default, and a policy takes its place",
        "fabric {default: deny-ingress, nodeEgress: policy}\np x/p {podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}\nin x/*: x/*\nin y/*: none\nin z/*: none",
    ),
    ("a namespace closed by its label", "n y ns: y, weft.io/default-policy: deny-ingress\nin y/*: none"),
    (
        "a namespace closed by its label in both directions",
        "n y ns: y, weft.io/default-policy: deny\nin y/*: none\nout y/*: none",
    ),
    (
        "a namespace opened by its label in a closed fabric",
        "fabric {default: deny, nodeEgress: policy}\nn y ns: y, weft.io/default-policy: allow\nin x/*: none\nin z/*: none\nout x/*: none\nout z/*: none",
    ),
];
