"""What the counts of ``index``, ``cache status`` and ``doctor`` are about, by name."""

from __future__ import annotations

from pathlib import Path

from tests.support.bids import add_subject, write_bids
from tests.support.shell import Shell

SUBJECTS = [f"sub-{number}" for number in range(1, 9)]


def key(subject: str) -> str:
    return f"{subject}/eeg/{subject}_task-rest_eeg"


def lines_after(text: str, start: str) -> list[str]:
    """The indented lines below the one that starts like this."""
    lines = text.splitlines()
    [number] = [n for n, line in enumerate(lines) if line.startswith(start)]
    below = lines[number + 1 :]
    ends = next((n for n, line in enumerate(below) if not line.startswith("  ")), len(below))
    return below[:ends]


def test_the_first_excluded_missing_and_stale_recordings_are_named(
    tmp_path: Path, shell: Shell
) -> None:
    data = write_bids(tmp_path / "data", SUBJECTS)
    for subject in SUBJECTS[:2]:
        edf = data / f"{key(subject)}.edf"
        edf.write_bytes(edf.read_bytes()[:-4000])
    words = ("--data-dir", data, "--cache-root", tmp_path / "cache")
    found = shell.type("index", *words).stdout
    assert lines_after(found, "truncated_file: ") == [f"  {key(name)}" for name in SUBJECTS[:2]]
    status = ("cache", "status", *words[2:])
    missing = shell.type(*status).stdout
    assert lines_after(missing, "excluded: truncated_file: 2 rec") == [
        f"  {key(name)}" for name in SUBJECTS[:2]
    ]
    assert lines_after(missing, "missing: not built: 6 rec") == [
        *(f"  {key(name)}" for name in SUBJECTS[2:7]),
        "  and 1 more: brainbrr cache build --dry-run",
    ]
    assert shell.type("cache", "build", "--workers", 1, *words).returncode == 0
    add_subject(data, "sub-5", seed=1)
    assert shell.type("index", *words).returncode == 0
    assert lines_after(shell.type(*status).stdout, "stale: ") == [f"  {key('sub-5')}"]


def test_the_doctor_of_a_corpus_without_seizures_advises_no_training(
    tmp_path: Path, shell: Shell
) -> None:
    data = write_bids(tmp_path / "data", SUBJECTS[:1], SUBJECTS[1:4])
    words = ("--data-dir", data, "--cache-root", tmp_path / "cache")
    assert shell.type("cache", "build", "--workers", 1, *words).returncode == 0
    said = shell.type("doctor", *words).stdout
    assert "no patient with seizures in dev or eval: only sub-1 has a usable seizure" in said
    assert "1. see which patients have seizures: brainbrr index --list" in said
    assert "brainbrr train" not in said
    write_bids(data, SUBJECTS[1:3])
    assert shell.type("cache", "build", "--workers", 1, *words).returncode == 0
    assert "1. train on this cache: brainbrr manifest" in shell.type("doctor", *words).stdout
