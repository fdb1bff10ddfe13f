"""Terminals: the line discipline, terminals with job control, pseudo terminals and the console.

::

    program  <- TtyFile <- Tty ( LineDiscipline ) <- TtyDriver     console: the host's terminal
                                                                    pty: the master's side

* `termios`    the settings and their Linux values (declarations only)
* `line`       the line discipline: bytes in, edited lines and echo out; no I/O, no tasks, no clock
* `tty`        a terminal: input and output queues, sessions, the foreground group, hang-up
* `pty`        pairs of pseudo terminals and the filesystem that lists them (``/dev/pts``)
* `console`    the system console on the streams of the host
"""
