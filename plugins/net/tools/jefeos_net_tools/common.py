"""What the commands share: options, messages, addresses and names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from jefeos.errors import Errno, KernelError, UsageError
from jefeos.net.address import (
    AF_INET6,
    LOOPBACK4,
    LOOPBACK6,
    Address,
    address_text,
    family_of,
    mask_length,
    netmask,
    parse_address,
)
from jefeos.proc.applet import describe
from jefeos.sched.wait import Interrupted

if TYPE_CHECKING:
    from jefeos.net.stack import Interface, NetworkStack
    from jefeos.proc.applet import Proc

    Main = Callable[[Proc, list[bytes]], Awaitable[int]]

STATUS_USAGE = 2
STATUS_FAILURE = 1


class CommandError(Exception):
    """The command cannot do what was asked; the message says why."""

    def __init__(self, message: str, status: int = STATUS_FAILURE) -> None:
        super().__init__(message)
        self.status = status


def usage(text: str) -> CommandError:
    """The command was called wrongly."""
    return CommandError(f"usage: {text}", STATUS_USAGE)


def command(main: Main) -> Main:
    """A command whose errors are one line on standard error."""

    async def run(proc: Proc, argv: list[bytes]) -> int:
        try:
            return await main(proc, argv)
        except CommandError as error:
            message, status = str(error), error.status
        except UsageError as error:
            message, status = str(error), STATUS_USAGE
        except KernelError as error:
            if isinstance(error, Interrupted) or error.errno == Errno.EPIPE:
                raise
            message, status = describe(error), STATUS_FAILURE
        name = argv[0].decode("utf-8", "replace").rpartition("/")[2]
        await proc.write(2, f"{name}: {message}\n".encode())
        return status

    run.__doc__ = main.__doc__
    return run


def words_of(argv: list[bytes]) -> list[str]:
    """The arguments as text."""
    return [word.decode("utf-8", "surrogateescape") for word in argv[1:]]


async def say(proc: Proc, text: str) -> None:
    """Text on standard output."""
    await proc.write(1, text.encode("utf-8", "surrogateescape"))


def stack_of(proc: Proc) -> NetworkStack:
    """The system's network stack. Raises KernelError(EAFNOSUPPORT)."""
    return proc.kernel.net.stack


def require_root(proc: Proc) -> None:
    """EPERM for everybody else."""
    if not proc.task.creds.privileged:
        raise CommandError("only root may do that")


def interface_of(proc: Proc, name: str) -> Interface:
    """An interface by its name."""
    try:
        return stack_of(proc).interface(name)
    except KernelError:
        raise CommandError(f"there is no interface {name!r}") from None


async def resolve(proc: Proc, host: str, family: int = 0) -> Address:
    """The first address of a host."""
    try:
        address = parse_address(host)
        if family not in (0, family_of(address)):
            raise CommandError(f"{host} is an address of the other family")
        return address
    except UsageError:
        pass
    if host in ("localhost", "localhost."):
        return LOOPBACK6 if family == AF_INET6 else LOOPBACK4
    try:
        return (await proc.on_loop(proc.kernel.net.resolver.resolve(host, family)))[0]
    except KernelError as error:
        raise CommandError(f"{host}: {describe(error)}") from None


def parse_network(text: str) -> tuple[Address, int]:
    """``10.0.0.0/8``, ``default`` or one address."""
    if text == "default":
        return bytes(4), 0
    host, _, length = text.partition("/")
    address = parse_address(host)
    bits = 8 * len(address)
    if length and not (length.isdecimal() and int(length) <= bits):
        raise CommandError(f"{text!r}: the prefix length is from 0 to {bits}", STATUS_USAGE)
    return address, int(length) if length else bits


def network_text(address: Address, prefix_length: int) -> str:
    """``default``, an address, or an address with a length."""
    if not prefix_length:
        return "default"
    return address_text(address) + (f"/{prefix_length}" if prefix_length < 8 * len(address) else "")


def mask_text(prefix_length: int) -> str:
    """``255.255.255.0`` for 24."""
    return address_text(netmask(prefix_length))


def parse_mask(text: str) -> int:
    """24 for ``255.255.255.0``."""
    length = mask_length(parse_address(text))
    if length is None:
        raise CommandError(f"{text} is no network mask", STATUS_USAGE)
    return length
