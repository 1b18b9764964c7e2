//! Whom the selectors of peers mean, and whom those of pods.

use super::Case;

pub(super) const CASES: &[Case] = &[
    (
        "a pod selector means the own namespace",
        "p x/p {podSelector: $a, ingress: [{from: [{podSelector: $b}]}]}\nin x/a: x/b",
    ),
    (
        "an empty pod selector means the whole own namespace",
        "p x/p {podSelector: $a, ingress: [{from: [{podSelector: {}}]}]}\nin x/a: x/*",
    ),
    (
        "a namespace selector means all its pods",
        "p x/p {podSelector: $a, ingress: [{from: [{namespaceSelector: $y}]}]}\nin x/a: y/*",
    ),
    (
        "an empty namespace selector means every namespace, and no node of another",
        "p x/p {podSelector: $c, ingress: [{from: [{namespaceSelector: {}}]}]}\nin x/c: all\n-i node:1 x/c 80/tcp",
    ),
    (
        "* both selectors in one item: both hold",
        "p x/p {podSelector: $a, ingress: [{from: [{namespaceSelector: $y, podSelector: $b}]}]}\nin x/a: y/b",
    ),
    (
        "* two items: either holds",
        "p x/p {podSelector: $a, ingress: [{from: [{namespaceSelector: $y}, {podSelector: $b}]}]}\nin x/a: y/* x/b",
    ),
    (
        "two rules: either holds",
        "p x/p {podSelector: $a, ingress: [{from: [{namespaceSelector: $y}]}, {from: [{podSelector: $b}]}]}\nin x/a: y/* x/b",
    ),
    (
        "pods of every namespace",
        "p x/p {podSelector: $a, ingress: [{from: [{namespaceSelector: {}, podSelector: $b}]}]}\nin x/a: */b",
    ),
    (
        "every pod of a namespace, said twice",
        "p x/p {podSelector: $a, ingress: [{from: [{namespaceSelector: $z, podSelector: {}}]}]}\nin x/a: z/*",
    ),
    (
        "a namespace by its name",
        "p x/p {podSelector: $a, ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: z}}}]}]}\nin x/a: z/*",
    ),
    (
        "namespaces In",
        "p x/p {podSelector: $a, ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: ns, operator: In, values: [y, z]}]}}]}]}\nin x/a: y/* z/*",
    ),
    (
        "namespaces NotIn",
        "p x/p {podSelector: $a, ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [x, y, z]}, {key: ns, operator: NotIn, values: [x, z]}]}}]}]}\nin x/a: y/*",
    ),
    (
        "namespaces Exists",
        "n z other: q\np x/p {podSelector: $a, ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: ns, operator: Exists}]}}]}]}\nin x/a: x/* y/*",
    ),
    (
        "namespaces DoesNotExist",
        "n z other: q\np x/p {podSelector: $a, ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: other, operator: Exists}, {key: ns, operator: DoesNotExist}]}}]}]}\nin x/a: z/*",
    ),
    (
        "pods In",
        "p x/p {podSelector: $a, ingress: [{from: [{podSelector: {matchExpressions: [{key: pod, operator: In, values: [b, c]}]}}]}]}\nin x/a: x/b x/c",
    ),
    (
        "pods NotIn, of every namespace",
        "p x/p {podSelector: $a, ingress: [{from: [{namespaceSelector: {}, podSelector: {matchExpressions: [{key: pod, operator: NotIn, values: [a, b]}]}}]}]}\nin x/a: */c\n+ x/c x/a 80/tcp",
    ),
    (
        "NotIn means those too that lack the key",
        "l y/b other: q\np x/p {podSelector: $a, ingress: [{from: [{namespaceSelector: $y, podSelector: {matchExpressions: [{key: pod, operator: NotIn, values: [a]}]}}]}]}\nin x/a: y/b y/c",
    ),
    (
        "pods Exists",
        "l y/b other: q\np x/p {podSelector: $a, ingress: [{from: [{namespaceSelector: $y, podSelector: {matchExpressions: [{key: pod, operator: Exists}]}}]}]}\nin x/a: y/a y/c",
    ),
    (
        "* pods DoesNotExist",
        "l y/b other: q\np x/p {podSelector: $a, ingress: [{from: [{namespaceSelector: $y, podSelector: {matchExpressions: [{key: pod, operator: DoesNotExist}]}}]}]}\nin x/a: y/b",
    ),
    (
        "labels and expressions of one selector: all hold",
        "l x/b pod: b, tier: q\nl x/c pod: c, tier: q\np x/p {podSelector: $a, ingress: [{from: [{podSelector: {matchLabels: {tier: q}, matchExpressions: [{key: pod, operator: NotIn, values: [c]}]}}]}]}\nin x/a: x/b",
    ),
    (
        "two labels: both hold",
        "l x/b pod: b, tier: q\np x/p {podSelector: $a, ingress: [{from: [{podSelector: {matchLabels: {tier: q, pod: c}}}]}]}\nin x/a: none",
    ),
    (
        "requirements that exclude each other mean nobody",
        "p x/p {podSelector: $a, ingress: [{from: [{podSelector: {matchLabels: {pod: b}, matchExpressions: [{key: pod, operator: DoesNotExist}]}}]}]}\nin x/a: none",
    ),
    (
        "a value that nobody has",
        "p x/p {podSelector: $a, ingress: [{from: [{podSelector: {matchLabels: {pod: none}}}]}]}\nin x/a: none",
    ),
    (
        "a namespace that isn't there",
        "p x/p {podSelector: $a, ingress: [{from: [{namespaceSelector: {matchLabels: {ns: none}}}]}]}\nin x/a: none",
    ),
    (
        "the selected pods by expression: NotIn",
        "p x/p {podSelector: {matchExpressions: [{key: pod, operator: NotIn, values: [a, b]}]}}\nin x/c: none",
    ),
    (
        "the selected pods by expression: In",
        "p x/p {podSelector: {matchExpressions: [{key: pod, operator: In, values: [a, c]}]}, policyTypes: [Egress]}\nout x/a: none\nout x/c: none",
    ),
    (
        "the selected pods by a key that isn't there",
        "l x/b other: q\np x/p {podSelector: {matchExpressions: [{key: pod, operator: DoesNotExist}]}}\nin x/b: none",
    ),
    (
        "no peers: anybody",
        "p x/p {podSelector: $c, ingress: [{ports: [{port: 80}]}]}\nin x/c 80/tcp: all\n+ node:1 x/c 80/tcp\n-i node:1 x/c 81/tcp",
    ),
    (
        "egress to pods of the own namespace",
        "p x/p {podSelector: $a, policyTypes: [Egress], egress: [{to: [{podSelector: $c}]}]}\nout x/a: x/c",
    ),
    (
        "egress to a namespace",
        "p x/p {podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: $y}]}]}\nout x/*: y/*",
    ),
    (
        "egress to pods in a namespace, or pods of the own",
        "p x/p {podSelector: $a, policyTypes: [Egress], egress: [{to: [{namespaceSelector: $y, podSelector: $b}, {podSelector: $c}]}]}\nout x/a: y/b x/c",
    ),
    (
        "egress to every pod",
        "p x/p {podSelector: $a, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {}}]}]}\nall\n-e x/a <4:out> 80/tcp",
    ),
    (
        "egress by expression",
        "p x/p {podSelector: $c, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchExpressions: [{key: ns, operator: In, values: [x, z]}]}, podSelector: {matchExpressions: [{key: pod, operator: NotIn, values: [c]}]}}]}]}\nout x/c: x/a x/b z/a z/b",
    ),
    (
        "a namespace alone among its own",
        "p x/p {podSelector: {}, ingress: [{from: [{podSelector: {}}]}], egress: [{to: [{podSelector: {}}]}]}\nin x/*: x/*\nout x/*: x/*",
    ),
    (
        "every namespace but one",
        "p x/p {podSelector: {}, ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: ns, operator: NotIn, values: [y]}]}}]}]}\nin x/*: x/* z/*",
    ),
];
