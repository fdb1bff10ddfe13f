"""Applets that ask about or act on the system and its processes."""

from __future__ import annotations

from jefeos.errors import Errno, KernelError
from jefeos.proc.applet import Proc
from jefeos.sched.wait import Interrupted

from ..messages import SIGNAL_NAMES, error_text, shown, signal_number
from .common import Chunks, Inputs, Lines, UsageFailure, checked, complain, fail, options
from .dates import FORMAT_DEFAULT, format_time

CLOCK_TICKS = 100


async def pwd(proc: Proc, argv: list[bytes]) -> int:
    """``pwd``."""
    await proc.write(1, proc.getcwd() + b"\n")
    return 0


async def true(proc: Proc, argv: list[bytes]) -> int:
    return 0


async def false(proc: Proc, argv: list[bytes]) -> int:
    return 1


async def env(proc: Proc, argv: list[bytes]) -> int:
    """``env [-i] [name=value...] [command...]``."""
    environ = proc.environ
    words = argv[1:]
    if words[:1] in ([b"-i"], [b"-"]):
        environ = {}
        words.pop(0)
    while words and b"=" in words[0]:
        name, _, value = words.pop(0).partition(b"=")
        environ[name] = value
    if not words:
        await proc.write(1, b"".join(name + b"=" + value + b"\n" for name, value in environ.items()))
        return 0
    paths = [words[0]] if b"/" in words[0] else [
        (folder or b".") + b"/" + words[0] for folder in environ.get(b"PATH", b"/bin:/usr/bin").split(b":")
    ]  # fmt: skip
    failure = KernelError(Errno.ENOENT)
    for path in paths:
        try:
            pairs = [name + b"=" + value for name, value in environ.items()]
            await proc.kernel.lifecycle.execute(proc.task, path, words, pairs)
        except Interrupted:
            raise
        except KernelError as error:
            failure = error
            if error.errno not in (Errno.ENOENT, Errno.ENOTDIR):
                break
    await complain(proc, argv[0], f"{shown(words[0])}: {error_text(failure)}")
    return 127 if failure.errno == Errno.ENOENT else 126


@checked
async def sleep(proc: Proc, argv: list[bytes]) -> int:
    """``sleep seconds...``, with fractions and the suffixes s, m, h, d."""
    total = 0.0
    for text in argv[1:]:
        factor = {b"s": 1, b"m": 60, b"h": 3600, b"d": 86400}.get(text[-1:], 0)
        digits = text[:-1] if factor else text
        if not digits.replace(b".", b"", 1).isdigit() or len(digits) > 15:
            raise UsageFailure(f"{shown(text)} is no time")
        total += float(digits) * (factor or 1)
    if len(argv) < 2:
        raise UsageFailure("how many seconds?")
    await proc.sleep(min(total, 1e9))
    return 0


async def kill(proc: Proc, argv: list[bytes]) -> int:
    """``kill [-signal | -s signal] pid...``, ``kill -l``."""
    words = argv[1:]
    if words[:1] == [b"-l"]:
        await proc.write(
            1, " ".join(SIGNAL_NAMES[number] for number in sorted(SIGNAL_NAMES)).encode() + b"\n"
        )
        return 0
    signo: int | None = 15
    if words[:1] == [b"-s"] and len(words) > 1:
        signo = signal_number(words[1])
        words = words[2:]
    elif words and words[0] == b"--":
        words = words[1:]
    elif words and words[0][:1] == b"-" and len(words) > 1:
        signo = signal_number(words[0][1:])
        words = words[1:]
    if words[:1] == [b"--"]:
        words = words[1:]
    if signo is None or not words:
        await complain(proc, argv[0], "no such signal" if signo is None else "which process?")
        return 2
    status = 0
    for word in words:
        digits = word.removeprefix(b"-")
        if not digits.isdigit() or len(digits) > 18:
            await complain(proc, argv[0], f"{shown(word)} is no process")
            status = 1
            continue
        try:
            proc.kill(int(word), signo)
        except KernelError as error:
            status = await fail(proc, argv[0], word, error)
    return status


@checked
async def uname(proc: Proc, argv: list[bytes]) -> int:
    """``uname [-asnrvm]``."""
    found, _ = options(argv, b"asnrvmpio")
    values = {
        "s": await _proc_text(proc, b"/proc/sys/kernel/ostype", b"Linux"),
        "n": await _proc_text(proc, b"/proc/sys/kernel/hostname", proc.kernel.names.hostname),
        "r": await _proc_text(proc, b"/proc/sys/kernel/osrelease", b"unknown"),
        "v": await _proc_text(proc, b"/proc/sys/kernel/version", b"unknown"),
        "m": b"x86_64",
    }
    wanted = [letter for letter in values if letter in found or "a" in found] or ["s"]
    await proc.write(1, b" ".join(values[letter] for letter in wanted) + b"\n")
    return 0


async def _proc_text(proc: Proc, path: bytes, otherwise: bytes) -> bytes:
    try:
        return (await read_file(proc, path)).strip()
    except KernelError:
        return otherwise


async def read_file(proc: Proc, path: bytes) -> bytes:
    """The whole of a (small) file."""
    descriptor = await proc.open(path)
    try:
        return await proc.read_all(descriptor)
    finally:
        proc.close(descriptor)


@checked
async def ps(proc: Proc, argv: list[bytes]) -> int:
    """``ps``: every process, from /proc."""
    lines = [b"    PID    PPID S     TIME COMMAND\n"]
    try:
        names = [entry.name for entry in await proc.readdir(b"/proc")]
    except KernelError as error:
        return await fail(proc, argv[0], b"/proc", error)
    for pid in sorted(int(name) for name in names if name.isdigit()):
        try:
            status = await read_file(proc, b"/proc/%d/stat" % pid)
            command = await read_file(proc, b"/proc/%d/cmdline" % pid)
        except KernelError:
            continue  # ended meanwhile
        name, _, rest = status.partition(b"(")[2].rpartition(b") ")
        fields = rest.split()
        if len(fields) < 13:
            continue
        seconds = (int(fields[11]) + int(fields[12])) // CLOCK_TICKS
        shown_command = b" ".join(command.rstrip(b"\0").split(b"\0")) or b"[" + name + b"]"
        time = b"%d:%02d" % divmod(seconds, 60)
        lines.append(b"%7d %7d %s %s %s\n" % (pid, int(fields[1]), fields[0], time.rjust(8), shown_command))
    await proc.write(1, b"".join(lines))
    return 0


async def mount(proc: Proc, argv: list[bytes]) -> int:
    """``mount``: lists what is mounted."""
    if len(argv) > 1:
        await complain(proc, argv[0], "only lists; mounts are made with --mount at boot")
        return 2
    try:
        table = await read_file(proc, b"/proc/mounts")
    except KernelError as error:
        return await fail(proc, argv[0], b"/proc/mounts", error)
    for line in table.splitlines():
        fields = line.split()
        if len(fields) >= 4:
            await proc.write(1, b"%s on %s type %s (%s)\n" % tuple(fields[:4]))
    return 0


@checked
async def free(proc: Proc, argv: list[bytes]) -> int:
    """``free [-bkm]``: memory, from /proc/meminfo."""
    found, _ = options(argv, b"bkmh")
    try:
        text = await read_file(proc, b"/proc/meminfo")
    except KernelError as error:
        return await fail(proc, argv[0], b"/proc/meminfo", error)
    kilobytes = {}
    for line in text.splitlines():
        name, _, rest = line.partition(b":")
        value = rest.split()[0] if rest.split() else b""
        if value.isdigit():
            kilobytes[name] = int(value)
    total, unused = kilobytes.get(b"MemTotal", 0), kilobytes.get(b"MemFree", 0)
    cached = kilobytes.get(b"Cached", 0) + kilobytes.get(b"Buffers", 0)
    values = [total, total - unused - cached, unused, cached, kilobytes.get(b"MemAvailable", unused)]
    unit = 1 / 1024 if "b" in found else 1024 if "m" in found else 1
    header = "".join(f"{name:>12}" for name in ("total", "used", "free", "cached", "available"))
    row = "".join(f"{int(value / unit):>12}" for value in values)
    await proc.write(1, f"      {header}\nMem:  {row}\n".encode())
    return 0


async def date(proc: Proc, argv: list[bytes]) -> int:
    """``date [-u] [+format]``."""
    words = [word for word in argv[1:] if word != b"-u"]
    pattern = FORMAT_DEFAULT
    if words:
        if words[0][:1] != b"+" or len(words) > 1:
            await complain(proc, argv[0], f"{shown(words[0])}: only +format is known")
            return 2
        pattern = words[0][1:].decode("utf-8", "surrogateescape")
    text = format_time(pattern, proc.kernel.clock.realtime_ns())
    await proc.write(1, text.encode("utf-8", "surrogateescape") + b"\n")
    return 0


@checked
async def seq(proc: Proc, argv: list[bytes]) -> int:
    """``seq [first [step]] last``, whole numbers."""
    try:
        numbers = [int(word) for word in argv[1:]]
    except ValueError:
        raise UsageFailure("needs whole numbers") from None
    if not 1 <= len(numbers) <= 3:
        raise UsageFailure("needs one to three numbers")
    first, step = (1, 1) if len(numbers) == 1 else (numbers[0], 1 if len(numbers) == 2 else numbers[1])
    if step == 0:
        raise UsageFailure("the step is 0")
    last = numbers[-1]
    batch: list[bytes] = []
    for value in range(first, last + (1 if step > 0 else -1), step):
        batch.append(b"%d\n" % value)
        if len(batch) >= 1000:
            await proc.write(1, b"".join(batch))
            batch.clear()
    await proc.write(1, b"".join(batch))
    return 0


@checked
async def tee(proc: Proc, argv: list[bytes]) -> int:
    """``tee [-a] [file...]``."""
    found, paths = options(argv, b"ai")
    status = 0
    targets = [1]
    for path in paths:
        try:
            targets.append(await proc.create(path, append="a" in found))
        except KernelError as error:
            status = await fail(proc, argv[0], path, error)
    async for data in Chunks(proc, 0):
        for descriptor in targets:
            await proc.write(descriptor, data)
    return status


@checked
async def yes(proc: Proc, argv: list[bytes]) -> int:
    """``yes [word...]``: until nobody reads."""
    line = (b" ".join(argv[1:]) or b"y") + b"\n"
    while True:
        await proc.write(1, line * (4096 // len(line) + 1))


@checked
async def sync(proc: Proc, argv: list[bytes]) -> int:
    """``sync``: writes everything back."""
    proc.kernel.memory.page_cache.writeback()
    return 0


@checked
async def sort(proc: Proc, argv: list[bytes]) -> int:
    """``sort [-rnu] [file...]``."""
    found, paths = options(argv, b"rnu")
    failed: list[bytes] = []
    lines: list[bytes] = []
    async for path, descriptor in Inputs(proc, argv[0], paths, failed):
        try:
            async for line in Lines(proc, descriptor):
                lines.append(line.removesuffix(b"\n"))
        except KernelError as error:
            await fail(proc, argv[0], path, error)
            failed.append(path)
    if "n" in found:
        lines.sort(key=lambda line: (_leading_number(line), line), reverse="r" in found)
    else:
        lines.sort(reverse="r" in found)
    if "u" in found:
        lines = [line for index, line in enumerate(lines) if index == 0 or line != lines[index - 1]]
    await proc.write(1, b"".join(line + b"\n" for line in lines))
    return 2 if failed else 0


def _leading_number(line: bytes) -> float:
    text = line.strip()
    end = 1 if text[:1] in (b"-", b"+") else 0
    while end < len(text) and text[end : end + 1] in b"0123456789.":
        end += 1
    try:
        return float(text[:end])
    except ValueError:
        return 0.0
