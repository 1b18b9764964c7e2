//! Hard cases of addresses and ports, as in `hard_cases_tests.rs`.

use crate::fixture::script::check;

/// Which addresses are meant.
#[test]
fn blocks() {
    check(
        "a block lets strangers in",
        "p x/p pod=a: in from block 192.0.2.0/24
         + 192.0.2.9 x/a 80
         - 192.0.3.9 x/a 80",
    );
    check(
        "a block matches pods too, of its family alone",
        "p x/p pod=a: in from block 10.1.2.0/24
         + 10.1.2.1 x/a 80
         - y/c fd01::1:1 80
         - fd01::2:1 fd01::1:1 80",
    );
    check(
        "a block of one address",
        "p x/p pod=a: in from block 10.1.2.2/32 or block fd01::2:2/128
         in x/a 80: y/b",
    );
    check(
        "except takes out of its own block",
        "p x/p pod=a: in from block 10.1.0.0/16 -10.1.2.0/24 or block fd01::/64 -fd01::2:0/112
         in x/a 80: x/* z/*",
    );
    check(
        "except of one rule doesn't bind another",
        "p x/p pod=a: in from block 10.1.0.0/16 -10.1.2.0/24; in from block 10.1.2.2/32
         + 10.1.2.2 10.1.1.1 80
         - 10.1.2.1 10.1.1.1 80",
    );
    check(
        "except of one policy doesn't bind another",
        "p x/p pod=a: in from block 0.0.0.0/0 -10.1.2.0/24
         - 10.1.2.1 10.1.1.1 80
         p x/q pod=a: in from ns ns=y
         + y/a x/a 80",
    );
    check(
        "several exceptions, some inside others",
        "p x/p pod=a: eg to block 10.0.0.0/8 -10.1.2.0/24 -10.1.0.0/16 -10.9.0.0/16
         - x/a 10.1.2.1 80
         - x/a 10.1.3.1 80
         + x/a 10.2.0.1 80
         - x/a 10.9.0.1 80
         + x/a 10.10.0.1 80",
    );
    check(
        "an exception as large as the block leaves nothing",
        "p x/p pod=a: eg to block 10.0.0.0/8 -10.0.0.0/8
         - x/a 10.2.0.1 80",
    );
    check(
        "first and last address of a block",
        "p x/p pod=a: eg to block 192.0.2.64/26
         - x/a 192.0.2.63 80
         + x/a 192.0.2.64 80
         + x/a 192.0.2.127 80
         - x/a 192.0.2.128 80",
    );
    check(
        "all of a family",
        "p x/p pod=a: eg to block 0.0.0.0/0
         + x/a 255.255.255.255 80
         + x/a 10.1.2.1 80
         - x/a 2001:db8::1 80
         - x/a fd01::2:1 80",
    );
    check(
        "all of IPv6, to its last address",
        "p x/p pod=a: eg to block ::/0
         + x/a ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 80
         - x/a 192.0.2.1 80",
    );
    check(
        "blocks of one family deny all of the other",
        "p x/p pod=a: in from block 10.0.0.0/8
         - fd01::2:1 fd01::1:1 80
         + 10.1.2.1 10.1.1.1 80",
    );
    check(
        "blocks that overlap, each with its ports",
        "p x/p pod=a: eg to block 192.0.2.0/24 ports tcp/80; eg to block 192.0.2.128/25 ports tcp/81
         + x/a 192.0.2.1 80\n - x/a 192.0.2.1 81\n + x/a 192.0.2.200 80\n + x/a 192.0.2.200 81",
    );
    check(
        "a block beside a selector: either is enough",
        "p x/p pod=a: in from pods pod=b or block 192.0.2.0/24
         + x/b x/a 80
         + 192.0.2.1 x/a 80
         - y/b x/a 80",
    );
    check(
        "what a block allows a pod comes on top of what its labels allow",
        "p x/p pod=a: in from pods pod=b ports tcp/80; in from block 10.1.1.2/32 ports tcp/81
         + 10.1.1.2 10.1.1.1 80\n + 10.1.1.2 10.1.1.1 81\n - fd01::1:2 fd01::1:1 81",
    );
    check(
        "a node's address by a block",
        "p x/p pod=a: eg to block 10.200.0.2/32
         + x/a 10.200.0.2 22
         - x/a 10.200.0.1 22",
    );
}

/// Which ports are meant.
#[test]
fn ports() {
    check("one port", "p x/p pod=a: in ports tcp/80\n in x/a 80: all\n in x/a 81: none\n - x/b x/a 80/udp");
    check(
        "every port of a protocol",
        "p x/p pod=a: in ports udp
         in x/a 53/udp: all
         in x/a 80: none
         - x/b x/a icmp",
    );
    check(
        "a port of SCTP",
        "p x/p pod=a: in ports sctp/80
         + x/b x/a 80/sctp
         - x/b x/a 80/tcp
         - x/b x/a 81/sctp",
    );
    check(
        "a range: both ends are in",
        "p x/p pod=a: in ports tcp/80-85
         - x/b x/a 79
         + x/b x/a 80
         + x/b x/a 85
         - x/b x/a 86",
    );
    check(
        "a wide range",
        "p x/p pod=a: in ports tcp/1000-60000
         - x/b x/a 999
         + x/b x/a 1000
         + x/b x/a 60000
         - x/b x/a 60001
         - x/b x/a 1000/udp",
    );
    check(
        "wide ranges that overlap, for others",
        "p x/p pod=a: in from pods pod=b ports tcp/1000-2000; in from pods pod=c ports tcp/1500-3000
         + x/b x/a 1200
         - x/c x/a 1200
         + x/b x/a 1700
         + x/c x/a 1700
         - x/b x/a 2500
         + x/c x/a 2500",
    );
    check("a range of one port", "p x/p pod=a: in ports tcp/81-81\n - x/b x/a 80\n + x/b x/a 81");
    check(
        "up to the last port",
        "p x/p pod=a: in ports tcp/65000-65535
         + x/b x/a 65535
         - x/b x/a 64999",
    );
    check(
        "ranges that touch",
        "p x/p pod=a: in ports tcp/80-89 tcp/90-99
         + x/b x/a 89
         + x/b x/a 90
         - x/b x/a 100",
    );
    check("a port by name", "p x/p pod=a: in ports tcp/serve-80-tcp\n in x/a 80: all\n in x/a 81: none");
    check(
        "a name of another protocol is none",
        "p x/p pod=a: in ports tcp/serve-81-udp
         - x/b x/a 81
         - x/b x/a 81/udp
         p x/p pod=a: in ports udp/serve-81-udp
         + x/b x/a 81/udp",
    );
    check("a name that no pod has matches nothing", "p x/p pod=a: in ports tcp/unheard\n in x/a 80: none");
    check(
        "a name is looked up on each destination: ingress",
        "pod x/d pod=d n1 10.1.1.4,fd01::1:4 tcp/8080=web\n pod x/e pod=e n2 10.1.1.5,fd01::1:5 tcp/9090=web
         p x/p *: in ports tcp/web
         + y/a x/d 8080
         - y/a x/d 9090
         + y/a x/e 9090
         - y/a x/e 8080
         - y/a x/a 8080",
    );
    check(
        "a name is looked up on each destination: egress",
        "pod y/d pod=d n1 10.1.2.4,fd01::2:4 tcp/8080=web\n pod y/e pod=e n2 10.1.2.5,fd01::2:5 tcp/9090=web
         p x/p pod=a: eg to ns ns=y ports tcp/web
         + x/a y/d 8080
         - x/a y/d 9090
         + x/a y/e 9090
         - x/a y/a 8080",
    );
    check(
        "a name to anybody: pods that have it",
        "p x/p pod=a: eg ports tcp/serve-80-tcp
         out x/a 80: all
         - x/a 192.0.2.1 80
         out x/a 81: none",
    );
    check(
        "a name never fits a block",
        "p x/p pod=a: eg to block 0.0.0.0/0 ports tcp/serve-80-tcp
         - x/a 10.1.2.1 80
         - x/a 192.0.2.1 80",
    );
    check(
        "a name fits a block where the pod itself is the destination",
        "p x/p pod=a: in from block 192.0.2.0/24 ports tcp/serve-80-tcp
         + 192.0.2.1 x/a 80
         - 192.0.2.1 x/a 81",
    );
    check(
        "from AND ports, rule by rule",
        "p x/p pod=a: in from pods pod=b ports tcp/80; in from pods pod=c ports tcp/81
         in x/a 80: x/b
         in x/a 81: x/c",
    );
    check(
        "ports of different policies for the same peer",
        "p x/p pod=a: in from pods pod=b ports tcp/80
         p x/q pod=a: in from pods pod=b ports tcp/81
         in x/a 80: x/b
         in x/a 81: x/b
         - x/b x/a 82",
    );
    check(
        "a rule without ports means every protocol",
        "p x/p pod=a: in from pods pod=b
         + x/b x/a icmp
         + x/b x/a 9/sctp
         - x/c x/a icmp",
    );
    check(
        "every port of every protocol isn't every protocol",
        "p x/p pod=a: in ports tcp udp sctp
         + x/b x/a 9/sctp
         - x/b x/a icmp",
    );
    check(
        "egress by port alone",
        "p x/p pod=a: eg ports udp/53
         + x/a 192.0.2.53 53/udp
         - x/a 192.0.2.53 53/tcp
         out x/a 80: none",
    );
}
