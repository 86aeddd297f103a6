"""Reading an index by columns gives what reading it row by row gives, and little memory is used."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainbrr_core.annotation import Event, Finding
from brainbrr_core.cache.version import chain_fingerprint, shard_fingerprint
from brainbrr_core.configuration import Preprocessing
from brainbrr_core.constants import CHANNELS
from brainbrr_core.corpus.index import Index, scan
from brainbrr_core.corpus.index_file import index_path, read_index, write_index
from brainbrr_core.corpus.recording import Companion, Recording
from brainbrr_core.corpus.skipped import Skipped
from brainbrr_core.files.canonical import digest
from brainbrr_core.files.state import FileState
from tests.support.examples import examples

WHOLE = 2**63 - 1
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
number = st.floats(allow_nan=False)
state = st.builds(
    FileState, st.integers(0, WHOLE), st.integers(-WHOLE, WHOLE), st.integers(0, 2**64 - 1)
)
reason = st.sampled_from([None, "unreadable", "too_short"])
recording = st.builds(
    Recording,
    partition_key=text,
    split=st.sampled_from(["train", "dev", "eval", ""]),
    patient=text,
    session=text,
    montage=text,
    path=text,
    state=state,
    content_hash=text,
    rate=st.fractions(0, 10**6, max_denominator=10**6),
    samples=st.integers(0, 10**12),
    signals=st.integers(0, 300),
    discontinuous=st.booleans(),
    matched=st.lists(st.tuples(st.sampled_from(CHANNELS), text), max_size=4).map(tuple),
    missing=st.lists(st.sampled_from(CHANNELS), max_size=4).map(tuple),
    signal_reason=reason,
    label_reason=st.sampled_from([None, "no_annotation"]),
    label_source=st.sampled_from(["", "csv_bi"]),
    companions=st.lists(st.builds(Companion, text, state), max_size=3).map(tuple),
    annotated_duration_s=st.none() | number,
    events=st.lists(
        st.builds(
            Event,
            st.floats(0, 1e6),
            st.floats(0, 1e6),
            text,
            number,
            st.lists(text, max_size=3).map(tuple),
        ),
        max_size=3,
    ).map(tuple),
    findings=st.lists(st.builds(Finding, text, text, text), max_size=3).map(tuple),
)


#: Columns whose values are taken as they are.
PLAIN = [
    "partition_key",
    "split",
    "patient",
    "session",
    "montage",
    "path",
    "content_hash",
    "samples",
    "signals",
    "discontinuous",
    "signal_reason",
    "label_reason",
    "label_source",
    "annotated_duration_s",
    "data_hash",
]


def row_by_row(path: Path) -> list[Recording]:
    """The plain way to read an index: each row as a dictionary."""

    def states(values: dict[str, Any]) -> FileState:
        return FileState(values["size"], values["mtime_ns"], values["inode"])

    return [
        Recording(
            **{name: row[name] for name in PLAIN},
            state=states(row["state"]),
            rate=Fraction(row["rate_numerator"], row["rate_denominator"]),
            matched=tuple((pair["electrode"], pair["label"]) for pair in row["matched"]),
            missing=tuple(row["missing"]),
            companions=tuple(Companion(c["name"], states(c)) for c in row["companions"]),
            events=tuple(
                Event(e["start"], e["stop"], e["label"], e["confidence"], tuple(e["channels"]))
                for e in row["events"]
            ),
            findings=tuple(Finding(f["code"], f["where"], f["detail"]) for f in row["findings"]),
        )
        for row in pq.read_table(path).to_pylist()
    ]


@examples(60)
@given(rows=st.lists(recording, max_size=6), copies=st.integers(1, 3))
def test_reading_by_column_gives_the_same_recordings_as_by_row(
    rows: list[Recording], copies: int
) -> None:
    index = Index(
        tuple(rows * copies),
        "folder",
        (Skipped("not_of_layout", "a.edf"), Skipped("hidden_folder", "b/")),
    )
    with tempfile.TemporaryDirectory() as folder:
        write_index(index, Path(folder))
        found = read_index(Path(folder))
        assert found == index
        assert list(found) == row_by_row(index_path(Path(folder)))
    for recording in found:
        assert type(recording.samples) is int
        assert type(recording.discontinuous) is bool
        assert all(type(event.start) is float for event in recording.events)


def test_the_index_of_a_corpus_is_the_same_by_column_and_by_row(
    corpus: Path, tmp_path: Path
) -> None:
    index = scan(corpus)
    write_index(index, tmp_path)
    assert list(read_index(tmp_path)) == row_by_row(index_path(tmp_path)) == list(index)


@given(content=text, missing=st.lists(st.sampled_from(CHANNELS), max_size=3))
@examples(50)
def test_a_fingerprint_is_the_digest_of_chain_source_and_channels(
    content: str, missing: list[str]
) -> None:
    chain = chain_fingerprint(Preprocessing())
    expected = digest({"chain": chain, "source": content, "interpolated": missing})
    assert shard_fingerprint(Preprocessing(), content, missing) == expected


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read on Linux only")
def test_an_index_of_100_000_recordings_takes_less_than_500_mb(
    corpus: Path, tmp_path: Path
) -> None:
    models = [r for r in scan(corpus) if r.reason is None]
    rows = tuple(
        replace(
            model,
            partition_key=f"{model.split}/p{number // 10:06}/s001/01_tcp_ar/r{number:07}",
            patient=f"p{number // 10:06}",
            path=f"/data/tusz/edf/{model.split}/p{number // 10:06}/s001/r{number:07}.edf",
            content_hash=f"{number:064x}",
            state=model.state._replace(inode=number),
        )
        for number in range(100_000)
        for model in [models[number % len(models)]]
    )
    write_index(Index(rows, "tusz"), tmp_path)
    program = (
        "import sys; from pathlib import Path\n"
        "from brainbrr_core.benchmark.peak_memory import peak_mb\n"
        "from brainbrr_core.corpus.index_file import read_index\n"
        "print(len(read_index(Path(sys.argv[1]))), peak_mb())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    count, peak = done.stdout.split()
    print(f"{peak} MB")
    assert int(count) == 100_000
    assert float(peak) < 500
