# Sends frames as a pod's end would, true ones and lies, and prints the names of those that its node's bridge let in.
# Usage: frames.py POD_DEVICE. Runs in the node's namespace, with weftbr0 there. Each frame bears its name in its trailer.
import select, socket, struct, sys, time

mac = lambda s: bytes.fromhex(s.replace(":", ""))
p6 = lambda a: socket.inet_pton(socket.AF_INET6, a)
p4 = socket.inet_aton
BRIDGE, MINE, OTHER = mac("02:57:45:46:54:01"), mac("02:00:00:00:01:01"), mac("02:00:00:00:01:02")
LINK_LOCAL, OWN4, OWN6, NEXT4, NEXT6 = "fe80::ff:fe00:101", "10.128.1.1", "fd5a:7e00:0:1::1", "10.128.1.2", "fd5a:7e00:0:1::2"
NODE4, NODE6 = "10.111.0.1", "fe80::1"

def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF

def icmp6(source, body, eth=MINE, to=NODE6):
    pseudo = p6(source) + p6(to) + struct.pack("!IHBB", len(body), 0, 0, 58)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    return BRIDGE + eth + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + p6(source) + p6(to) + body

def solicit(source, target, option=b"", eth=MINE):
    return icmp6(source, bytes([135, 0, 0, 0, 0, 0, 0, 0]) + p6(target) + (b"\x01\x01" + option if option else b""), eth)

def advertise(source, target, option=b"", eth=MINE):
    return icmp6(source, bytes([136, 0, 0, 0, 0x60, 0, 0, 0]) + p6(target) + (b"\x02\x01" + option if option else b""), eth)

def arp(sender_mac, sender, eth=MINE, header=(1, 0x800, 6, 4)):
    head = struct.pack("!HHBBH", *header, 1)
    return BRIDGE + eth + b"\x08\x06" + head + sender_mac + p4(sender) + bytes(6) + p4("169.254.1.1")

def udp4(source, to=BRIDGE, eth=MINE, tag=b""):
    payload = struct.pack("!HHHH", 9, 9999, 8, 0)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, 17, 0) + p4(source) + p4(NODE4)
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return to + eth + tag + b"\x08\0" + head + payload

router = bytes([134, 0, 0, 0, 64, 0, 7, 8]) + bytes(8)
redirect = bytes([137, 0, 0, 0, 0, 0, 0, 0]) + p6(OWN6) + p6(NEXT6)
echo6 = bytes([128, 0, 0, 0, 0, 1, 0, 1])
FRAMES = {
    "ip4": udp4(OWN4), "ip4-source": udp4(NEXT4), "ip4-mac": udp4(OWN4, eth=OTHER), "vlan": udp4(OWN4, tag=b"\x81\0\0\x05"),
    "qinq": udp4(OWN4, tag=b"\x88\xa8\0\x05\x81\0\0\x06"),
    "ip6": icmp6(OWN6, echo6), "ip6-source": icmp6(NEXT6, echo6), "ip6-mac": icmp6(OWN6, echo6, OTHER), "ip6-link-local": icmp6(LINK_LOCAL, echo6),
    "arp": arp(MINE, OWN4), "arp-sender": arp(MINE, NEXT4), "arp-mac": arp(OTHER, OWN4), "arp-frame": arp(MINE, OWN4, OTHER),
    "arp-form": arp(MINE, OWN4, header=(6, 0x800, 6, 4)),
    "solicit": solicit(LINK_LOCAL, NODE6, MINE), "solicit-bare": solicit(OWN6, NODE6), "solicit-option": solicit(OWN6, NODE6, OTHER),
    "solicit-source": solicit(NEXT6, NODE6, MINE), "detect": solicit("::", LINK_LOCAL), "detect-other": solicit("::", NEXT6),
    "advertise": advertise(LINK_LOCAL, OWN6, MINE), "advertise-bare": advertise(OWN6, OWN6), "advertise-target": advertise(OWN6, NEXT6, MINE),
    "advertise-option": advertise(OWN6, OWN6, OTHER), "advertise-source": advertise(NEXT6, OWN6, MINE),
    "router": icmp6(LINK_LOCAL, router), "router-own": icmp6(OWN6, router), "redirect": icmp6(OWN6, redirect), "other": BRIDGE + MINE + b"\x88\xb5" + bytes(46),
}
# What goes around the bridge is seen by a socket of the node, not on the bridge.
AROUND = {"around-3": udp4("198.51.100.3", mac("01:80:c2:00:00:03")), "around-14": udp4("198.51.100.14", mac("01:80:c2:00:00:0e"))}

ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
ear.bind(("weftbr0", 3))
node = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
node.bind(("0.0.0.0", 9999))
pod = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
pod.bind((sys.argv[1], 0))
for name, frame in {**FRAMES, **AROUND, "end": udp4(OWN4)}.items():
    pod.send(frame + b"|" + name.encode() + b"|" + bytes(8))

passed, end = set(), time.monotonic() + 5
while "end" not in passed:
    if not select.select([ear], [], [], max(0, end - time.monotonic()))[0]:
        sys.exit("the last frame didn't arrive in 5 s: " + " ".join(passed))
    data = ear.recv(2048)
    passed |= {name for name in [*FRAMES, "end"] if b"|" + name.encode() + b"|" in data}
# The last frame came through the same queue, so what was sent before it has been delivered.
senders = set()
while node in select.select([node], [], [], 0)[0]:
    senders.add(node.recvfrom(64)[1][0])
passed |= {name for name, source in (("around-3", "198.51.100.3"), ("around-14", "198.51.100.14")) if source in senders}
print(" ".join(name for name in [*FRAMES, *AROUND] if name in passed))
