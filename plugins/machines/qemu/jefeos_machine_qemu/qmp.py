"""QMP, QEMU's management protocol: JSON objects, one a line. Used rarely, so every command waits for its answer."""

from __future__ import annotations

import json
import socket
from typing import Any, Final

from jefeos.errors import BootError, Errno, KernelError

COMMAND_TIMEOUT_S: Final = 10.0
START_TIMEOUT_S: Final = 60.0
RECEIVE_BYTES: Final = 65536


class QmpChannel:
    """One end of the socket. Events are passed over."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = b""

    def handshake(self) -> None:
        """Wait for QEMU's greeting, which comes when every device is there. Raises BootError."""
        self._connection.settimeout(START_TIMEOUT_S)
        try:
            greeting = self._read()
            if "QMP" not in greeting:
                raise BootError(f"QEMU greets with {greeting!r}")
            self.execute("qmp_capabilities")
        except KernelError as error:
            raise BootError(f"QEMU did not start: {error}") from error
        self._connection.settimeout(COMMAND_TIMEOUT_S)

    def execute(self, command: str, **arguments: object) -> Any:
        """Have a command done: what it returns. Raises KernelError(EIO), with QEMU's words if it has any."""
        request = {"execute": command, "arguments": arguments}
        try:
            self._connection.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise KernelError(Errno.EIO, f"QEMU has closed its QMP socket ({error.strerror})") from error
        while True:
            answer = self._read()
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise KernelError(Errno.EIO, f"QEMU refuses {command}: {answer['error'].get('desc')}")

    def _read(self) -> dict[str, Any]:
        while b"\n" not in self._rest:
            try:
                data = self._connection.recv(RECEIVE_BYTES)
            except OSError as error:
                raise KernelError(Errno.EIO, f"no answer from QEMU ({error})") from error
            if not data:
                raise KernelError(Errno.EIO, "QEMU has closed its QMP socket")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise KernelError(Errno.EIO, f"QEMU says {line[:80]!r}, which is not JSON") from error
        if not isinstance(answer, dict):
            raise KernelError(Errno.EIO, f"QEMU says {line[:80]!r}, which is no answer")
        return answer
