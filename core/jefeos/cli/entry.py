"""Where the command starts: the quick way for ``boot`` and ``run``, and what an error looks like.

Exit statuses::

    0…255   of the program, or of the last command; 128+n when signal n ended it
    1       a check failed (plugins doctor, plugins show), or something of a command on disks (those of fsck: fsck(8))
    2       wrong usage or configuration
    125     the system could not be booted
    126     the program was found but cannot be run          127   the program was not found

Every error is one line on standard error that starts with ``jefeos:``, a bug of JefeOS included; with JEFEOS_DEBUG=1
in the environment a bug shows its traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from jefeos.errors import Errno, JefeError, KernelError, UsageError

STATUS_USAGE = 2
STATUS_BOOT = 125
STATUS_NOT_RUNNABLE = 126
STATUS_NOT_FOUND = 127
STATUS_INTERRUPTED = 130
STATUS_BROKEN_PIPE = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status and raises no error but SystemExit."""
    _fill_standard_streams()
    try:
        status = _dispatch(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
        return status
    except JefeError as error:
        return _fail(error.args[0] or str(error), status_of(error))
    except BrokenPipeError:
        # The reader of our output is gone; keep the interpreter from complaining when it flushes at exit.
        sys.stdout = None
        return STATUS_BROKEN_PIPE
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), STATUS_BOOT)
    except KeyboardInterrupt:
        return STATUS_INTERRUPTED
    except Exception as error:
        if os.environ.get("JEFEOS_DEBUG"):
            raise
        cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return _fail(f"internal error: {cause} (a bug; JEFEOS_DEBUG=1 shows where)", STATUS_BOOT)


def _fill_standard_streams() -> None:
    """Nothing else may get the numbers 0 to 2, or a program would read and write files of JefeOS itself.

    A stream that was closed (``<&-``) is opened the wrong way round, so that writing to it fails as it would have.
    """
    for number, mode in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_RDONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # the lowest free number: this one
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def status_of(error: JefeError) -> int:
    """The exit status that tells a script what kind of failure this was."""
    status: int | None = getattr(error, "exit_status", None)
    if status is not None:
        return status
    if isinstance(error, UsageError):
        return STATUS_USAGE
    if isinstance(error, KernelError):
        return STATUS_NOT_FOUND if error.errno in (Errno.ENOENT, Errno.ENOTDIR) else STATUS_NOT_RUNNABLE
    return STATUS_BOOT


def _dispatch(arguments: list[str]) -> int:
    from jefeos.cli.options import parse_plainly

    command = arguments[0] if arguments else None
    plain = parse_plainly(arguments[1:]) if command in ("boot", "run") else None
    if plain is not None:
        options, words = plain
        if command == "boot" and not words:
            from jefeos.cli.boot import boot_command

            return boot_command(options)
        if command == "run" and words:
            from jefeos.cli.boot import run_command

            return run_command(options, words)
    from jefeos.cli.app import invoke

    return invoke(arguments)


def _fail(message: str, status: int) -> int:
    print(f"jefeos: {' '.join(message.split())}", file=sys.stderr)
    return status
