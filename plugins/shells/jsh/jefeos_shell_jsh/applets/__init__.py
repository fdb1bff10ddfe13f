"""The small programs that come with the shell, for a system without a root. Each makes system calls through ``proc``.

They do what their POSIX namesakes do with the options named in their docstrings, no more. An unknown option is one
line and status 2.
"""
