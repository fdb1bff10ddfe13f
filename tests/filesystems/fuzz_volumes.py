"""The fuzz campaign over all formats of volumes (``make fuzz``): how many cases, what became of them, how fast.

    fuzz_volumes.py [--format NAME]... [--cases N] [--bytes N] [--first-seed N]

For each format: every byte of the first 64 KiB set to an extreme or random value (``--bytes``: so many of them, evenly
spread), then ``--cases`` volumes with fields of their structures damaged by seed. A case that is not survived ends
the campaign of its format and is printed with its seed, which `jefeos.testing.fuzz` repeats. Exit status 1 then.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from jefeos.block.volume import FormatOptions, VolumeFormat
from jefeos.testing.fuzz import NotSurvived, Tally, byte_campaign, campaign
from jefeos.testing.volume_suite import FIRST_BYTES, populated
from jefeos_fs_fat32.format import FatFormat
from jefeos_fs_jefefs.format import JefeFormat
from jefeos_fs_ntfs.format import NtfsFormat

MEBIBYTE = 1 << 20
CASES = 10_000
FORMATS: dict[str, tuple[Callable[[], VolumeFormat], int, FormatOptions, bool]] = {
    "ntfs": (NtfsFormat, 8 * MEBIBYTE, FormatOptions(), True),
    "ntfs-512": (NtfsFormat, 4 * MEBIBYTE, FormatOptions(cluster_bytes=512), True),
    "fat12": (FatFormat, 4 * MEBIBYTE, FormatOptions(variant="fat12"), False),
    "fat16": (FatFormat, 12 * MEBIBYTE, FormatOptions(variant="fat16"), False),
    "fat32": (FatFormat, 40 * MEBIBYTE, FormatOptions(variant="fat32"), False),
    "jefefs": (JefeFormat, 8 * MEBIBYTE, FormatOptions(), True),
}
"""Name to format, size, options, and whether it has links."""


def run(name: str, byte_count: int, seeds: range) -> tuple[int, bool]:
    """The campaign of one format; how many cases, and whether all were survived."""
    make, size, options, links = FORMATS[name]
    kind = make()
    contents = populated(kind, size, options, links, links)
    offsets = [number * FIRST_BYTES // byte_count for number in range(byte_count)]
    works: list[tuple[str, Callable[[], Tally]]] = [
        ("first bytes", lambda: byte_campaign(kind, contents, offsets)),
        ("fields", lambda: campaign(kind, contents, seeds)),
    ]
    cases = 0
    for what, work in works:
        started = time.perf_counter()
        try:
            tally = work()
        except NotSurvived as failure:
            print(f"{name:9} {what:12} NOT SURVIVED: {failure}", flush=True)
            return cases, False
        took = time.perf_counter() - started
        cases += tally.cases
        errors = ", ".join(f"{count} {errno}" for errno, count in sorted(tally.outcomes.items()))
        print(f"{name:9} {what:12} {tally.cases:7} cases, {tally.mounted} mounted, {tally.refused} refused ({errors});"
              f" {took:.0f} s", flush=True)  # fmt: skip
    return cases, True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--format", action="append", choices=list(FORMATS), help="only these (default: all)")
    parser.add_argument("--cases", type=int, default=CASES, help="volumes with damaged fields for each format")
    parser.add_argument("--bytes", type=int, default=FIRST_BYTES, help="of the first 64 KiB")
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    total, survived = 0, True
    for name in options.format or FORMATS:
        seeds = range(options.first_seed, options.first_seed + options.cases)
        cases, well = run(name, options.bytes, seeds)
        total += cases
        survived = survived and well
    print(f"{total} cases, {'all survived' if survived else 'NOT all survived'}")
    return 0 if survived else 1


if __name__ == "__main__":
    sys.exit(main())
