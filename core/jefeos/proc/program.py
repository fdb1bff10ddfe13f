"""Finding what a path executes: execve's part before the point of no return.

    path --resolve, permissions--> file --first bytes-->  "#!jefeos-applet NAME"   an applet
                                                          "#!interpreter [arg]"    again, with the interpreter
                                                          a personality's format   a loaded image
                                                          anything else            ENOEXEC

Applets are visible as small files whose first line names them, so that they can be listed, copied and linked like
any program. Nothing of the calling process is changed here; on an error nothing is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from jefeos.errors import Errno, KernelError
from jefeos.personality import Personality, ProgramImage
from jefeos.vfs.file import RegularFile
from jefeos.vfs.flags import R_OK, X_OK, MountFlags, OpenFlags
from jefeos.vfs.permissions import may_access, require_access

if TYPE_CHECKING:
    from jefeos.hookspecs import Applet
    from jefeos.kernel import Kernel
    from jefeos.proc.task import Task
    from jefeos.vfs.path import Path

HEAD_BYTES: Final = 256
"""How much of a file decides what it is (BINPRM_BUF_SIZE)."""
INTERPRETER_DEPTH: Final = 5
"""How often a script's interpreter may itself be a script; more is ELOOP."""
APPLET_MARK: Final = b"#!jefeos-applet "
NAME_BYTES: Final = 15
"""Length of comm (TASK_COMM_LEN less the NUL)."""
S_ISUID: Final = 0o4000
S_ISGID: Final = 0o2000
S_IXGRP: Final = 0o010


@frozen
class Program:
    """What an execve will become: an image of a personality, or an applet."""

    name: bytes
    location: Path
    argv: list[bytes]
    environ: list[bytes]
    image: ProgramImage | None = None
    personality: Personality | None = None
    applet: Applet | None = None
    set_uid: int | None = None
    set_gid: int | None = None


def find_program(
    kernel: Kernel,
    task: Task,
    path: bytes,
    argv: list[bytes],
    environ: list[bytes],
    *,
    at: Path | None = None,
    location: Path | None = None,
    follow: bool = True,
) -> Program:
    """Resolve, check and load. Raises KernelError: ENOENT, EACCES, ENOEXEC, ELOOP, ENOMEM, E2BIG …

    ``location`` is given instead of a path to resolve by fexecve; ``path`` is then only its name.
    """
    name = path.rpartition(b"/")[2][:NAME_BYTES]
    if not argv:
        argv = [b""]
    for _ in range(INTERPRETER_DEPTH):
        if location is None:
            location = kernel.vfs.resolve(task, path, at=at, follow=follow)
        file = _open_executable(location, task)
        try:
            head = file.pread(HEAD_BYTES, 0)
            if head.startswith(APPLET_MARK):
                applet = _applet(kernel, head)
                return Program(name, location, argv, environ, applet=applet)
            if head.startswith(b"#!"):
                interpreter, arguments = _parse_script(head)
                argv = [interpreter, *arguments, path, *argv[1:]]
                path, at, location, follow = interpreter, None, None, True
                continue
            for personality in kernel.personalities:
                if personality.recognises(head):
                    image = personality.load(task, file, path, argv, environ)
                    set_uid, set_gid = _set_ids(location)
                    return Program(
                        name, location, argv, environ, image, personality, None, set_uid, set_gid
                    )
            raise KernelError(Errno.ENOEXEC)
        finally:
            file.unref()
    raise KernelError(Errno.ELOOP)


def _open_executable(location: Path, task: Task) -> RegularFile:
    inode = location.inode
    if inode.is_symlink:
        raise KernelError(Errno.ELOOP)
    if not inode.is_regular or location.mount.flags & MountFlags.NOEXEC:
        raise KernelError(Errno.EACCES)
    require_access(inode, X_OK, task.creds, None)
    if not inode.mode & 0o111:
        raise KernelError(Errno.EACCES)
    if inode.write_count:
        raise KernelError(Errno.ETXTBSY)
    return RegularFile(inode, OpenFlags.RDONLY, location)


def _applet(kernel: Kernel, head: bytes) -> Applet:
    name = head[len(APPLET_MARK) :].partition(b"\n")[0].strip().decode("utf-8", "replace")
    applet = kernel.applets.get(name)
    if applet is None:
        raise KernelError(Errno.ENOEXEC, f"no plugin provides the applet {name!r}")
    return applet


def _parse_script(head: bytes) -> tuple[bytes, list[bytes]]:
    """``#! interpreter [one argument]`` (execve(2), "Interpreter scripts")."""
    line, newline, _ = head[2:].partition(b"\n")
    if not newline and len(head) >= HEAD_BYTES and not any(c in line.strip(b" \t") for c in b" \t"):
        raise KernelError(Errno.ENOEXEC)  # the interpreter's name itself was cut off
    interpreter, _, rest = line.strip(b" \t").replace(b"\t", b" ").partition(b" ")
    if not interpreter or b"\0" in interpreter:
        raise KernelError(Errno.ENOEXEC)
    rest = rest.strip(b" ")
    return interpreter, [rest] if rest else []


def _set_ids(location: Path) -> tuple[int | None, int | None]:
    """Owner and group that a set-id program takes on."""
    inode = location.inode
    if location.mount.flags & MountFlags.NOSUID:
        return None, None
    set_uid = inode.uid if inode.mode & S_ISUID else None
    set_gid = inode.gid if inode.mode & S_ISGID and inode.mode & S_IXGRP else None
    return set_uid, set_gid


def is_readable(location: Path, task: Task) -> bool:
    """Whether the program file may be read: if not, the process is not dumpable."""
    return may_access(location.inode, R_OK, task.creds)
