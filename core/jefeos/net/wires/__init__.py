"""Kinds of wire: a LAN in this process (lan.py), sockets of the host in other programs' framings (sockets.py), a tap
device of the host (tap.py), and a tee that writes what passes to a file (pcap.py)."""
