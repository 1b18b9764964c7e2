//! Hard cases of the specification (networking/v1 NetworkPolicy), written anew: the evaluator and the tables of two nodes
//! give the same answers. How the scripts are read stands in `fixture/script.rs`; addresses and ports are in
//! `hard_cases_ports_tests.rs`.

use crate::fixture::script::check;

/// Without any policy, and each kind of isolation alone.
#[test]
fn isolation() {
    check("no policy: everything passes", "in x/a 80: all\n out x/a 81/udp: all\n + x/a y/b icmp");
    check(
        "deny ingress to a namespace, its egress stays",
        "p x/deny *: in none
         in x/a 80: none
         out x/a 80: y/* z/*",
    );
    check(
        "deny egress of a namespace, its ingress stays",
        "p x/deny *: eg none
         out x/a 80: none
         in x/a 80: y/* z/*",
    );
    check(
        "deny both ways",
        "p x/deny *: in none; eg none
         in x/a 80: none
         out x/a 80: none
         in y/a 80: y/* z/*",
    );
    check(
        "a policy is about its own namespace alone",
        "p x/deny pod=a: in none
         in y/a 80: all
         in x/b 80: all",
    );
    check(
        "allow all in is isolation without effect",
        "p x/all *: in
         in x/a 80: all
         + 192.0.2.1 x/a icmp",
    );
    check("allow all out", "p x/all *: eg\n out x/a 80: all\n + x/a 192.0.2.1 443\n + x/a y/a icmp");
    check(
        "allow all beside deny all: the union counts",
        "p x/deny *: in none\n p x/all pod=a: in\n in x/a 80: all\n in x/b 80: none",
    );
    check(
        "types with egress alone leave ingress open, rules for it are ignored",
        "p x/p *: eg none; idle-in from pods pod=b\n in x/a 80: y/* z/*\n out x/a 80: none",
    );
    check(
        "types with ingress alone: egress rules are ignored",
        "p x/p pod=a: in none; idle-eg to pods pod=b\n out x/a 80: all\n in x/a 80: none",
    );
    check(
        "a policy that selects nothing closes nothing",
        "p x/p pod=none: in none; eg none
         in x/a 80: all",
    );
    check(
        "egress of one end and ingress of the other must both allow",
        "p x/out pod=a: eg to pods pod=b\n p x/in pod=b: in from pods pod=c\n - x/a x/b 80\n + x/c x/b 80
         p x/in pod=b: in from pods pod=a\n + x/a x/b 80\n - x/c x/b 80",
    );
    check(
        "isolation of one direction leaves replies alone",
        "p x/in *: in none
         + x/a y/a 80
         - y/a x/a 80",
    );
}

/// Who is meant.
#[test]
fn peers() {
    check("a pod selector means the own namespace", "p x/p pod=a: in from pods pod=b\n in x/a 80: x/b");
    check(
        "an empty pod selector means the whole own namespace",
        "p x/p pod=a: in from pods *
         in x/a 80: x/*",
    );
    check("a namespace selector means all its pods", "p x/p pod=a: in from ns ns=y\n in x/a 80: y/*");
    check(
        "an empty namespace selector means every namespace",
        "p x/p pod=a: in from ns *
         in x/a 80: all
         - 192.0.2.1 x/a 80",
    );
    check("both in one item: AND", "p x/p pod=a: in from ns ns=y pods pod=b\n in x/a 80: y/b");
    check("two items: OR", "p x/p pod=a: in from ns ns=y or pods pod=b\n in x/a 80: y/* x/b\n - z/b x/a 80");
    check(
        "namespaces and pods of every namespace",
        "p x/p pod=a: in from ns * pods pod=b
         in x/a 80: x/b y/b z/b",
    );
    check(
        "a namespace by its name",
        "p x/p pod=a: in from ns kubernetes.io/metadata.name=z
         in x/a 80: z/*",
    );
    check("namespaces In", "p x/p pod=a: in from ns ns=y|z\n in x/a 80: y/* z/*");
    check("namespaces NotIn", "p x/p pod=a: in from ns ns!=x|z\n in x/a 80: y/*");
    check("namespaces Exists", "n z other=1\n p x/p pod=a: in from ns ns\n in x/a 80: x/* y/*");
    check("namespaces DoesNotExist", "n z other=1\n p x/p pod=a: in from ns !ns\n in x/a 80: z/*");
    check("pods In", "p x/p pod=a: in from pods pod=b|c\n in x/a 80: x/b x/c");
    check("pods NotIn", "p x/p pod=a: in from ns * pods pod!=a|b\n in x/a 80: x/c y/c z/c");
    check(
        "NotIn matches who lacks the key",
        "l y/b other=1
         p x/p pod=a: in from ns ns=y pods pod!=a
         in x/a 80: y/b y/c",
    );
    check("DoesNotExist", "l y/b other=1\n p x/p pod=a: in from ns ns=y pods !pod\n in x/a 80: y/b");
    check("Exists", "l y/b other=1\n p x/p pod=a: in from ns ns=y pods pod\n in x/a 80: y/a y/c");
    check(
        "labels and expressions of one selector: all hold",
        "l x/b pod=b,tier=q
         l x/c pod=c,tier=q
         p x/p pod=a: in from pods tier=q,pod!=c
         in x/a 80: x/b",
    );
    check(
        "requirements that exclude each other select nobody",
        "p x/p pod=a: in from pods pod=b,!pod
         in x/a 80: none",
    );
    check(
        "the selected pods by expression",
        "p x/p pod!=a|b: in none\n in x/c 80: none\n in x/a 80: all\n l x/b other=1\n in x/b 80: none",
    );
    check(
        "no peers: anybody, pods or not",
        "p x/p pod=a: in ports tcp/80
         in x/a 80: all
         + 192.0.2.1 x/a 80
         - x/b x/a 81",
    );
    check(
        "egress by selectors",
        "p x/p pod=a: eg to ns ns=y pods pod=b or pods pod=c\n out x/a 80: y/b x/c\n - x/a 192.0.2.1 80",
    );
    check(
        "a selector doesn't mean nodes or strangers",
        "p x/p pod=a: in from ns *
         - fwd:n2 x/a 80
         - 198.51.100.1 x/a 80",
    );
    check(
        "a namespace that isn't known has no labels",
        "pod w/a pod=a n1 10.1.9.1
         p x/p pod=a: in from ns ns!=x
         in x/a 80: y/* z/*",
    );
    check(
        "but all namespaces means it too",
        "pod w/a pod=a n1 10.1.9.1
         p x/p pod=a: in from ns *
         in x/a 80: all",
    );
}

/// What happens while things change.
#[test]
fn changes() {
    check(
        "a policy is updated",
        "p x/p pod=a: in from pods pod=b
         in x/a 80: x/b
         p x/p pod=a: in from pods pod=c
         in x/a 80: x/c",
    );
    check("a policy is deleted", "p x/p pod=a: in none\n in x/a 80: none\n d x/p\n in x/a 80: all");
    check(
        "of two policies one is deleted",
        "p x/p pod=a: in from pods pod=b
         p x/q pod=a: in from pods pod=c
         in x/a 80: x/b x/c
         d x/p
         in x/a 80: x/c",
    );
    check(
        "a policy selects others than before",
        "p x/p pod=a: in none
         p x/p pod=b: in none
         in x/a 80: all
         in x/b 80: none",
    );
    check(
        "a peer's label comes and goes",
        "p x/p pod=a: in from pods role=ok
         in x/a 80: none
         l x/b pod=b,role=ok
         in x/a 80: x/b
         l x/b pod=b
         in x/a 80: none",
    );
    check(
        "the pod's own label comes and goes",
        "p x/p closed=yes: in none
         in x/a 80: all
         l x/a pod=a,closed=yes
         in x/a 80: none
         l x/a pod=a
         in x/a 80: all",
    );
    check(
        "a namespace's label comes and goes",
        "p x/p pod=a: in from ns team=q
         in x/a 80: none
         n y ns=y,team=q
         in x/a 80: y/*
         n y ns=y
         n z team=q
         in x/a 80: z/*",
    );
    check(
        "a namespace goes",
        "p x/p pod=a: in from ns ns=y
         in x/a 80: y/*
         gone y/a
         gone y/b
         gone y/c
         in x/a 80: none",
    );
    check(
        "an address is given to another pod",
        "p x/p pod=a: in from pods pod=b
         + 10.1.1.2 x/a 80
         gone x/b
         - 10.1.1.2 x/a 80
         pod y/new pod=b n1 10.1.1.2,fd01::1:2
         - y/new x/a 80
         pod x/new pod=b n1 10.1.1.9
         + x/new x/a 80",
    );
    check(
        "a pod's named port moves",
        "p x/p pod=a: in ports tcp/web
         in x/a 80: none
         pod x/a pod=a n1 10.1.1.1,fd01::1:1 tcp/80=web
         in x/a 80: all
         pod x/a pod=a n1 10.1.1.1,fd01::1:1 tcp/81=web
         in x/a 80: none
         in x/a 81: all",
    );
    check(
        "a pod comes after its policy",
        "p x/p pod=d: in from pods pod=b
         pod x/d pod=d n2 10.1.1.4,fd01::1:4
         in x/d 80: x/b",
    );
    check(
        "layer after layer",
        "p x/deny *: in none; eg none
         in x/a 80: none
         p x/in pod=a: in from pods pod=b
         in x/a 80: none
         p x/out pod=b: eg to pods pod=a
         in x/a 80: x/b
         - x/a x/b 80",
    );
}

/// Nodes, the pod itself, names, defaults.
#[test]
fn surroundings() {
    check(
        "a pod always reaches itself",
        "p x/p *: in none; eg none
         + x/a x/a 80
         + x/a x/a icmp
         + 10.1.1.1 x/a 81/udp",
    );
    check(
        "processes of the own node always come in",
        "p x/p *: in none
         + node:n1 x/a 80
         + node:n1 x/a icmp
         - node:n2 x/a 80",
    );
    check(
        "what the own node forwards is judged",
        "p x/p *: in none
         - fwd:n1 x/a 80
         p x/q pod=a: in from block 10.200.0.1/32
         + fwd:n1 10.1.1.1 80",
    );
    check(
        "to the own node policy decides",
        "p x/p pod=a: eg none
         - x/a node:n1 22
         node-egress allow
         + x/a node:n1 22
         - x/a node:n2 22",
    );
    check(
        "default deny opens DNS for the system pod",
        "p x/p *: eg none
         - x/a 10.96.0.10 53/udp
         p x/dns *: eg to ns kubernetes.io/metadata.name=kube-system pods k8s-app=kube-dns ports udp/53 tcp/53
         + x/a 10.96.0.10 53/udp
         + x/a fd03::a 53/tcp
         - x/a 10.96.0.10 9153",
    );
    check(
        "DNS by its port's name",
        "p x/dns *: eg to ns kubernetes.io/metadata.name=kube-system ports udp/dns tcp/dns-tcp
         + x/a 10.96.0.10 53/udp
         + x/a 10.96.0.10 53/tcp",
    );
    check(
        "DNS by port to anybody",
        "p x/dns *: eg ports udp/53
         + x/a 10.96.0.10 53/udp
         - x/a 10.96.0.10 53/tcp",
    );
    check(
        "no policy selects the resolver",
        "p kube-system/deny *: in none; eg none
         + x/a 10.96.0.10 53/udp",
    );
    check(
        "the fabric's default closes who isn't selected",
        "default deny
         in x/a 80: none
         p x/p pod=a: in from pods pod=b
         - x/b x/a 80
         p x/q pod=b: eg to pods pod=a
         + x/b x/a 80
         + node:n2 x/c 80",
    );
    check("a default for one direction", "default deny-ingress\n in x/a 80: none\n + x/a 192.0.2.1 80");
    check(
        "a namespace's own default",
        "n y ns=y,weft.io/default-policy=deny-ingress
         in y/a 80: none
         in x/a 80: all
         default deny
         n y weft.io/default-policy=allow
         - x/a y/a 80
         + y/b y/a 80",
    );
    check(
        "a policy takes the place of the default",
        "default deny
         p x/p *: in; eg
         in x/a 80: x/*
         p y/p *: in; eg
         + x/a y/a 80",
    );
    check(
        "a pod of one family",
        "pod x/d pod=d n1 10.1.1.4
         p x/p *: in from pods pod=d
         in x/a 80: x/d
         - fd01::1:4 x/a 80",
    );
}
