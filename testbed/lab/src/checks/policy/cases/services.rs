//! Whatever address a packet was sent to, the pod behind it is judged, at its own port.

use super::Case;

pub(super) const CASES: &[Case] = &[
    (
        "* a cluster address: ingress of the pod behind it",
        "s x/web-1 {clusterIP: \"<1:service:77>\", selector: {pod: a}, ports: [{name: t, port: 8080, targetPort: 80}, {name: u, port: 8080, targetPort: 80, protocol: UDP}]}\np x/p {podSelector: $a, ingress: [{from: [{podSelector: $b}]}]}\nin x/a: x/b\n+ x/b <1:service:77> 8080/tcp\n+ x/b <1:service:77> 8080/udp\n-i x/c <1:service:77> 8080/tcp x/a\n-i y/a <1:service:77> 8080/udp x/a",
    ),
    (
        "a cluster address: the pod's port counts, not the service's",
        "s x/web-2 {clusterIP: \"<1:service:77>\", selector: {pod: c}, ports: [{name: t, port: 8080, targetPort: 81}]}\np x/p {podSelector: $c, ingress: [{ports: [{port: 8080}]}]}\nin x/c: none\n-i y/b <1:service:77> 8080/tcp x/c\np x/p {podSelector: $c, ingress: [{ports: [{port: 81}]}]}\nin x/c 81/tcp: all\n+ y/b <1:service:77> 8080/tcp",
    ),
    (
        "a cluster address: egress to the pod behind it",
        "s y/web-3 {clusterIP: \"<1:service:77>\", selector: {pod: c}, ports: [{port: 8080, targetPort: 80}]}\np x/p {podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: $y, podSelector: $c}]}]}\nout x/*: y/c\n+ x/a <1:service:77> 8080/tcp\np x/p {podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: $y, podSelector: $a}]}]}\nout x/*: y/a\n-e x/a <1:service:77> 8080/tcp\n-e x/c <1:service:77> 8080/tcp",
    ),
    (
        "a block of service addresses opens nothing",
        "s y/web-4 {clusterIP: <4:service:77>, selector: {pod: b}, ports: [{port: 80}]}\np x/p {podSelector: $a, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: \"<4:net:service:77>\"}}]}]}\nout x/a: none\n-e x/a <4:service:77> 80/tcp",
    ),
    (
        "both cluster addresses of a service",
        "s x/web-5 {clusterIPs: [<4:service:78>, \"<6:service:78>\"], clusterIP: <4:service:78>, ipFamilyPolicy: RequireDualStack, selector: {pod: a}, ports: [{port: 80}]}\np x/p {podSelector: $a, ingress: [{from: [{namespaceSelector: $z}]}]}\nin x/a: z/*\n+ z/a <4:service:78> 80/tcp\n+ z/c <6:service:78> 80/tcp\n-i y/a <6:service:78> 80/tcp x/a\n-i y/c <4:service:78> 80/tcp x/a",
    ),
    (
        "* a pod reaches itself through its service",
        "s x/web-6 {clusterIP: \"<1:service:77>\", selector: {pod: a}, ports: [{port: 80}]}\np x/p {podSelector: {}, policyTypes: [Ingress, Egress]}\nin x/*: none\nout x/*: none\n+ x/a <1:service:77> 80/tcp\n-e x/b <1:service:77> 80/tcp",
    ),
    (
        "a cluster address that leads to a port by its name",
        "s x/web-7 {clusterIP: <4:service:77>, selector: {pod: b}, ports: [{port: 80, targetPort: serve-81-tcp}]}\np x/p {podSelector: $b, ingress: [{from: [{podSelector: $c}], ports: [{port: serve-81-tcp}]}]}\nin x/b 81/tcp: x/c\n+ x/c <4:service:77> 80/tcp\n-i y/c <4:service:77> 80/tcp x/b",
    ),
    (
        "with policy Local inside",
        "s x/web-8 {clusterIP: <4:service:77>, internalTrafficPolicy: Local, selector: {pod: b}, ports: [{port: 80}]}\np x/p {podSelector: $b, ingress: [{from: [{namespaceSelector: $x}]}]}\nin x/b: x/*\n+ x/a <4:service:77> 80/tcp\n-i y/a <4:service:77> 80/tcp x/b",
    ),
    (
        "a node port from outside, policy Cluster: the sender is the node that was asked, and on the pod's own node the client",
        "s x/web-9 {type: NodePort, clusterIP: <4:service:77>, selector: {pod: a}, ports: [{port: 80, nodePort: 30977}]}\np x/p {podSelector: $a, ingress: [{from: [{ipBlock: {cidr: \"<4:net:out>\"}}]}]}\nin x/a: none\n+ out <4:node:1> 30977/tcp\n-i out <4:node:2> 30977/tcp x/a\np x/p {podSelector: $a, ingress: [{from: [{ipBlock: {cidr: \"<4:net:mesh:2>\"}}]}]}\nin x/a: none\n+ out <4:node:2> 30977/tcp\n-i out <4:node:1> 30977/tcp x/a",
    ),
    (
        "a node port from outside, policy Local: the sender is the client",
        "s x/web-10 {type: NodePort, externalTrafficPolicy: Local, clusterIP: <4:service:77>, selector: {pod: a}, ports: [{port: 80, nodePort: 30977}]}\np x/p {podSelector: $a, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [\"<4:net:out>\"]}}]}]}\nin x/a: all@4\n-i out <4:node:1> 30977/tcp x/a\np x/p {podSelector: $a, ingress: [{from: [{ipBlock: {cidr: \"<4:net:out>\"}}]}]}\nin x/a: none\n+ out <4:node:1> 30977/tcp",
    ),
    (
        "the own node's port from a pod: the pod is judged",
        "s x/web-11 {type: NodePort, clusterIP: <4:service:77>, selector: {pod: c}, ports: [{port: 80, nodePort: 30977}]}\np x/p {podSelector: $c, ingress: [{from: [{podSelector: $b}]}]}\nin x/c: x/b\n+ x/b <4:node:1> 30977/tcp\n-i y/b <4:node:1> 30977/tcp x/c",
    ),
    (
        "another node's port from a pod: whoever the sender is, it isn't let in",
        "s x/web-12 {type: NodePort, clusterIP: <4:service:77>, selector: {pod: a}, ports: [{port: 80, nodePort: 30977}]}\np x/p {podSelector: $a, ingress: [{from: [{podSelector: $c}]}]}\nin x/a: x/c\n-i y/b <4:node:2> 30977/tcp x/a",
    ),
    (
        "a load balancer's address from outside and from pods",
        "pool grid {ranges: [192.168.66.208/28]}\ns x/web-13 {type: LoadBalancer, externalTrafficPolicy: Local, clusterIP: <4:service:77>, loadBalancerIP: 192.168.66.209, selector: {pod: a}, ports: [{port: 80}]}\np x/p {podSelector: $a, ingress: [{from: [{podSelector: $b}]}]}\nin x/a: x/b\n+ x/b 192.168.66.209 80/tcp\n-i y/a 192.168.66.209 80/tcp x/a\n-i y/c 192.168.66.209 80/tcp x/a",
    ),
    (
        "a service that remembers its clients",
        "s x/web-14 {clusterIP: <4:service:77>, sessionAffinity: ClientIP, selector: {pod: a}, ports: [{port: 80}]}\np x/p {podSelector: $a, ingress: [{from: [{podSelector: $b}]}]}\nin x/a: x/b\n+ x/b <4:service:77> 80/tcp\n-i y/a <4:service:77> 80/tcp x/a\np x/p {podSelector: $a, ingress: [{from: [{namespaceSelector: $y}]}]}\nin x/a: y/*\n-i x/b <4:service:77> 80/tcp x/a\n+ y/a <4:service:77> 80/tcp",
    ),
];
