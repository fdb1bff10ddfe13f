"""The commands of ``jefeos disk`` and their arguments, as typer declares them."""

from __future__ import annotations

from typing import Annotated

import typer

disk = typer.Typer(
    help="Make, look into, fill and check disk images (raw, VHD) without booting. A partition is written IMAGE:N.",
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Source = Annotated[str, typer.Argument(metavar="IMAGE[:N]", help="A disk image, or a partition of it.")]
Readable = Annotated[
    str, typer.Argument(metavar="IMAGE[:N][@SNAPSHOT]", help="A disk image, a partition of it, or a snapshot.")
]
Paths = Annotated[
    list[str] | None, typer.Argument(metavar="PATH...", help="Files in it (or the first as IMAGE:/path, as for cp).")
]
Json = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", "-R", help="Directories too, with all below them.")]


@disk.command()
def create(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The file to make.")],
    size: Annotated[str, typer.Option("--size", metavar="SIZE", help="Its capacity, as 64M or 1G.")],
    kind: Annotated[
        str | None, typer.Option("--kind", metavar="KIND", help="raw, vhd (grows), vhd-fixed (default: by its name).")
    ] = None,
    table: Annotated[
        str | None, typer.Option("--table", metavar="TABLE", help="mbr, gpt (with one partition that fills it), none.")
    ] = None,
) -> int:
    """Make a new disk image, full of zeros."""
    from jefeos.cli.disk import create_command

    return create_command(image, size, kind, table)


@disk.command()
def mkfs(
    source: Source,
    type_: Annotated[str, typer.Option("--type", "-t", metavar="TYPE", help="Which filesystem: ntfs, vfat, ...")],
    label: Annotated[str, typer.Option("--label", "-L", metavar="NAME", help="Name of the volume.")] = "",
    cluster: Annotated[
        str | None, typer.Option("--cluster", metavar="SIZE", help="Unit of allocation (default: by the size).")
    ] = None,
    variant: Annotated[
        str | None, typer.Option("--variant", metavar="NAME", help="Of a family: fat12, fat16, fat32.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
) -> int:
    """Make an empty filesystem."""
    from jefeos.cli.disk import mkfs_command

    return mkfs_command(source, type_, label=label, cluster=cluster, variant=variant, force=force)


@disk.command()
def info(source: Source, json: Json = False) -> int:
    """Show what an image is: its kind, its partitions, what is on them."""
    from jefeos.cli.disk import info_command

    return info_command(source, as_json=json)


@disk.command()
def ls(
    source: Readable,
    path: Annotated[str, typer.Argument(metavar="[PATH]", help="Directory or file in it.")] = "/",
    long: Annotated[bool, typer.Option("--long", "-l", help="Modes, owners, sizes and times (UTC).")] = False,
    recursive: Recursive = False,
    json: Json = False,
) -> int:
    """List files."""
    from jefeos.cli.disk import ls_command
    from jefeos.cli.disk_volume import source_and_paths

    source, paths = source_and_paths(source, [path])
    return ls_command(source, paths[0], long=long, recursive=recursive, as_json=json)


@disk.command()
def cat(source: Readable, paths: Paths = None) -> int:
    """Write files to standard output."""
    from jefeos.cli.disk import cat_command
    from jefeos.cli.disk_volume import source_and_paths

    return cat_command(*source_and_paths(source, paths or []))


@disk.command()
def cp(
    places: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE... DESTINATION", help="Paths of the host, or IMAGE[:N][@SNAPSHOT]:/path."),
    ],
    recursive: Recursive = False,
) -> int:
    """Copy files and trees between the host and images.

    Times, permissions, extended attributes, holes and hard links are kept, owners are not; one line says what the
    target cannot hold. A file gets its name when it is whole: nothing half-written is left if something fails.
    Pipes and devices of the host are poured from and into (/dev/stdin, /dev/stdout).
    """
    from jefeos.cli.disk_copy import copy_command
    from jefeos.errors import UsageError

    if len(places) < 2:
        raise UsageError("cp takes SOURCE... and DESTINATION (see jefeos disk cp --help)")
    return copy_command(places[:-1], places[-1], recursive=recursive)


@disk.command()
def rm(
    source: Source,
    paths: Paths = None,
    recursive: Recursive = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="What is not there is no error.")] = False,
) -> int:
    """Remove files."""
    from jefeos.cli.disk import rm_command
    from jefeos.cli.disk_volume import source_and_paths

    source, wanted = source_and_paths(source, paths or [])
    return rm_command(source, wanted, recursive=recursive, force=force)


@disk.command()
def fsck(
    source: Source,
    repair: Annotated[bool, typer.Option("--repair", "-y", help="Put right what can be.")] = False,
    type_: Annotated[
        str | None, typer.Option("--type", "-t", metavar="TYPE", help="Take it for that (default: what is recognised).")
    ] = None,
    json: Json = False,
) -> int:
    """Check a filesystem: 0 clean, 1 repaired, 4 errors are left, 8 it could not be looked at."""
    from jefeos.cli.disk import fsck_command

    return fsck_command(source, kind=type_, repair=repair, as_json=json)


@disk.command("mount-check")
def mount_check(source: Source, json: Json = False) -> int:
    """Tell whether a boot could mount it, and whether it could write to it."""
    from jefeos.cli.disk import mount_check_command

    return mount_check_command(source, as_json=json)


snapshot = typer.Typer(
    help="Keep states of a whole volume, and go back to them, where its filesystem can do that.",
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
)
disk.add_typer(snapshot, name="snapshot")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the snapshot.")]


@snapshot.command("list")
def snapshot_list(source: Source, json: Json = False) -> int:
    """List the snapshots, oldest first."""
    from jefeos.cli.disk_snapshots import list_command

    return list_command(source, as_json=json)


@snapshot.command("create")
def snapshot_create(source: Source, name: Name) -> int:
    """Keep the state of now."""
    from jefeos.cli.disk_snapshots import create_command

    return create_command(source, name)


@snapshot.command("delete")
def snapshot_delete(source: Source, name: Name) -> int:
    """Delete a snapshot; what only it used is free."""
    from jefeos.cli.disk_snapshots import delete_command

    return delete_command(source, name)


@snapshot.command("rollback")
def snapshot_rollback(source: Source, name: Name) -> int:
    """Make all files what they were in the newest snapshot. What came after it is lost."""
    from jefeos.cli.disk_snapshots import rollback_command

    return rollback_command(source, name)
