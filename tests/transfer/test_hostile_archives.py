"""Archives and catalogs made to fill the memory, and archives with any bytes changed."""

from __future__ import annotations

import io
import json
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from brainbrr_core.configuration import Configuration
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.transfer.catalog import parse_catalog
from tests.support.examples import examples
from tests.support.machines import (
    import_from,
    machine,
    stored_shards,
)


def unpacked(path: Path) -> bytes:
    with pa.CompressedInputStream(str(path), "zstd") as stream:
        return bytes(stream.read())


def packed(path: Path, data: bytes) -> Path:
    with pa.CompressedOutputStream(str(path), "zstd") as stream:
        stream.write(data)
    return path


def header(name: str, kind: bytes, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT)


#: A header that Python's own reader takes into memory whole.
GREEDY = [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK]


@pytest.mark.parametrize("where", ["first", "among the shards"])
@pytest.mark.parametrize("kind", GREEDY)
def test_a_large_header_is_refused_before_it_is_read(
    small: Configuration, tmp_path: Path, exported: Path, kind: bytes, where: str
) -> None:
    """Of 200 MB of zeros, which are some kB of zstd; the catalog promises shards of as much."""
    large = 200 * 2**20
    good = unpacked(exported)
    catalogue_size = 512 + int(good[124:136].rstrip(b"\0 "), 8)
    head, start = b"", good[: catalogue_size + -catalogue_size % 512]
    if where == "among the shards":
        values = json.loads(start[512:catalogue_size])
        for row in values["shards"].values():
            row[1] = large
        text = json.dumps(values).encode()
        head = header("catalogue.json", tarfile.REGTYPE, len(text)) + text
        head += bytes(-len(head) % 512)
        head += good[len(start) : len(start) + 512]
        size = int(good[len(start) + 124 : len(start) + 136].rstrip(b"\0 "), 8)
        head += good[len(start) + 512 :][: size + -size % 512]
    path = tmp_path / "bomb.tar.zst"
    with pa.CompressedOutputStream(str(path), "zstd") as stream:
        stream.write(head + header("././@Header", kind, large))
        for _ in range(large // 2**20):
            stream.write(bytes(2**20))
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(BrainbrrError, match=r"(is|are) refused") as raised:
            import_from(machine(small, tmp_path), path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "\n" not in str(raised.value)
    assert raised.value.exit_status == 2
    assert peak < 20e6


@pytest.mark.parametrize("piece", [b"[],", b"{},", b'"",', b"0,", b"[[", b'{"a":'])
def test_a_catalog_that_would_fill_the_memory_is_none(piece: bytes) -> None:
    content = b"[" + piece * (10 * 2**20 // len(piece)) + b"0]"
    tracemalloc.start()
    try:
        with pytest.raises(BrainbrrError, match="is not a catalog"):
            parse_catalog(content, None, "it")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20e6


def test_names_and_sizes_of_extended_headers_are_read(
    small: Configuration, tmp_path: Path, exported: Path
) -> None:
    """As another program's tar writes them: a long name, and records that mean nothing here."""
    path = tmp_path / "extended.tar.zst"
    with (
        tarfile.open(fileobj=io.BytesIO(unpacked(exported))) as source,
        pa.CompressedOutputStream(str(path), "zstd") as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as target,
    ):
        for member in source:
            # Written as an extended header with a time that no plain header holds.
            member.mtime = 1234567890.5
            target.addfile(member, source.extractfile(member))
    other = machine(small, tmp_path)
    assert import_from(other, path).moved == 4
    assert stored_shards(other) == stored_shards(small)


@st.composite
def mutations(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A few bytes flipped, overwritten, cut out, doubled or cut off, mostly near the start."""
    place = draw(st.floats(0, 1)) ** draw(st.sampled_from([1, 4, 12]))
    kind = draw(st.sampled_from(["flip", "write", "cut", "double", "end"]))
    size = draw(st.sampled_from([1, 2, 12, 512, 1024]))
    value = draw(st.binary(min_size=1, max_size=16))

    def mutated(data: bytes) -> bytes:
        at = int(place * (len(data) - 1))
        if kind == "flip":
            return data[:at] + bytes([data[at] ^ (value[0] or 1)]) + data[at + 1 :]
        if kind == "write":
            return data[:at] + value + data[at + len(value) :]
        if kind == "cut":
            return data[:at] + data[at + size :]
        if kind == "double":
            return data[: at + size] + data[at:]
        return data[:at]

    return mutated


@examples(120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mutate=mutations(), inside=st.booleans())
def test_whatever_becomes_of_an_archive_its_import_is_right_or_one_line(
    small: Configuration,
    exported: Path,
    tmp_path_factory: pytest.TempPathFactory,
    mutate: Callable[[bytes], bytes],
    inside: bool,
) -> None:
    place = tmp_path_factory.mktemp("mutated")
    path = place / "mutated.tar.zst"
    if inside:
        packed(path, mutate(unpacked(exported)))
    else:
        path.write_bytes(mutate(exported.read_bytes()))
    other, whole = machine(small, place), stored_shards(small)
    try:
        outcome = import_from(other, path)
    except BrainbrrError as error:
        assert "\n" not in str(error)
    else:
        assert outcome.moved + len(outcome.failed) + len(outcome.absent) == len(whole)
        assert outcome.moved == len(stored_shards(other))
    assert stored_shards(other).items() <= whole.items()
    assert not list(other.cache_root.rglob("*.partial"))
