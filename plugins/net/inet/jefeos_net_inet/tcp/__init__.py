"""TCP (RFC 9293), sans-I/O: packets and time come in by calls, packets go out by one (network.py).

    layer.py       the whole: demultiplexing, listeners, resets, counters
    socket.py      what users hold; tuning.py has its options, info.py what can be told of it, ports.py who has which
    connection.py  one connection
      sender.py    its sending half, with congestion.py and rto.py
      recovery.py  losses and what is sent again, with flight.py, rack.py and scoreboard.py
      receiver.py  its receiving half, with reassembly.py and bytequeue.py
      ecn.py       marks of routers, on both halves
      express.py   the short way in and out for the usual segment
      arrival.py   what segments do to it           expiry.py     what time does to it; timers.py is one heap for all
    listener.py    handshakes and SYN cookies       timewait.py   what remains of a connection
    pending.py     connections for gateways         states.py     the table of states
    wire.py, options.py  how segments look          below.py      its place in the stack
"""
