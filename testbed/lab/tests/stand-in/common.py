"""What the stand-ins for the product share: just enough of a pod network, made with ip, to try the lab's own checks on.

Pods of node nK have 10.128.K.I and fd00:128:K::I; nodes reach each other's pods by plain routes over the underlay.
"""
import os
import socket
import subprocess


def number():
    return int(socket.gethostname()[1:])


def ip(*lines):
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n", text=True, check=True, capture_output=True)


def sysctl(name, value):
    with open("/proc/sys/" + name.replace(".", "/"), "w") as file:
        file.write(value)


def ready():
    address = os.environ["NOTIFY_SOCKET"]
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", address)
