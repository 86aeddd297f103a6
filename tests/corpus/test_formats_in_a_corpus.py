"""A corpus in several formats: indexed, hashed, built, inspected and kept up to date like EDFs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import mne
import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from brainbrr_core.cache.build import build
from brainbrr_core.cache.plan import Plan, State, plan_corpus, plan_profile
from brainbrr_core.cache.shard import Shard
from brainbrr_core.cache.verify import verify
from brainbrr_core.configuration import Configuration, Corpus, Overrides, Preprocessing, load
from brainbrr_core.corpus.index import scan
from brainbrr_core.corpus.index_file import index_path, read_index, update_index
from brainbrr_core.edf.formats import reader_of, suffix_of
from brainbrr_core.edf.header import UnusableEdf
from brainbrr_core.edf.reader import open_edf
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.state import content_hash
from brainbrr_core.inspection.inspection import inspect_recording
from tests.support.edf_files import cut, write_edf
from tests.support.format_files import (
    NAMES,
    WRITERS,
    microvolts,
    raw_of,
    write_bdf,
    write_brainvision,
    write_eeglab,
    write_fif,
)
from tests.support.shell import Shell
from tests.support.vendor_files import PATIENT

FORMATS = (
    *("EDF", "BDF", "BrainVision int16", "EEGLAB with fdt", "FIF", "Persyst", "Nicolet"),
    *("GDF", "Neuroscan", "Nihon Kohden"),
)
#: How far stored samples may be from those of the EDF: pybv cuts off parts of its step, and that of
#: Nihon Kohden is another one.
COARSE = {".vhdr": 60, ".EEG": 60}
EVENTS = "onset\tduration\ttrial_type\n6.0\t4.0\tseizure\n"


def subject(data: Path, name: str, number: int) -> Path:
    """One subject with a recording in a format; all have the same signal."""
    file, write, _ = WRITERS[name]
    stem = f"sub-{number:02}_ses-1_task-rest_run-01"
    path = data / f"sub-{number:02}" / "ses-1" / "eeg" / f"{stem}_eeg{Path(file).suffix}"
    path.parent.mkdir(parents=True)
    (path.parent / f"{stem}_events.tsv").write_text(EVENTS)
    return write(path, raw_of(microvolts(), notes=[]))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A BIDS dataset with one subject for each format."""
    for number, name in enumerate(FORMATS):
        subject(tmp_path / "data", name, number)
    return tmp_path / "data"


@pytest.fixture
def configured(data: Path, tmp_path: Path) -> Configuration:
    folders = {"data_dir": str(data), "cache_root": str(tmp_path / "cache")}
    return load(Overrides(config="smoke:cpu", **folders), environment={})


def built(settings: Configuration) -> Plan:
    """The plan of a corpus of which every shard was built that can be."""
    summary = build(plan_corpus(settings, lambda _line: None), settings.preprocessing, workers=1)
    assert not summary.failed
    return plan_profile(settings)


def stored(plan: Plan, key: str) -> NDArray[np.int64]:
    """The stored samples of a recording."""
    shard = Shard(plan.store.shard_path(key))
    blocks = np.concatenate([*shard.blocks(0, shard.header.blocks)], axis=1)
    return blocks[:, : shard.header.samples].astype(np.int64)


def states(plan: Plan) -> dict[str, tuple[State, str]]:
    return {Path(item.recording.path).suffix: (item.state, item.reason) for item in plan.items}


def environment(settings: Configuration) -> Mapping[str, str]:
    return {
        "BRAINBRR_DATA_DIR": str(settings.data_dir),
        "BRAINBRR_CACHE_ROOT": str(settings.cache_root),
    }


def test_every_format_gives_the_row_and_the_shard_of_the_edf(configured: Configuration) -> None:
    plan = built(configured)
    assert [item.state for item in plan.items] == [State.FRESH] * len(FORMATS)
    first, *others = (item.recording for item in plan.items)
    reference = stored(plan, first.partition_key)
    for recording in others:
        assert (recording.reason, recording.rate, recording.missing) == (None, first.rate, ())
        assert abs(recording.samples - first.samples) == 0
        assert recording.events == first.events
        assert (recording.session, recording.label_source) == ("ses-1", "events.tsv")
        samples = stored(plan, recording.partition_key)
        # The last bit of a value may be rounded the other way.
        allowed = COARSE.get(Path(recording.path).suffix, 1)
        assert np.abs(samples - reference).max() <= allowed
        if allowed == 1:
            assert (samples != reference).mean() < 0.01


def test_a_shard_and_its_row_say_what_read_the_recording(configured: Configuration) -> None:
    plan = built(configured)
    for item in plan.items:
        header = Shard(plan.store.shard_path(item.recording.partition_key)).header
        reader = reader_of(item.recording.path)
        assert item.recording.reader == reader
        assert header.libraries.get("reader", "") == reader
    assert read_index(configured.cache_root).recordings == plan.index.recordings
    # Of an EDF nothing is added, not even where others are in the index.
    edf = plan.items[0].recording
    assert edf.source_version == edf.content_hash == content_hash(Path(edf.path))


def test_an_index_of_edfs_has_no_column_for_readers(tmp_path: Path) -> None:
    write_edf(tmp_path / "data" / "sub-1" / "eeg" / "sub-1_eeg.edf")
    update_index(str(tmp_path / "data"), tmp_path / "cache", Corpus())
    assert "reader" not in pq.read_schema(index_path(tmp_path / "cache")).names
    assert [r.reader for r in read_index(tmp_path / "cache")] == [""]


def test_a_new_version_of_the_reader_makes_its_recordings_stale_and_no_others(
    configured: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = built(configured)

    def newer(name: str) -> str:
        reader = reader_of(name)
        return f"{reader}.post1" if reader.startswith("mne.") else reader

    for module in ("corpus.row_reading", "cache.plan", "cache.shard_build"):
        monkeypatch.setattr(f"brainbrr_core.{module}.reader_of", newer)
    # Before the corpus is indexed again: nothing is built with another reader than the index says.
    outdated = plan_profile(configured)
    of_mne = {".vhdr", ".set", ".fif", ".lay", ".head", ".gdf", ".cnt", ".EEG"}
    assert {suffix for suffix, (state, _) in states(outdated).items() if state is State.STALE} == (
        of_mne
    )
    (fif,) = (r for r in before.index if r.path.endswith(".fif"))
    before.store.shard_path(fif.partition_key).unlink()
    summary = build(plan_profile(configured), configured.preprocessing, workers=1)
    (failed,) = summary.failed
    assert failed.partition_key == fif.partition_key
    assert "post1 is installed: run `brainbrr index` and build" in failed.error
    after = plan_corpus(configured, lambda _line: None)
    assert {
        suffix: reason for suffix, (state, reason) in states(after).items() if state is State.STALE
    } == dict.fromkeys(of_mne - {".fif"}, "bad channels or reader changed")
    assert after.store.version == before.store.version
    build(after, configured.preprocessing, workers=1)
    assert {state for state, _ in states(plan_profile(configured)).values()} == {State.FRESH}


@pytest.mark.parametrize(
    ("suffix", "part"),
    [
        *((".vhdr", ".eeg"), (".vhdr", ".seg"), (".set", ".fdt"), (".lay", ".dat")),
        *((".head", ".data"), (".EEG", ".21E"), (".EEG", ".PNT"), (".EEG", ".LOG")),
    ],
)
def test_a_changed_part_is_another_recording(
    configured: Configuration, data: Path, suffix: str, part: str
) -> None:
    if part == ".seg":
        # BrainVision Analyzer writes other suffixes, too: the header names the file.
        (header,) = data.rglob("*.vhdr")
        samples = header.with_suffix(".eeg")
        header.write_text(header.read_text("utf-8").replace(samples.name, f"{samples.stem}.seg"))
        samples.rename(samples.with_suffix(".seg"))
    before = built(configured)
    hashes = {r.path: r.content_hash for r in before.index}
    (changed,) = data.rglob(f"*_eeg{part}")
    content = bytearray(changed.read_bytes())
    at = min(1000, len(content) - 2)
    content[at] ^= 1
    changed.write_bytes(bytes(content))
    # Seen without indexing again, and when it is.
    for plan in (plan_profile(configured), plan_corpus(configured, lambda _line: None)):
        stale = {s for s, (state, _) in states(plan).items() if state is not State.FRESH}
        assert stale == {suffix}
    now = {r.path: r.content_hash for r in read_index(configured.cache_root)}
    assert {path for path in now if now[path] != hashes[path]} == {str(changed.with_suffix(suffix))}
    # And a part of the same size and time that was changed in secret, when everything is hashed.
    store = built(configured).store
    assert not verify(store, read_index(configured.cache_root)).changed_sources
    state = changed.stat()
    content[at] ^= 1
    changed.write_bytes(bytes(content))
    os.utime(changed, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert len(verify(store, read_index(configured.cache_root)).changed_sources) == 1


def test_broken_recordings_are_rows_with_a_reason_and_the_next_index_sees_them_mended(
    data: Path, tmp_path: Path
) -> None:
    held = tmp_path / "held"
    held.mkdir()
    (data_file,) = data.rglob("*_eeg.eeg")
    data_file.rename(held / data_file.name)
    (fdt,) = data.rglob("*.fdt")
    whole = fdt.read_bytes()
    cut(fdt, lambda size: size - 9)
    (fif,) = data.rglob("*.fif")
    fif.write_bytes(b"no FIF")
    index = scan(data)
    reasons = {Path(r.path).suffix: r.reason for r in index}
    assert reasons == {
        ".edf": None,
        ".bdf": None,
        ".vhdr": "missing_part",
        ".set": "truncated_file",
        ".fif": "unreadable",
        ".lay": None,
        ".head": None,
        ".gdf": None,
        ".cnt": None,
        ".EEG": None,
    }
    finding, *_ = next(r.findings for r in index if r.path.endswith(".vhdr"))
    assert (finding.code, finding.detail) == ("missing_part", data_file.name)
    (held / data_file.name).rename(data_file)
    fdt.write_bytes(whole)
    again = scan(data, index)
    reasons = {Path(r.path).suffix: r.reason for r in again}
    assert reasons[".vhdr"] is reasons[".set"] is None
    assert all(r.content_hash for r in again)


def test_a_recording_with_samples_that_are_no_numbers_is_excluded_unless_its_channel_is_bad(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "data" / "sub-01" / "eeg"
    folder.mkdir(parents=True)
    signal = microvolts()
    signal[NAMES.index("Cz"), 5000] = np.nan
    path = write_fif(folder / "sub-01_task-rest_eeg.fif", raw_of(signal))
    [row] = scan(tmp_path / "data")
    assert row.reason == "not_finite"
    assert [(f.where, f.detail) for f in row.findings if f.code == "not_finite"] == [
        (path.name, "Cz")
    ]
    assert (row.duration_s, row.missing) == (30.0, ())
    drawn = inspect_recording(path, Preprocessing())
    assert [reason for reason, _ in drawn.reasons] == ["not_finite"]
    (folder / "sub-01_task-rest_channels.tsv").write_text("name\tstatus\nCz\tbad\n")
    [row] = scan(tmp_path / "data")
    assert (row.reason, row.missing) == (None, ("Cz",))


@pytest.mark.parametrize("where", ["opened", "read"])
def test_a_recording_for_which_memory_does_not_suffice_is_an_error_that_is_not_remembered(
    configured: Configuration,
    data: Path,
    shell: Shell,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    (victim,) = data.rglob("*.set")

    def no_memory(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 9.31 GiB")

    with monkeypatch.context() as patch:
        owner = mne.io if where == "opened" else mne.io.BaseRaw
        patch.setattr(owner, "read_raw_eeglab" if where == "opened" else "get_data", no_memory)
        if where == "read":
            # Only in this file: the others are read by the same function.
            for path in data.rglob("*_eeg.*"):
                if suffix_of(path.name) not in ("", ".set", ".edf"):
                    path.unlink()
        for _ in range(2):
            done = shell.type("index", environment=environment(configured))
            assert done.returncode == 1
            (line,) = [line for line in done.stderr.splitlines() if "memory" in line]
            assert line.startswith(f"{victim}: memory ran out while it was read")
        assert str(victim) not in {r.path for r in read_index(configured.cache_root)}
        done = shell.type("inspect", victim, environment=environment(configured))
        assert (done.returncode, "memory ran out" in done.stderr) == (1, True)
    done = shell.type("index", environment=environment(configured))
    assert done.returncode == 0, done.stderr
    (row,) = (r for r in read_index(configured.cache_root) if r.path == str(victim))
    assert row.reason is None
    with monkeypatch.context() as patch:
        patch.setattr(mne.io, "read_raw_eeglab", no_memory)
        plan = plan_corpus(configured, lambda _line: None)
        (failed,) = build(plan, configured.preprocessing, workers=1).failed
        assert "memory ran out" in failed.error
        assert victim.name in failed.error
    # The row stays as it was, and the next build makes the shard.
    assert built(configured).count(State.FRESH) == len(plan.items)


def test_a_part_that_was_never_there_is_not_looked_for_again(
    configured: Configuration, data: Path
) -> None:
    (gone,) = data.rglob("*_eeg.eeg")
    gone.unlink()
    plan = built(configured)
    assert plan.sources_unseen == 0
    assert states(plan)[".vhdr"] == (State.EXCLUDED, "missing_part")
    verification = verify(plan.store, plan.index)
    assert (verification.unreadable, verification.changed_sources) == ({}, ())


def test_a_second_index_opens_nothing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = scan(data)

    def refuse(*_: object) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr("brainbrr_core.corpus.row_reading.open_edf", refuse)
    assert scan(data, index) == index


def test_the_same_name_in_two_formats_is_one_recording(tmp_path: Path) -> None:
    data = tmp_path / "data"
    path = subject(data, "EDF", 1)
    write_brainvision(path.with_suffix(".vhdr"), raw_of(microvolts(seed=1), notes=[]))
    write_fif(path.with_suffix(".fif"), raw_of(microvolts(seed=2), notes=[]))
    index = scan(data)
    assert [r.path for r in index] == [str(path)]
    assert {(kind, Path(name).suffix) for kind, name in index.skipped} == {
        ("same_name", ".vhdr"),
        ("same_name", ".fif"),
    }


def test_what_a_bids_dataset_has_besides_recordings_is_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    subject(data, "BDF", 1)
    raw = raw_of(microvolts(seed=1), notes=[])
    for folder in ("derivatives/clean/sub-01/eeg", "sub-01/derivatives/eeg", "sub-01/meg"):
        (data / folder).mkdir(parents=True)
        write_fif(data / folder / "sub-01_task-rest_run-02_eeg.fif", raw)
    split = data / "sub-02" / "eeg"
    split.mkdir(parents=True)
    raw_of(microvolts(600), notes=[]).save(
        split / "sub-02_task-rest_eeg.fif",
        split_size="10MB",
        split_naming="bids",
        fmt="double",
        verbose="error",
    )
    index = scan(data)
    assert [r.partition_key for r in index] == [
        "sub-01/ses-1/eeg/sub-01_ses-1_task-rest_run-01_eeg",
        "sub-02/eeg/sub-02_task-rest_split-01_eeg",
    ]
    assert index.recordings[1].duration_s == 600
    # The other parts are counted in its hash.
    assert len(index.recordings[1].file_states) > 2
    assert {kind for kind, _ in index.skipped} == {"not_of_layout"}


def test_bad_channels_of_a_table_and_annotations_of_the_file(tmp_path: Path) -> None:
    data = tmp_path / "data"
    eeg = data / "sub-01" / "eeg"
    eeg.mkdir(parents=True)
    write_eeglab(eeg / "sub-01_task-rest_run-01_eeg.set", raw_of(microvolts()))
    write_bdf(eeg / "sub-01_task-rest_run-02_eeg.bdf", raw_of(microvolts(seed=1)))
    (eeg / "sub-01_task-rest_channels.tsv").write_text("name\tstatus\nC3\tbad\nECG\tgood\n")
    for recording in scan(data):
        assert recording.missing == ("C3",)
        assert recording.label_source == "edf_annotations"
        assert [(e.start, e.stop, e.label) for e in recording.events] == [(6.0, 10.0, "seiz")]


def test_only_layouts_of_any_corpus_read_other_formats(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "train" / "p1" / "s001" / "01_tcp_ar"
    write_edf(folder / "p1_s001_t000.edf")
    write_bdf(folder / "p1_s001_t001.bdf", raw_of(microvolts()))
    index = scan(tmp_path / "data")
    assert [r.partition_key for r in index] == ["train/p1/s001/01_tcp_ar/p1_s001_t000"]
    assert [kind for kind, _ in index.skipped] == ["other_format"]


def test_a_corpus_behind_a_url_without_edf_and_bdf_is_refused_by_the_name_of_its_format(
    data: Path, tmp_path: Path
) -> None:
    for path in [*data.rglob("*.edf"), *data.rglob("*.bdf"), *data.rglob("*.fif")]:
        path.unlink()
    for path in data.rglob("*.gdf"):
        path.unlink()
    with pytest.raises(
        BrainbrrError, match="are in BrainVision and EEGLAB and Neuroscan and Nicolet and Nihon"
    ) as error:
        update_index(f"file://{data}", tmp_path / "cache", Corpus())
    assert str(error.value).endswith("copy the corpus to this machine and give its folder")
    with pytest.raises(BrainbrrError, match=r"no \.edf or \.bdf object at"):
        (tmp_path / "empty").mkdir()
        update_index(f"file://{tmp_path}/empty", tmp_path / "other", Corpus())


def test_behind_a_url_bdf_is_read_in_ranges_and_what_needs_files_is_named(
    data: Path, tmp_path: Path
) -> None:
    index = update_index(f"file://{data}", tmp_path / "cache", Corpus())
    assert {Path(r.path).suffix: r.reason for r in index} == {".edf": None, ".bdf": None}
    assert {(kind, Path(name).suffix) for kind, name in index.skipped} >= {
        ("needs_files", ".vhdr"),
        ("needs_files", ".set"),
        ("needs_files", ".fif"),
        ("needs_files", ".lay"),
        ("needs_files", ".gdf"),
        ("needs_files", ".cnt"),
        ("needs_files", ".21E"),
    }


def test_a_corpus_without_any_format_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "sub-01").mkdir()
    with pytest.raises(BrainbrrError, match=r"no \.edf or \.bdf or \.vhdr or .* file below"):
        scan(tmp_path)


def test_no_name_of_a_patient_leaves_the_header_of_a_file(
    configured: Configuration, data: Path, shell: Shell
) -> None:
    named = [
        path for path in data.rglob("*") if path.is_file() and PATIENT in path.read_text("latin-1")
    ]
    assert {path.suffix for path in named} == {".gdf", ".cnt", ".EEG", ".PNT"}
    # Damaged files, too, whose header a message might quote: of one, the model of the recorder.
    for path in named:
        content = path.read_bytes()
        if path.suffix == ".PNT":
            content = PATIENT.encode().ljust(16) + content[16:]
        path.with_name(path.name.replace("run-01", "run-02")).write_bytes(content)
    for parts in data.rglob("*.21E"):
        parts.with_name(parts.name.replace("run-01", "run-02")).write_bytes(parts.read_bytes())
    plan = built(configured)
    for item in plan.items:
        try:
            inspect_recording(Path(item.recording.path), Preprocessing())
        except BrainbrrError as error:
            assert PATIENT not in str(error)
    done = shell.type("index", "--list", environment=environment(configured))
    assert PATIENT not in done.stdout + done.stderr
    for path in configured.cache_root.rglob("*"):
        if path.is_file() and path.suffix == ".parquet":
            assert PATIENT not in str(pq.read_table(path).to_pydict())
        elif path.is_file():
            assert PATIENT.encode() not in path.read_bytes()
    assert any(item.recording.reason == "unreadable" for item in plan.items)


def test_the_samples_of_brainvision_are_not_taken_for_nihon_kohden(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "sub-01" / "eeg"
    folder.mkdir(parents=True)
    write_brainvision(folder / "sub-01_task-a_eeg.vhdr", raw_of(microvolts()))
    path = write_brainvision(folder / "sub-01_task-b_eeg.vhdr", raw_of(microvolts(seed=1)))
    path.unlink()
    index = scan(tmp_path / "data")
    assert [Path(r.path).name for r in index] == ["sub-01_task-a_eeg.vhdr"]
    with pytest.raises(UnusableEdf, match=r"of BrainVision, the \.vhdr is the main file"):
        open_edf(path.with_suffix(".eeg"))


def test_commands_take_every_format(
    configured: Configuration, data: Path, tmp_path: Path, shell: Shell
) -> None:
    done = shell.type("index", "--list", environment=environment(configured))
    assert done.returncode == 0, done.stderr
    for path in sorted(data.rglob("*_eeg.*")):
        if suffix_of(path.name) in ("", ".eeg") and path.suffix != ".EEG":
            continue
        out = tmp_path / path.suffix[1:]
        done = shell.type(
            "inspect", path, "--out", out / "page.html", environment=environment(configured)
        )
        assert done.returncode == 0, done.stderr
        assert (out / "page.html").is_file()
    key, page = "sub-02_ses-1_task-rest_run-01_eeg.vhdr", tmp_path / "by-key.html"
    done = shell.type("inspect", key, "--out", page, environment=environment(configured))
    assert done.returncode == 0, done.stderr
    assert page.is_file()
