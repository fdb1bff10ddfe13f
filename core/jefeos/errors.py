"""Errors of the kernel, each with an errno.

Two families share one base, `JefeError`:

* `KernelError` fails a system call. Kernel code raises it with a Linux errno and the dispatcher turns it
  into the negative return value. It is cheap to make, since failing calls are common (``ENOENT``, ``EAGAIN``).
* The others speak to the person or program that uses JefeOS from outside: wrong use, broken plugins, bad
  configuration, a boot that cannot go on. Their message says what was wrong, where, and what to do.

The numbers are Linux's for x86-64 (asm-generic/errno-base.h and errno.h), on every host: a guest program must
see the same values on macOS and Windows, so nothing in the kernel uses the host's `errno` module.
"""

from __future__ import annotations

from enum import IntEnum


class Errno(IntEnum):
    """Linux error numbers (asm-generic/errno-base.h, asm-generic/errno.h)."""

    EPERM = 1
    ENOENT = 2
    ESRCH = 3
    EINTR = 4
    EIO = 5
    ENXIO = 6
    E2BIG = 7
    ENOEXEC = 8
    EBADF = 9
    ECHILD = 10
    EAGAIN = 11
    ENOMEM = 12
    EACCES = 13
    EFAULT = 14
    ENOTBLK = 15
    EBUSY = 16
    EEXIST = 17
    EXDEV = 18
    ENODEV = 19
    ENOTDIR = 20
    EISDIR = 21
    EINVAL = 22
    ENFILE = 23
    EMFILE = 24
    ENOTTY = 25
    ETXTBSY = 26
    EFBIG = 27
    ENOSPC = 28
    ESPIPE = 29
    EROFS = 30
    EMLINK = 31
    EPIPE = 32
    EDOM = 33
    ERANGE = 34
    EDEADLK = 35
    ENAMETOOLONG = 36
    ENOLCK = 37
    ENOSYS = 38
    ENOTEMPTY = 39
    ELOOP = 40
    ENOMSG = 42
    EIDRM = 43
    ECHRNG = 44
    EL2NSYNC = 45
    EL3HLT = 46
    EL3RST = 47
    ELNRNG = 48
    EUNATCH = 49
    ENOCSI = 50
    EL2HLT = 51
    EBADE = 52
    EBADR = 53
    EXFULL = 54
    ENOANO = 55
    EBADRQC = 56
    EBADSLT = 57
    EBFONT = 59
    ENOSTR = 60
    ENODATA = 61
    ETIME = 62
    ENOSR = 63
    ENONET = 64
    ENOPKG = 65
    EREMOTE = 66
    ENOLINK = 67
    EADV = 68
    ESRMNT = 69
    ECOMM = 70
    EPROTO = 71
    EMULTIHOP = 72
    EDOTDOT = 73
    EBADMSG = 74
    EOVERFLOW = 75
    ENOTUNIQ = 76
    EBADFD = 77
    EREMCHG = 78
    ELIBACC = 79
    ELIBBAD = 80
    ELIBSCN = 81
    ELIBMAX = 82
    ELIBEXEC = 83
    EILSEQ = 84
    ERESTART = 85
    ESTRPIPE = 86
    EUSERS = 87
    ENOTSOCK = 88
    EDESTADDRREQ = 89
    EMSGSIZE = 90
    EPROTOTYPE = 91
    ENOPROTOOPT = 92
    EPROTONOSUPPORT = 93
    ESOCKTNOSUPPORT = 94
    EOPNOTSUPP = 95
    EPFNOSUPPORT = 96
    EAFNOSUPPORT = 97
    EADDRINUSE = 98
    EADDRNOTAVAIL = 99
    ENETDOWN = 100
    ENETUNREACH = 101
    ENETRESET = 102
    ECONNABORTED = 103
    ECONNRESET = 104
    ENOBUFS = 105
    EISCONN = 106
    ENOTCONN = 107
    ESHUTDOWN = 108
    ETOOMANYREFS = 109
    ETIMEDOUT = 110
    ECONNREFUSED = 111
    EHOSTDOWN = 112
    EHOSTUNREACH = 113
    EALREADY = 114
    EINPROGRESS = 115
    ESTALE = 116
    EUCLEAN = 117
    ENOTNAM = 118
    ENAVAIL = 119
    EISNAM = 120
    EREMOTEIO = 121
    EDQUOT = 122
    ENOMEDIUM = 123
    EMEDIUMTYPE = 124
    ECANCELED = 125
    ENOKEY = 126
    EKEYEXPIRED = 127
    EKEYREVOKED = 128
    EKEYREJECTED = 129
    EOWNERDEAD = 130
    ENOTRECOVERABLE = 131
    ERFKILL = 132

    EWOULDBLOCK = 11
    EDEADLOCK = 35
    ENOTSUP = 95


class JefeError(Exception):
    """Base of every error that JefeOS raises on purpose. ``errno`` is the Linux number that fits it."""

    def __init__(self, message: str = "", errno: int = Errno.EIO) -> None:
        super().__init__(message)
        self.errno = errno


class KernelError(JefeError):
    """A system call, or kernel work for one, failed with ``errno``."""

    def __init__(self, errno: int, message: str = "") -> None:
        super().__init__(message, errno)

    def __str__(self) -> str:
        name = errno_name(self.errno)
        message = super().__str__()
        return f"{name}: {message}" if message else name


class CorruptError(KernelError):
    """On-disk or on-wire data breaks its own format. Reads give EUCLEAN; the message names the structure."""

    def __init__(self, message: str, errno: int = Errno.EUCLEAN) -> None:
        super().__init__(errno, message)


class UsageError(JefeError):
    """The caller of a Python interface or of the command line asked for something that makes no sense."""

    def __init__(self, message: str, errno: int = Errno.EINVAL) -> None:
        super().__init__(message, errno)


class ConfigError(UsageError):
    """A boot option, environment variable or configuration file has an invalid value."""


class PluginError(JefeError):
    """A plugin is missing, broken, incompatible or clashes with another one."""


class BootError(JefeError):
    """The system cannot be booted as configured."""


def errno_name(number: int) -> str:
    """The symbolic name of a Linux errno (``2`` gives ``ENOENT``), or ``errno N`` for an unknown one."""
    try:
        return Errno(number).name
    except ValueError:
        return f"errno {number}"
