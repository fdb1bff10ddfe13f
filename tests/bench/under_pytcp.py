"""PyTCP, a public TCP stack in Python, sends to the host's kernel over a TAP: prints how many MB/s arrived.

    unshare --net PYTHON_WITH_PYTCP under_pytcp.py MEGABYTES

It wants a Python of its own (``pip install pytcp``), which `JEFEOS_PYTCP_PYTHON` names.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time

TAP, HOST, OURS, PORT = "jefepytcp", "10.9.8.1", "10.9.8.2", 7
PIECE = bytes(range(256)) * 64


def main() -> None:
    """See the module's text."""
    from pytcp import TcpIpStack, config

    config.LOG_CHANEL = set()
    total = int(float(sys.argv[1]) * 1e6)
    config.IP6_SUPPORT = False
    stack = TcpIpStack(interface=TAP, ip4_address=f"{OURS}/24", ip6_address="fe80::7/64")
    for words in (f"addr add {HOST}/24 dev {TAP}", f"link set {TAP} up", "link set lo up"):
        subprocess.run(["ip", *words.split()], check=True)
    stack.start()
    taken = 0
    done = threading.Event()
    listener = socket.socket()
    listener.bind((HOST, PORT))
    listener.listen()

    def take() -> None:
        nonlocal taken
        child, _ = listener.accept()
        while taken < total and (data := child.recv(1 << 18)):
            taken += len(data)
        done.set()

    threading.Thread(target=take, daemon=True).start()
    from pytcp.lib import socket as pytcp_socket

    client = pytcp_socket.socket(family=pytcp_socket.AF_INET4, type=pytcp_socket.SOCK_STREAM)
    client.connect((HOST, PORT))
    started = time.perf_counter()
    sent = 0
    while sent < total:
        sent += client.send(PIECE)
    if not done.wait(120):
        print("it did not finish", file=sys.stderr)
    print(taken / 1e6 / (time.perf_counter() - started), flush=True)
    os._exit(0)  # its threads would go on


if __name__ == "__main__":
    main()
