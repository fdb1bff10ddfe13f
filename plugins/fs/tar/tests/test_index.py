"""The index against the standard library's and GNU tar's writers, and against damage."""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from jefeos.errors import CorruptError
from jefeos_fs_tar import index, layout
from jefeos_fs_tar.archive import MemoryStore, Store, open_archive
from jefeos_fs_tar.index import Node, build_tree

ALPINE = "alpine-minirootfs-3.20.3-x86_64.tar.gz"


def alpine() -> Path:
    folder = Path(os.environ.get("JEFEOS_TEST_DATA") or Path(__file__).parents[5] / "shared" / "data")
    path = folder / ALPINE
    if not path.is_file():
        pytest.skip(f"needs {ALPINE} in ../shared/data or JEFEOS_TEST_DATA")
    return path


def tree_of(data: bytes) -> Node:
    return build_tree(MemoryStore(data), "test")


def walk(node: Node, path: bytes = b"") -> Iterator[tuple[bytes, Node]]:
    yield path or b".", node
    for name, child in (node.children or {}).items():
        yield from walk(child, path + b"/" + name if path else name)


Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, **fields: object) -> Member:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def archive(*members: Member, format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def find(root: Node, path: str) -> Node:
    node = root
    for part in path.split("/"):
        assert node.children is not None
        node = node.children[part.encode()]
    return node


def read(data: bytes, path: str) -> bytes:
    node = find(tree_of(data), path)
    return node.read(MemoryStore(data), 0, node.size)


# --- against other writers -------------------------------------------------------------------------------------


@pytest.mark.peer
def test_every_file_of_the_alpine_root_is_as_tar_unpacks_it(tmp_path: Path) -> None:
    if shutil.which("tar") is None:
        pytest.skip("needs tar")
    subprocess.run(["tar", "xf", str(alpine()), "-C", str(tmp_path), "--no-same-owner"], check=True)
    store = open_archive(alpine())
    seen = 0
    for path, node in walk(build_tree(store, ALPINE)):
        host = os.path.join(os.fsencode(tmp_path), path)
        stat = os.lstat(host)
        kind = node.mode & index.TYPE_MASK
        assert stat.st_mode & index.TYPE_MASK == kind, path
        if kind == index.SYMLINK:
            assert os.readlink(host) == node.target
        elif kind == index.REGULAR:
            assert stat.st_mode == node.mode
            assert stat.st_nlink == node.links
            assert int(stat.st_mtime) == node.mtime_ns // 10**9
            assert Path(os.fsdecode(host)).read_bytes() == node.read(store, 0, node.size)
        elif kind == index.DIRECTORY:
            assert node.children is not None
            assert sorted(os.listdir(host)) == sorted(node.children)
            assert node.links == 2 + sum(child.children is not None for child in node.children.values())
        seen += 1
    assert seen > 500


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    long = "d" * 90
    (root / long / long).mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "plain").write_bytes(b"hello\n")
    (root / long / long / ("f" * 120)).write_bytes(b"deep")
    (root / "\xe4\u4e2d").write_bytes(b"utf-8 name")
    (root / "block").write_bytes(random.Random(5).randbytes(1024))
    os.link(root / "plain", root / "hard")
    (root / "soft").symlink_to("plain")
    (root / "softlong").symlink_to("t" * 200)
    os.mkfifo(root / "fifo")
    with (root / "sparse").open("wb") as file:
        for position in range(0, 40 << 20, 1 << 20):
            file.seek(position)
            file.write(b"piece at %d" % position)
        file.truncate(50 << 20)
    os.chmod(root / "block", 0o4711)
    os.utime(root / "block", ns=(1, 1_234_567_890_123_456_789))
    return root


GNU_VARIANTS = [
    ["--format=gnu"],
    ["--format=posix"],
    ["--format=oldgnu"],
    ["--format=gnu", "--sparse"],
    ["--format=posix", "--sparse", "--sparse-version=0.0"],
    ["--format=posix", "--sparse", "--sparse-version=0.1"],
    ["--format=posix", "--sparse", "--sparse-version=1.0"],
]


@pytest.mark.peer
@pytest.mark.parametrize("options", GNU_VARIANTS, ids=" ".join)
def test_what_gnu_tar_writes_is_read_back(folder: Path, tmp_path: Path, options: list[str]) -> None:
    if shutil.which("tar") is None or "GNU" not in subprocess.getoutput("tar --version"):
        pytest.skip("needs GNU tar")
    path = tmp_path / "test.tar"
    subprocess.run(["tar", *options, "-cf", str(path), "-C", str(folder), "."], check=True)
    if "--sparse" in options:
        assert path.stat().st_size < 5 << 20
    store = open_archive(path)
    nodes = dict(walk(build_tree(store, "test")))
    for base, folders, files in os.walk(os.fsencode(folder)):
        for name in folders + files:
            host = os.path.join(base, name)
            node = nodes.pop(os.path.relpath(host, os.fsencode(folder)))
            stat = os.lstat(host)
            assert node.mode == stat.st_mode
            assert (node.uid, node.gid) == (stat.st_uid, stat.st_gid)
            assert node.mtime_ns // 10**9 == stat.st_mtime_ns // 10**9
            if "--format=posix" in options:
                assert node.mtime_ns == stat.st_mtime_ns
            if node.mode & index.TYPE_MASK == index.REGULAR:
                assert node.size == stat.st_size
                assert node.links == stat.st_nlink
                assert node.read(store, 0, node.size) == Path(os.fsdecode(host)).read_bytes()
                assert node.read(store, 1 << 20, 30) == Path(os.fsdecode(host)).read_bytes()[1 << 20 :][:30]
            elif node.mode & index.TYPE_MASK == index.SYMLINK:
                assert node.target == os.readlink(host)
    assert list(nodes) == [b"."]


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_tarfile_writes_is_read_back(format: int) -> None:
    data = archive(
        member("dir", kind=tarfile.DIRTYPE, mode=0o750, uid=1000, gid=100),
        member("dir/file", b"x" * 513, mode=0o640, mtime=99),
        member("dir/" + "n" * 99 + "/" + "m" * 99, b"long"),
        member("null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3),
        member("disk", kind=tarfile.BLKTYPE, devmajor=8, devminor=1),
        member("pipe", kind=tarfile.FIFOTYPE),
        format=format,
    )
    root = tree_of(data)
    assert (find(root, "dir").mode, find(root, "dir").uid, find(root, "dir").gid) == (0o040750, 1000, 100)
    assert find(root, "dir/file").mtime_ns == 99 * 10**9
    assert read(data, "dir/file") == b"x" * 513
    assert read(data, "dir/" + "n" * 99 + "/" + "m" * 99) == b"long"
    assert find(root, "null").device == (1, 3)
    assert find(root, "disk").mode & index.TYPE_MASK == index.BLOCK
    assert find(root, "pipe").mode & index.TYPE_MASK == index.FIFO


def test_extended_attributes_and_large_numbers_of_pax() -> None:
    info, data = member("file", b"content")
    info.pax_headers = {"SCHILY.xattr.user.note": "remember", "uid": "4000000000", "mtime": "-1.5"}
    node = find(tree_of(archive((info, data))), "file")
    assert node.xattrs == {b"user.note": b"remember"}
    assert node.uid == 4_000_000_000
    assert node.mtime_ns == -1_500_000_000


def test_a_binary_number_is_read() -> None:
    assert layout.parse_number(b"\x80" + bytes(6) + b"\x05", "uid") == 5
    assert layout.parse_number(b"\xff" * 12, "mtime") == -1


# --- names -----------------------------------------------------------------------------------------------------


def test_leading_slashes_and_dots_are_dropped() -> None:
    root = tree_of(archive(member("/etc/one"), member("./etc/two"), member("etc//./three")))
    assert set(find(root, "etc").children or ()) == {b"one", b"two", b"three"}
    assert find(root, "etc").mode == 0o040755


@pytest.mark.parametrize("name", ["../up", "a/../../up", "a/..", "/.."])
def test_a_name_that_climbs_is_refused(name: str) -> None:
    with pytest.raises(CorruptError, match="leads out"):
        tree_of(archive(member("a", kind=tarfile.DIRTYPE), member(name, b"x")))
    with pytest.raises(CorruptError, match="leads out"):
        tree_of(archive(member("a", kind=tarfile.DIRTYPE), member("b", kind=tarfile.LNKTYPE, linkname=name)))


def test_the_last_of_two_members_wins() -> None:
    data = archive(
        member("f", b"old"), member("f", b"newer"), member("d", kind=tarfile.DIRTYPE), member("d", b"file")
    )
    assert read(data, "f") == b"newer"
    assert read(data, "d") == b"file"
    assert tree_of(data).links == 2


def test_a_directory_given_again_keeps_its_files() -> None:
    root = tree_of(
        archive(member("d/f", b"x"), member("d", kind=tarfile.DIRTYPE, mode=0o700), member("d/g", b"y"))
    )
    assert find(root, "d").mode == 0o040700
    assert set(find(root, "d").children or ()) == {b"f", b"g"}


def test_a_file_does_not_replace_a_directory_with_files() -> None:
    with pytest.raises(CorruptError, match="would replace a directory"):
        tree_of(archive(member("d/f", b"x"), member("d", b"file")))


def test_hard_links_share_one_node() -> None:
    root = tree_of(
        archive(
            member("a", b"x"),
            member("b", kind=tarfile.LNKTYPE, linkname="./a"),
            member("c", kind=tarfile.LNKTYPE, linkname="b"),
            member("a", b"new"),
        )
    )
    assert find(root, "b") is find(root, "c")
    assert find(root, "b").links == 2
    assert find(root, "a") is not find(root, "b")


@pytest.mark.parametrize("target", ["missing", "d", "d/missing", "."])
def test_a_hard_link_to_nothing_is_refused(target: str) -> None:
    with pytest.raises(CorruptError, match="no earlier file"):
        tree_of(
            archive(member("d", kind=tarfile.DIRTYPE), member("b", kind=tarfile.LNKTYPE, linkname=target))
        )


@pytest.mark.parametrize("target", ["usr/bin", "/usr/bin", "../../usr/bin", "usr/../usr/./bin"])
def test_a_parent_that_is_a_symlink_is_followed_inside(target: str) -> None:
    data = archive(
        member("usr/bin", kind=tarfile.DIRTYPE),
        member("bin", kind=tarfile.SYMTYPE, linkname=target),
        member("bin/sh", b"shell"),
    )
    assert read(data, "usr/bin/sh") == b"shell"


def test_a_symlink_loop_above_a_member_is_refused() -> None:
    with pytest.raises(CorruptError, match="too many symbolic links"):
        tree_of(archive(member("a", kind=tarfile.SYMTYPE, linkname="a"), member("a/b", b"x")))


def test_a_member_below_a_file_is_refused() -> None:
    with pytest.raises(CorruptError, match="not a directory"):
        tree_of(archive(member("a", b"x"), member("a/b", b"x")))


# --- damage ----------------------------------------------------------------------------------------------------


def small_archive() -> bytes:
    info, data = member("noted", b"z" * 700)
    info.pax_headers = {"SCHILY.xattr.user.a": "b", "mtime": "12.25"}
    return archive(
        member("dir", kind=tarfile.DIRTYPE),
        member("dir/file", b"x" * 1500),
        member("link", kind=tarfile.SYMTYPE, linkname="dir/file"),
        member("dir/hard", kind=tarfile.LNKTYPE, linkname="dir/file"),
        (info, data),
        member("dir/" + "n" * 150, b"long"),
    )


def test_a_cut_archive_is_one_error_with_an_offset() -> None:
    data = small_archive()
    end = data.rindex(b"long") // 512 * 512 + 512
    for length in [*range(0, end, 37), *range(0, end + 1, 512), end + 511]:
        with pytest.raises(CorruptError, match=r"archive offset \d+") as caught:
            tree_of(data[:length])
        assert "\n" not in str(caught.value)
    assert tree_of(data[: end + 512]).children


def test_damaged_headers_never_leak_another_exception() -> None:
    data = small_archive()
    rng = random.Random(6)
    errors = 0
    for _ in range(3000):
        damaged = bytearray(data)
        for _ in range(rng.randint(1, 3)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            exercise(MemoryStore(bytes(damaged)))
        except CorruptError:
            errors += 1
    assert errors > 500


def with_checksum(block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def test_hostile_headers_with_right_checksums_never_leak_another_exception() -> None:
    data = small_archive()
    rng = random.Random(7)
    headers = [offset for offset in range(0, len(data), 512) if data[offset + 257 : offset + 262] == b"ustar"]
    kinds = b"01234567xgLKSDMVX\0Z"
    numbers = [
        b"77777777777\0",
        b"\x80" + b"\xff" * 11,
        b"\xff" * 12,
        b"-1".ljust(12),
        b"1_0".ljust(12),
        b"9" * 12,
    ]
    for _ in range(3000):
        damaged = bytearray(data)
        offset = rng.choice(headers)
        block = damaged[offset : offset + 512]
        match rng.randrange(4):
            case 0:
                block[156] = rng.choice(kinds)
            case 1:
                block[124:136] = rng.choice(numbers)
            case 2:
                start = rng.choice([100, 108, 116, 136, 329, 337, 386, 483])
                block[start : start + 8] = rng.choice(numbers)[:8]
                block[156] = rng.choice(kinds)
            case 3:
                block[rng.randrange(512)] = rng.randrange(256)
        damaged[offset : offset + 512] = with_checksum(block)
        try:
            exercise(MemoryStore(bytes(damaged)))
        except CorruptError:
            pass


def test_random_extended_headers_never_leak_another_exception() -> None:
    rng = random.Random(8)
    keys = [b"path", b"size", b"mtime", b"uid", b"GNU.sparse.map", b"GNU.sparse.size", b"GNU.sparse.major",
            b"GNU.sparse.realsize", b"GNU.sparse.offset", b"GNU.sparse.numbytes", b"linkpath"]  # fmt: skip
    values = [b"", b"0", b"1", b"-5", b"1,2,3", b"0,10,400,100", b"9" * 30, b"1.5", b"\0", b"../x", b"x" * 300,
              b"500", str(2**63 - 1).encode(), b"\xff\xfe"]  # fmt: skip
    base = archive(member("f", b"3\n0\n10\n" + b"y" * 800))
    for _ in range(2000):
        records = b""
        for _ in range(rng.randint(1, 4)):
            body = b" " + rng.choice(keys) + b"=" + rng.choice(values) + b"\n"
            length = len(body) + 1
            while length != len(str(length)) + len(body):
                length = len(str(length)) + len(body)
            records += str(length).encode() + body
        if rng.random() < 0.2:
            records = records[:-2] + rng.randbytes(2)
        info, _ = member("header", b"", kind=b"x")
        info.size = len(records)
        data = info.tobuf(tarfile.USTAR_FORMAT) + records.ljust(-(-len(records) // 512) * 512, b"\0") + base
        try:
            exercise(MemoryStore(data))
        except CorruptError:
            pass


@pytest.mark.parametrize(
    "record", [b"x" * 40 + b"\n", b"12345\n", b" 1 a=b\n", b"7 a=b\nx", b"99 a=b\n", b"3 =\n", b"0 a=b\n"]
)
def test_a_record_without_a_length_is_refused_after_a_good_one(record: bytes) -> None:
    """A record without a space once made the parser stay where it was for ever."""
    records = b"8 a=bcd\n" + record
    info, _ = member("header", kind=b"x")
    info.size = len(records)
    with pytest.raises(CorruptError, match="record"):
        tree_of(info.tobuf(tarfile.GNU_FORMAT) + records.ljust(512, b"\0") + archive(member("f")))


def test_a_claimed_size_allocates_nothing() -> None:
    info, _ = member("sparse", b"x")
    info.pax_headers = {"GNU.sparse.size": str(1 << 62), "GNU.sparse.map": "0,1"}
    root = tree_of(archive((info, b"x")))
    node = find(root, "sparse")
    assert node.size == 1 << 62
    assert node.read(MemoryStore(b""), 1 << 61, 3) == b"\0\0\0"


def test_a_huge_extended_header_is_refused() -> None:
    info, _ = member("header", kind=b"x")
    info.size = 1 << 40
    with pytest.raises(CorruptError, match="extended header claims"):
        tree_of(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))


def test_too_many_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "NODES_LIMIT", 100)
    with pytest.raises(CorruptError, match="more than 100 files"):
        tree_of(archive(member("a/" * 99 + "b")))


def exercise(store: Store) -> None:
    for _, node in walk(build_tree(store, "test")):
        node.read(store, 0, 2000)
        node.read(store, max(node.size - 10, 0), 2000)
