//! Which ports are meant.

use super::Case;

pub(super) const CASES: &[Case] = &[
    (
        "* one port, of TCP where no protocol is said",
        "p x/p {podSelector: $a, ingress: [{ports: [{port: 80}]}]}\nin x/a 80/tcp: all",
    ),
    (
        "one port of UDP",
        "p x/p {podSelector: $a, ingress: [{ports: [{port: 80, protocol: UDP}]}]}\nin x/a 80/udp: all",
    ),
    (
        "two ports of two protocols",
        "p x/p {podSelector: $c, ingress: [{ports: [{port: 80, protocol: UDP}, {port: 81, protocol: TCP}]}]}\nin x/c 80/udp,81/tcp: all",
    ),
    (
        "a port of SCTP opens none of TCP or UDP",
        "p x/p {podSelector: $a, ingress: [{ports: [{port: 80, protocol: SCTP}]}]}\nin x/a: none",
    ),
    (
        "every port of TCP",
        "p x/p {podSelector: $a, ingress: [{ports: [{protocol: TCP}]}]}\nin x/a 80/tcp,81/tcp: all",
    ),
    (
        "every port of UDP",
        "p x/p {podSelector: $a, ingress: [{ports: [{protocol: UDP}]}]}\nin x/a 80/udp,81/udp: all",
    ),
    (
        "every port of each protocol",
        "p x/p {podSelector: $a, ingress: [{ports: [{protocol: TCP}, {protocol: UDP}, {protocol: SCTP}]}]}\nall",
    ),
    (
        "an empty list of ports means all",
        "p x/p {podSelector: $a, ingress: [{from: [{podSelector: $b}], ports: []}]}\nin x/a: x/b",
    ),
    (
        "an empty list of peers means anybody",
        "p x/p {podSelector: $a, ingress: [{from: [], ports: [{port: 81}]}]}\nin x/a 81/tcp: all",
    ),
    (
        "* a range: both ends are in",
        "p x/p {podSelector: $a, ingress: [{ports: [{port: 80, endPort: 81}]}]}\nin x/a 80/tcp,81/tcp: all",
    ),
    (
        "a range that ends before",
        "p x/p {podSelector: $a, ingress: [{ports: [{port: 1, endPort: 79}]}]}\nin x/a: none",
    ),
    (
        "a range that begins behind",
        "p x/p {podSelector: $a, ingress: [{ports: [{port: 82, endPort: 65535, protocol: UDP}]}]}\nin x/a: none",
    ),
    (
        "a range that ends with the port",
        "p x/p {podSelector: $a, ingress: [{ports: [{port: 1, endPort: 80, protocol: UDP}]}]}\nin x/a 80/udp: all",
    ),
    (
        "a wide range that begins with the port",
        "p x/p {podSelector: $a, ingress: [{ports: [{port: 81, endPort: 60000}]}]}\nin x/a 81/tcp: all",
    ),
    (
        "a range of one port",
        "p x/p {podSelector: $a, ingress: [{ports: [{port: 81, endPort: 81}]}]}\nin x/a 81/tcp: all",
    ),
    (
        "wide ranges that overlap, for others",
        "p x/p {podSelector: $a, ingress: [{from: [{podSelector: $b}], ports: [{port: 10, endPort: 80}]}, {from: [{podSelector: $c}], ports: [{port: 80, endPort: 200}]}]}\nin x/a 80/tcp: x/b x/c\nin x/a 81/tcp: x/c",
    ),
    (
        "all ports as a range",
        "p x/p {podSelector: $a, ingress: [{from: [{namespaceSelector: $z}], ports: [{port: 1, endPort: 65535, protocol: UDP}]}]}\nin x/a 80/udp,81/udp: z/*",
    ),
    (
        "a port by its name",
        "p x/p {podSelector: $a, ingress: [{ports: [{port: serve-80-tcp}]}]}\nin x/a 80/tcp: all",
    ),
    (
        "a name counts for its own protocol alone",
        "p x/p {podSelector: $a, ingress: [{ports: [{port: serve-81-udp}]}]}\nin x/a: none",
    ),
    (
        "a name of UDP",
        "p x/p {podSelector: $a, ingress: [{ports: [{port: serve-81-udp, protocol: UDP}]}]}\nin x/a 81/udp: all",
    ),
    (
        "a name that no pod has",
        "p x/p {podSelector: $a, ingress: [{ports: [{port: unheard}]}]}\nin x/a: none",
    ),
    (
        "* a name means another number at each pod: ingress",
        "ports x/a {name: web, containerPort: 80}\nports x/b {name: web, containerPort: 81}\np x/p {podSelector: {}, ingress: [{ports: [{port: web}]}]}\nin x/a 80/tcp: all\nin x/b 81/tcp: all\nin x/c: none",
    ),
    (
        "a name means another number at each pod: egress",
        "ports y/a {name: web, containerPort: 80}\nports y/b {name: web, containerPort: 81}\np x/p {podSelector: $a, policyTypes: [Egress], egress: [{to: [{namespaceSelector: $y}], ports: [{port: web}]}]}\nout x/a 80/tcp: y/a\nout x/a 81/tcp: y/b",
    ),
    (
        "a name to anybody: pods that have it",
        "ports y/b {name: web, containerPort: 81, protocol: UDP}\np x/p {podSelector: $a, policyTypes: [Egress], egress: [{ports: [{port: web, protocol: UDP}]}]}\nout x/a 81/udp: y/b",
    ),
    (
        "one name for TCP and for UDP",
        "ports x/a {name: web, containerPort: 80}, {name: dns, containerPort: 81, protocol: UDP}\np x/p {podSelector: $a, ingress: [{ports: [{port: web}, {port: dns, protocol: UDP}]}]}\nin x/a 80/tcp,81/udp: all",
    ),
    (
        "a name never fits a block of destinations",
        "p x/p {podSelector: $a, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}, {ipBlock: {cidr: \"::/0\"}}], ports: [{port: serve-80-tcp}]}]}\nout x/a: none",
    ),
    (
        "a name fits where the pod itself is the destination of a block",
        "p x/p {podSelector: $a, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}], ports: [{port: serve-80-tcp}]}]}\nin x/a 80/tcp: all@4",
    ),
    (
        "* peers and ports of one rule: both hold",
        "p x/p {podSelector: $a, ingress: [{from: [{podSelector: $b}], ports: [{port: 80}]}, {from: [{podSelector: $c}], ports: [{port: 81}]}]}\nin x/a 80/tcp: x/b\nin x/a 81/tcp: x/c",
    ),
    (
        "ports of two policies for one peer",
        "p x/one {podSelector: $a, ingress: [{from: [{podSelector: $b}], ports: [{port: 80}]}]}\np x/two {podSelector: $a, ingress: [{from: [{podSelector: $b}], ports: [{port: 81, protocol: UDP}]}]}\nin x/a 80/tcp,81/udp: x/b",
    ),
    (
        "everybody on one port, somebody on all",
        "p x/p {podSelector: $a, ingress: [{ports: [{port: 80}]}, {from: [{namespaceSelector: $y}]}]}\nin x/a 80/tcp: all\nin x/a: y/*",
    ),
    (
        "a namespace on one port, one of its pods on another too",
        "p x/p {podSelector: $c, ingress: [{from: [{namespaceSelector: $y}], ports: [{port: 80}]}, {from: [{namespaceSelector: $y, podSelector: $b}], ports: [{port: 81}]}]}\nin x/c 80/tcp: y/*\nin x/c 81/tcp: y/b",
    ),
    (
        "egress by port alone",
        "p x/p {podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 81}]}]}\nout x/* 81/tcp: all",
    ),
    (
        "egress by a range to a namespace",
        "p x/p {podSelector: $a, policyTypes: [Egress], egress: [{to: [{namespaceSelector: $z}], ports: [{port: 81, endPort: 90, protocol: UDP}]}]}\nout x/a 81/udp: z/*",
    ),
    (
        "ports of both ends: what both allow",
        "p x/out {podSelector: $a, policyTypes: [Egress], egress: [{ports: [{port: 80}, {port: 81}]}]}\np x/in {podSelector: $b, ingress: [{ports: [{port: 81}, {port: 80, protocol: UDP}]}]}\nout x/a 80/tcp,81/tcp: all\nin x/b 81/tcp,80/udp: all",
    ),
];
