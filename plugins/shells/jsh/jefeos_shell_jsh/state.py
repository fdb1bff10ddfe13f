"""The shell's state: variables, parameters, jobs. No I/O."""

from __future__ import annotations

from attrs import define, field

DEFAULT_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@define
class Job:
    """A pipeline that runs in the background or is stopped. ``pids`` are those not yet ended."""

    number: int
    group: int
    pids: list[int]
    last_pid: int
    text: bytes
    stopped: bool = False
    status: int = 0


@define
class State:
    """What a shell knows, and what a subshell gets a copy of."""

    name: bytes = b"jsh"
    pid: int = 0
    positional: list[bytes] = field(factory=list)
    values: dict[bytes, bytes] = field(factory=dict)
    exported: set[bytes] = field(factory=set)
    status: int = 0
    last_background: int | None = None
    jobs: dict[int, Job] = field(factory=dict)

    def copy(self) -> State:
        """For a subshell: it has no jobs of its own."""
        return State(
            self.name,
            self.pid,
            list(self.positional),
            dict(self.values),
            set(self.exported),
            self.status,
            self.last_background,
        )

    def take_environment(self, environ: dict[bytes, bytes]) -> None:
        """Start from the environment: what was in it is exported."""
        self.values.update(environ)
        self.exported.update(environ)
        self.values.setdefault(b"PATH", DEFAULT_PATH)
        self.values[b"IFS"] = b" \t\n"
        self.exported.discard(b"IFS")

    def environment(self) -> dict[bytes, bytes]:
        """What commands get."""
        return {name: self.values[name] for name in self.exported if name in self.values}

    def get(self, name: bytes) -> bytes | None:
        """A variable or special parameter, None if it is not set."""
        value = self.values.get(name)
        if value is not None:
            return value
        if name.isdigit():
            index = int(name[:9])
            if index == 0:
                return self.name
            return self.positional[index - 1] if index <= len(self.positional) else None
        if name == b"?":
            return b"%d" % self.status
        if name == b"$":
            return b"%d" % self.pid
        if name == b"#":
            return b"%d" % len(self.positional)
        if name == b"!":
            return None if self.last_background is None else b"%d" % self.last_background
        if name == b"-":
            return b""
        return None

    def set(self, name: bytes, value: bytes) -> None:
        self.values[name] = value

    def unset(self, name: bytes) -> None:
        self.values.pop(name, None)
        self.exported.discard(name)

    def new_job(self, group: int, pids: list[int], text: bytes) -> Job:
        """Note a job under the lowest free number."""
        number = 1
        while number in self.jobs:
            number += 1
        job = self.jobs[number] = Job(number, group, pids, pids[-1], text)
        return job
