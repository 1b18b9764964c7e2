//! What happens while policies, labels, ports and namespaces change.

use super::Case;

pub(super) const CASES: &[Case] = &[
    (
        "* a policy is updated",
        "p x/p {podSelector: $a, ingress: [{from: [{podSelector: $b}]}]}\nin x/a: x/b\np x/p {podSelector: $a, ingress: [{from: [{podSelector: $c}]}]}\nin x/a: x/c",
    ),
    ("a policy is deleted", "p x/p {podSelector: $a}\nin x/a: none\nd x/p\nall"),
    (
        "of two policies one is deleted",
        "p x/one {podSelector: $a, ingress: [{from: [{podSelector: $b}]}]}\np x/two {podSelector: $a, ingress: [{from: [{podSelector: $c}]}]}\nin x/a: x/b x/c\nd x/one\nin x/a: x/c",
    ),
    (
        "the one that allows is deleted, the one that denies stays",
        "p x/deny {podSelector: {}}\np x/allow {podSelector: $a, ingress: [{}]}\nin x/b: none\nin x/c: none\nd x/allow\nin x/*: none",
    ),
    (
        "a policy selects others than before",
        "p x/p {podSelector: $a}\nin x/a: none\np x/p {podSelector: $b}\nin x/b: none",
    ),
    (
        "a policy turns from ingress to egress",
        "p x/p {podSelector: $a, policyTypes: [Ingress]}\nin x/a: none\np x/p {podSelector: $a, policyTypes: [Egress]}\nout x/a: none",
    ),
    (
        "a rule gets a port",
        "p x/p {podSelector: $a, ingress: [{from: [{podSelector: $b}]}]}\nin x/a: x/b\np x/p {podSelector: $a, ingress: [{from: [{podSelector: $b}], ports: [{port: 81}]}]}\nin x/a 81/tcp: x/b",
    ),
    (
        "a port becomes a range and back",
        "p x/p {podSelector: $a, ingress: [{ports: [{port: 80}]}]}\nin x/a 80/tcp: all\np x/p {podSelector: $a, ingress: [{ports: [{port: 80, endPort: 999}]}]}\nin x/a 80/tcp,81/tcp: all\np x/p {podSelector: $a, ingress: [{ports: [{port: 80}]}]}\nin x/a 80/tcp: all",
    ),
    (
        "a block gets an exception",
        "p x/p {podSelector: $a, ingress: [{from: [{ipBlock: {cidr: \"<4:pods>\"}}]}]}\nin x/a: all@4\np x/p {podSelector: $a, ingress: [{from: [{ipBlock: {cidr: \"<4:pods>\", except: [\"<4:net:y/c>\"]}}]}]}\nin x/a: x/*@4 y/a@4 y/b@4 z/*@4",
    ),
    (
        "* a peer's label comes and goes",
        "p x/p {podSelector: $a, ingress: [{from: [{podSelector: {matchLabels: {role: ok}}}]}]}\nin x/a: none\nl x/c pod: c, role: ok\nin x/a: x/c\nl x/c pod: c\nin x/a: none",
    ),
    (
        "a peer's label changes its value",
        "p x/p {podSelector: $a, ingress: [{from: [{podSelector: $b}]}]}\nin x/a: x/b\nl x/b pod: other\nl x/c pod: b\nin x/a: x/c",
    ),
    (
        "the pod's own label comes and goes",
        "p x/p {podSelector: {matchLabels: {closed: \"yes\"}}}\nall\nl x/a pod: a, closed: \"yes\"\nin x/a: none\nl x/a pod: a\nall",
    ),
    (
        "the pod's own label for egress",
        "p x/p {podSelector: {matchLabels: {closed: \"yes\"}}, policyTypes: [Egress]}\nl x/c pod: c, closed: \"yes\"\nout x/c: none\nl x/c pod: c\nl x/b pod: b, closed: \"yes\"\nout x/b: none",
    ),
    (
        "two pods exchange their labels",
        "p x/p {podSelector: $a, ingress: [{from: [{podSelector: $b}]}]}\nin x/a: x/b\nl x/a pod: b\nl x/b pod: a\nin x/b: x/a",
    ),
    (
        "a label that no policy asks for changes nothing",
        "p x/p {podSelector: $a, ingress: [{from: [{podSelector: $b}]}]}\nin x/a: x/b\nl x/b pod: b, colour: red\nin x/a: x/b",
    ),
    (
        "a policy asks for a label that was there before it",
        "l y/c pod: c, colour: red\np x/p {podSelector: $a, ingress: [{from: [{podSelector: $b}]}]}\nin x/a: x/b\np x/q {podSelector: $a, ingress: [{from: [{namespaceSelector: {}, podSelector: {matchLabels: {colour: red}}}]}]}\nin x/a: x/b y/c",
    ),
    (
        "* a namespace's label comes and goes",
        "p x/p {podSelector: $a, ingress: [{from: [{namespaceSelector: {matchLabels: {team: q}}}]}]}\nin x/a: none\nn y ns: y, team: q\nin x/a: y/*\nn y ns: y\nn z ns: z, team: q\nin x/a: z/*",
    ),
    (
        "the own namespace gets the label",
        "p x/p {podSelector: $a, ingress: [{from: [{namespaceSelector: {matchLabels: {team: q}}, podSelector: $b}]}]}\nn x ns: x, team: q\nin x/a: x/b\nn z ns: z, team: q\nin x/a: x/b z/b",
    ),
    (
        "a namespace's label changes for egress",
        "p x/p {podSelector: $a, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {team: q}}}]}]}\nout x/a: none\nn z ns: z, team: q\nout x/a: z/*",
    ),
    (
        "a namespace closes itself and opens again",
        "n x ns: x, weft.io/default-policy: deny-ingress\nin x/*: none\nn x ns: x\nall",
    ),
    (
        "a named port moves",
        "ports x/a {name: web, containerPort: 80}\np x/p {podSelector: $a, ingress: [{ports: [{port: web}]}]}\nin x/a 80/tcp: all\nports x/a {name: web, containerPort: 81}\nin x/a 81/tcp: all",
    ),
    (
        "a named port goes and comes",
        "p x/p {podSelector: $a, ingress: [{ports: [{port: web}]}]}\nin x/a: none\nports x/a {name: web, containerPort: 81}\nin x/a 81/tcp: all\nports x/a {name: www, containerPort: 81}\nin x/a: none",
    ),
    (
        "a named port of the peer moves for egress",
        "ports y/c {name: web, containerPort: 80}\np x/p {podSelector: $a, policyTypes: [Egress], egress: [{to: [{namespaceSelector: $y}], ports: [{port: web}]}]}\nout x/a 80/tcp: y/c\nports y/c {name: web, containerPort: 81}\nout x/a 81/tcp: y/c",
    ),
    (
        "layer after layer",
        "p x/deny {podSelector: {}, policyTypes: [Ingress, Egress]}\nin x/*: none\nout x/*: none\np x/in {podSelector: $a, ingress: [{from: [{podSelector: $b}]}]}\nin x/a: x/b\nin x/b: none\nin x/c: none\nout x/*: none\np x/out {podSelector: $b, policyTypes: [Egress], egress: [{to: [{podSelector: $a}]}]}\nin x/a: x/b\nin x/b: none\nin x/c: none\nout x/b: x/a\nout x/a: none\nout x/c: none\nd x/deny\nin x/a: x/b\nout x/b: x/a",
    ),
    (
        "the fabric closes and opens",
        "fabric {default: deny, nodeEgress: policy}\nin all: none\nout all: none\nfabric {default: allow, nodeEgress: policy}\nall",
    ),
];
