"""The boot options of the command line, declared once for the argument parser and for the quick way past it.

`BOOT_OPTIONS` is the list. `parse_plainly` reads the options of ``boot`` and ``run`` where there is nothing to complain
about; for everything else (help, mistakes) it gives up and the full parser of `jefeos.cli.app` has its say. That
saves a tenth of a second of imports at each start of a program.

Options that were not given are None, so that environment and TOML can speak (`jefeos.config`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class BootOption(NamedTuple):
    """One option: its name in `jefeos.config.OPTIONS`, its spelling, and its kind: text, texts, number or flag."""

    name: str
    flag: str
    kind: str
    metavar: str | None
    help: str


INJECT_HELP = (
    "Make system calls fail, as strace does: SET[:error=ERRNO|:retval=N][:signal=SIG][:when=FIRST[..LAST][+[STEP]]]"
    "[:probability=P][:pid=PID][:comm=NAME]. SET is names with commas, all, !names, or a point inside the kernel:"
    " @frame, @copy, @io, @descriptor, @buffer, @process, @wait. Repeatable."
)

ROOT_HELP = (
    "Root filesystem: a folder, an archive, a disk image (IMAGE:2 for its second partition, IMAGE@NAME for a "
    "snapshot), or a disk of the machine"
    " (sda1). Writes stay in memory unless :rw."
)
MOUNT_HELP = (
    "Mount a host folder, archive or disk image (IMAGE:2:/mnt, IMAGE@SNAPSHOT:/mnt). Writes stay in memory unless :rw. "
    "Repeatable."
)
DISK_HELP = (
    "Give the machine a disk. Filesystems on it are mounted under /mnt/sda1 and so on, to be written unless :ro."
    " Repeatable."
)
NET_HELP = "Network card on a wire: user, none, lan:NAME, tap:NAME, stream:PATH … (boot: user)."
NET_FAULTS_HELP = (
    "What frames suffer on the wire, both ways, by --seed: loss, duplication, corruption, reordering, delay, jitter, as"
    " loss=5%,delay=20ms."
)

BOOT_OPTIONS = (
    BootOption("root", "--root", "text", "TAR|DIR|IMAGE[:rw]", ROOT_HELP),
    BootOption("init", "--init", "text", "PROG", "First program (default: /init of the root, or /bin/sh)."),
    BootOption("no_reboot", "--no-reboot", "flag", None, "End where a program restarts the system."),
    BootOption("mount", "--mount", "texts", "HOST:GUEST[:rw]", MOUNT_HELP),
    BootOption("machine", "--machine", "text", "NAME", "Machine that has the devices: simulated, or a plugin's."),
    BootOption("disk", "--disk", "texts", "IMAGE[:ro]", DISK_HELP),
    BootOption("no_automount", "--no-automount", "flag", None, "Mount no filesystem of a disk by itself."),
    BootOption("net", "--net", "text", "WIRE", NET_HELP),
    BootOption("net_faults", "--net-faults", "text", "SPEC", NET_FAULTS_HELP),
    BootOption(
        "forward", "--forward", "texts", "[ADDRESS:]PORT:PORT[/udp]",
        "Host port (at 127.0.0.1 unless ADDRESS, IPv6 in brackets, is given) to one of the system. Repeatable.",
    ),
    BootOption("nic", "--nic", "text", "MODEL", "Model of the network card (default e1000)."),
    BootOption("pcap", "--pcap", "text", "FILE", "Write what passes on the wire to a file for Wireshark."),
    BootOption("ram", "--ram", "text", "SIZE", "Physical memory, as 64M or 1G (default 256M)."),
    BootOption("plugins", "--plugins", "texts", "NAMES", "Load only these plugins (default: all installed)."),
    BootOption("without", "--without", "texts", "NAMES", "Leave these plugins out."),
    BootOption("strict", "--strict", "flag", None, "Any unhealthy plugin ends the boot."),
    BootOption("scheduler", "--scheduler", "text", "NAME", "Scheduler to use: round-robin, fair, or a plugin's."),
    BootOption("memory_manager", "--memory-manager", "text", "NAME", "Memory manager to use."),
    BootOption("trace", "--trace", "flag", None, "Print every system call, as strace does, to standard error."),
    BootOption("trace_file", "--trace-file", "text", "FILE", "Write that trace to a file of the host."),
    BootOption("stats", "--stats", "flag", None, "Print counts of calls, faults and switches at the end."),
    BootOption("virtual_time", "--virtual-time", "flag", None, "A clock that jumps instead of waiting."),
    BootOption("seed", "--seed", "number", "N", "Seed of everything random."),
    BootOption("inject", "--inject", "texts", "SPEC", INJECT_HELP),
    BootOption("hostname", "--hostname", "text", "NAME", "Host name of the system."),
    BootOption("environment", "--env", "texts", "NAME=VALUE", "Set a variable for the first program. Repeatable."),
    BootOption("max_processes", "--max-processes", "number", "N", "Most processes and threads at once."),
    BootOption("config", "--config", "text", "FILE", "TOML file with any of these options."),
)

#: Lists given as one comma-separated value; a repeated option adds to them.
_COMMA_LISTS = ("plugins", "without")


def parse_plainly(arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]] | None:
    """The options in front and the words after them; None where the full parser has to look at it."""
    by_flag = {option.flag: option for option in BOOT_OPTIONS}
    given: dict[str, Any] = {option.name: None for option in BOOT_OPTIONS}
    words = list(arguments)
    while words and words[0].startswith("-") and words[0] != "-":
        word = words.pop(0)
        if word == "--":
            break
        flag, has_value, value = word.partition("=")
        option = by_flag.get(flag)
        if option is None:
            return None
        if option.kind == "flag":
            if has_value:
                return None
            given[option.name] = True
            continue
        if not has_value:
            if not words:
                return None
            value = words.pop(0)
        if option.kind == "texts":
            given[option.name] = [*(given[option.name] or ()), value]
        elif option.kind == "number":
            if not value.isdecimal():
                return None
            given[option.name] = int(value)
        else:
            given[option.name] = value
    return in_config_words(given), words


def in_config_words(given: dict[str, Any]) -> dict[str, Any]:
    """From values by option name to what `jefeos.config.BootConfig.load` takes, and ``config``."""
    options: dict[str, Any] = {name: value if value != [] else None for name, value in given.items()}
    for name in _COMMA_LISTS:
        if options[name] is not None:
            options[name] = [item.strip() for text in options[name] for item in text.split(",") if item.strip()]
    trace_file = options.pop("trace_file")
    options["trace"] = trace_file or options["trace"]
    return options
