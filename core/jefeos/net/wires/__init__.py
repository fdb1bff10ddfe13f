"""Kinds of wire: a LAN in this process (lan.py) and one between processes (segment.py), sockets of the host in other
programs' framings (sockets.py); in front of any of them, faults (faulty.py) and a tee that writes what passes to a file
(pcap.py)."""
