"""mkfs: what it lays out, what it refuses, and how it compares with mkntfs's volume of the same parameters."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from attrs import evolve
from jefeos.block.volume import FormatOptions
from jefeos.errors import UsageError
from jefeos.testing.volumes import TestClock, memory_volume
from jefeos_fs_ntfs.attrdef import attribute_definitions
from jefeos_fs_ntfs.boot import parse_geometry
from jefeos_fs_ntfs.layout import AttributeType, MetaFile
from jefeos_fs_ntfs.make import make_ntfs
from jefeos_fs_ntfs.record import MftRecord
from jefeos_fs_ntfs.runs import decode_runs
from jefeos_fs_ntfs.security import AccessMask, security_stream, system_descriptor
from jefeos_fs_ntfs.upcase import crc64, default_upcase, upcase_info

MIB = 1 << 20
CLUSTERS = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
OWN_FILES = {
    "$AttrDef", "$BadClus", "$Bitmap", "$Boot", "$Extend", "$LogFile", "$MFT", "$MFTMirr", "$Secure", "$UpCase",
    "$Volume",
}  # fmt: skip
ImageMaker = Callable[..., Path]
Tool = Callable[..., str]
Mount = Callable[[Path], AbstractContextManager[Path]]


class Reader:
    """Records and streams of an image, by the boot sector and one run."""

    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        self.geometry = parse_geometry(self.data[:512], len(self.data))

    def record(self, number: int) -> MftRecord:
        size = self.geometry.record_bytes
        start = self.geometry.mft_lcn * self.geometry.cluster_bytes + number * size
        return MftRecord.parse(number, self.data[start : start + size])

    def stream(self, number: int, kind: AttributeType = AttributeType.DATA, name: str = "") -> bytes:
        (attribute,) = [one for one in self.record(number).attributes if (one.type, one.name) == (kind, name)]
        if attribute.resident:
            return attribute.value
        extent, cluster = attribute.extent, self.geometry.cluster_bytes
        runs = decode_runs(extent.pairs, self.geometry.clusters, extent.clusters)
        return b"".join([self.data[lcn * cluster :][: count * cluster] for lcn, count in runs])[: extent.data_size]


def test_crc64_has_the_check_value_of_its_polynomial() -> None:
    assert crc64(b"123456789") == 0xAE8B_1486_0A79_9888


@pytest.mark.parametrize(
    ("small", "capital"),
    [("a", "A"), ("ÿ", "Ÿ"), ("я", "Я"), ("ß", "ß"), ("ı", "ı"), ("ſ", "ſ"), ("ς", "ς"), ("ⅷ", "Ⅷ"), ("ⓐ", "Ⓐ"),
     ("ა", "ა"), ("ᾳ", "ᾼ"), ("ǆ", "Ǆ"), ("ǅ", "ǅ")],
)  # fmt: skip
def test_upper_case(small: str, capital: str) -> None:
    assert default_upcase()[2 * ord(small) :][:2] == ord(capital).to_bytes(2, "little")


@pytest.mark.parametrize(
    ("size", "options", "reason"),
    [
        (512 << 10, FormatOptions(), "needs"),
        (MIB, FormatOptions(cluster_bytes=65536), "needs"),
        (8 * MIB, FormatOptions(cluster_bytes=3000), "power of two"),
        (8 * MIB, FormatOptions(cluster_bytes=256), "power of two"),
        (8 * MIB, FormatOptions(cluster_bytes=4 << 20), "power of two"),
        (8 * MIB, FormatOptions(variant="fat32"), "variant"),
        (8 * MIB, FormatOptions(label="x" * 129), "label"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(size: int, options: FormatOptions, reason: str) -> None:
    volume = memory_volume(size)
    with pytest.raises(UsageError, match=reason):
        make_ntfs(volume, options, TestClock())
    assert not volume.dirty_bytes


def test_the_boot_sector_goes_last_and_its_copy_is_behind_the_last_counted_sector() -> None:
    volume = memory_volume(3 * MIB + 512)
    steps: list[tuple[int, int]] = []
    make_ntfs(volume, FormatOptions(), TestClock(), lambda done, total: steps.append((done, total)))
    boot = volume.read(0, 512)
    geometry = parse_geometry(boot, volume.size_bytes)
    assert geometry.sectors == volume.size_bytes // 512 - 1
    assert volume.read(geometry.sectors * 512, 512) == boot
    assert steps[-1][0] == steps[-1][1] > 0
    assert steps == sorted(steps)


@pytest.mark.peer
def test_generated_tables_are_those_of_mkntfs(make_foreign: ImageMaker) -> None:
    theirs = Reader(make_foreign())
    assert theirs.stream(MetaFile.UPCASE) == default_upcase()
    assert theirs.stream(MetaFile.UPCASE, name="$Info") == upcase_info(default_upcase())
    assert theirs.stream(MetaFile.ATTRIBUTE_DEFINITIONS) == attribute_definitions()
    descriptors = system_descriptor(AccessMask.FILE_READ), system_descriptor(AccessMask.FILE_READ_WRITE)
    assert theirs.stream(MetaFile.SECURE, name="$SDS") == security_stream(descriptors)[0]


@pytest.mark.peer
@pytest.mark.parametrize("cluster_bytes", [512, 4096, 65536])
def test_structure_by_structure_like_mkntfs(
    make_image: ImageMaker, make_foreign: ImageMaker, cluster_bytes: int
) -> None:
    ours = Reader(make_image(16 * MIB, cluster_bytes, "Label"))
    theirs = Reader(make_foreign(16 * MIB, cluster_bytes, "Label"))
    place = {"mft_lcn": 0, "mftmirr_lcn": 0, "serial": 0}
    assert evolve(ours.geometry, **place) == evolve(theirs.geometry, **place)
    # What is not a matter of place: the first bytes, counts of heads and so on; not the boot code.
    for field in (slice(0, 0x30), slice(0x40, 0x48), slice(0x1FE, 0x200)):
        assert ours.data[field] == theirs.data[field]
    ignored = {AttributeType.SECURITY_DESCRIPTOR}  # ours are all in $Secure
    for number in (*range(16), 24, 25, 26):
        mine, yours = ours.record(number), theirs.record(number)
        assert (mine.sequence, mine.flags, mine.link_count) == (yours.sequence, yours.flags, yours.link_count), number
        kinds = [
            [(one.type, one.name, one.flags, one.resident) for one in record.attributes if one.type not in ignored]
            for record in (mine, yours)
        ]
        assert sorted(kinds[0]) == sorted(kinds[1]), number
        for kind, name in [(AttributeType.FILE_NAME, ""), (AttributeType.VOLUME_NAME, "")]:
            if (kind, name, 0, True) in kinds[0]:
                mine_value, your_value = ours.stream(number, kind, name), theirs.stream(number, kind, name)
                assert mine_value[:8] == your_value[:8], number  # the parent, or the label
                assert mine_value[60:] == your_value[60:], number  # behind the times, sizes and attributes: the name
    for number, kind, name in (
        (MetaFile.ATTRIBUTE_DEFINITIONS, AttributeType.DATA, ""),
        (MetaFile.UPCASE, AttributeType.DATA, ""),
        (MetaFile.UPCASE, AttributeType.DATA, "$Info"),
        (MetaFile.VOLUME, AttributeType.VOLUME_INFORMATION, ""),
        (25, AttributeType.INDEX_ROOT, "$O"),
        (26, AttributeType.INDEX_ROOT, "$R"),
        (MetaFile.ROOT, AttributeType.INDEX_ROOT, "$I30"),
        (MetaFile.ROOT, AttributeType.BITMAP, "$I30"),
    ):
        assert ours.stream(number, kind, name) == theirs.stream(number, kind, name), (number, kind)


@pytest.mark.peer
@pytest.mark.parametrize("cluster_bytes", CLUSTERS)
def test_others_read_it(make_image: ImageMaker, tool: Tool, cluster_bytes: int) -> None:
    image = make_image(8 * MIB, cluster_bytes, "Größe")
    assert "processed successfully" in tool("ntfsfix", "-n", image)
    information = tool("ntfsinfo", "-mf", image)
    assert "Volume Version: 3.1" in information
    assert "Volume Name: Größe" in information
    assert f"Cluster Size: {cluster_bytes}\n" in information
    assert set(tool("ntfsls", "-f", "-s", "-a", image).split()) >= OWN_FILES
    assert "Everything is Ok" in tool("7z", "t", image)
    assert "Volume Name: Größe" in tool("fsstat", image)
    listed = tool("fls", "-r", image)
    assert all(name in listed for name in {*OWN_FILES, "$Quota", "$ObjId", "$Reparse"})
    assert tool("icat", image, 4) == attribute_definitions().decode(errors="backslashreplace")


@pytest.mark.peer
@pytest.mark.parametrize("cluster_bytes", [None, 512, 65536, 2 << 20])
def test_ntfs_3g_writes_on_it(
    make_image: ImageMaker, ntfs_3g: Mount, tool: Tool, cluster_bytes: int | None
) -> None:
    image = make_image(64 * MIB if cluster_bytes else 2 * MIB, cluster_bytes)
    contents = {f"folder/file {number}": bytes([number]) * number**2 * 37 for number in range(20)}
    with ntfs_3g(image) as folder:
        (folder / "folder").mkdir()
        for name, data in contents.items():
            (folder / name).write_bytes(data)
    with ntfs_3g(image) as folder:
        assert {name: (folder / name).read_bytes() for name in contents} == contents
    assert "processed successfully" in tool("ntfsfix", "-n", image)


@pytest.mark.peer
def test_dissect_libfsntfs_and_pytsk_read_it(make_image: ImageMaker) -> None:
    ntfs = pytest.importorskip("dissect.ntfs")
    pyfsntfs = pytest.importorskip("pyfsntfs")
    pytsk3 = pytest.importorskip("pytsk3")
    image = make_image(8 * MIB, label="Label")
    with image.open("rb") as file:
        volume = ntfs.NTFS(file)
        assert volume.mft.get(MetaFile.UPCASE).open().read() == default_upcase()
        assert set(volume.mft.get("$Extend").listdir()) == {"$ObjId", "$Quota", "$Reparse"}
        assert volume.secure.lookup(0x102) is not None
    opened = pyfsntfs.volume()
    opened.open(str(image))
    try:
        assert opened.get_name() == "Label"
        assert opened.get_root_directory().number_of_sub_file_entries >= 11
    finally:
        opened.close()
    names = {entry.info.name.name.decode() for entry in pytsk3.FS_Info(pytsk3.Img_Info(str(image))).open_dir("/")}
    assert {"$MFT", "$UpCase", "$Extend"} <= names
