"""The names of ``brainbrr_core`` keep their parameters, defaults and members."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import fields, is_dataclass

import pytest

import brainbrr_core

#: Functions and methods, and the classes that a script makes itself, with their parameters. A
#: change here breaks scripts: what is added has a default and stands last or is a keyword, and what
#: is removed is in the changelog.
SIGNATURES = {
    "Detector.analyze": "(self, recording, rate=None, channels=None, *, bads=())",
    "Detector.annotate": "(self, raw, *, bads=())",
    "Detector.predict": "(self, recording, rate=None, channels=None, *, bads=())",
    "Detector.probabilities": "(self, recording, rate=None, channels=None, *, bads=())",
    "Event": "(start, stop, label='seiz', confidence=1.0, channels=())",
    "RecordingEvents": "(subject, duration_s, reference, hypothesis, name='', "
    "hypothesis_duration_s=None, unknown=())",
    "SplitWindows.arrays": "(self, batch_size, *, sampling=None, seed=0)",
    "SplitWindows.loader": "(self, batch_size, *, sampling=None, seed=0)",
    "StoredCorpus.events": "(self, key)",
    "StoredCorpus.findings": "(self, key)",
    "StoredCorpus.header": "(self, key)",
    "StoredCorpus.read": "(self, key, start_s=0.0, stop_s=None, unit='uV')",
    "StoredCorpus.recording": "(self, key)",
    "StoredCorpus.to_mne": "(self, key)",
    "load_model": "(run, *, threshold=None, device=None, batch=None, config=None, runs_dir=None)",
    "match_events": "(reference, hypothesis, *, patient_pattern=None, "
    "unmatched=<Unmatched.REFUSE: 'refuse'>, seizure_texts=())",
    "open_store": "(root, version=None)",
    "open_windows": "(root, split, *, profile='full', version=None, fold=None, config=None)",
    "preprocess": "(signal, rate=None, channels=None, *, bads=(), montage=None, unit='sd', "
    "settings=None, rules=None)",
    "score_events": "(recordings, *, rules=('szcore', 'nedc'), age_groups=None, "
    "bootstrap_samples=1000, bootstrap_seed=0)",
    "stored_versions": "(root)",
}
#: What their instances have besides methods and what ``__init__`` alone sets.
MEMBERS = {
    "Detector": set(),
    "Event": {"channels", "confidence", "duration", "label", "start", "stop"},
    "EventScores": {
        *("ages", "counts", "estimates", "hours", "outcomes", "patients", "recordings"),
        "unknown_s",
    },
    "RecordingEvents": {
        *("subject", "duration_s", "reference", "hypothesis", "name", "hypothesis_duration_s"),
        "unknown",
    },
    "SplitWindows": set(),
    "StoredCorpus": {"index", "keys"},
}


def parameters(function: object) -> str:
    """The parameters of a function or class with their defaults, without types."""
    assert callable(function)
    empty = inspect.Parameter.empty
    stated = inspect.signature(function).parameters.values()
    return str(inspect.Signature([one.replace(annotation=empty) for one in stated]))


def test_every_public_name_is_pinned() -> None:
    assert {name.partition(".")[0] for name in (*SIGNATURES, *MEMBERS)} == {*brainbrr_core.__all__}


@pytest.mark.parametrize("name", SIGNATURES)
def test_parameters_and_defaults_stay(name: str) -> None:
    first, _, member = name.partition(".")
    value = getattr(brainbrr_core, first)
    assert parameters(getattr(value, member) if member else value) == SIGNATURES[name]


@pytest.mark.parametrize("name", MEMBERS)
def test_no_member_appears_or_goes_unnoticed(name: str) -> None:
    cls = getattr(brainbrr_core, name)
    public = {member for member in vars(cls) if not member.startswith("_")}
    if is_dataclass(cls):
        public |= {field.name for field in fields(cls)}
    methods = {member.partition(".")[2] for member in SIGNATURES if member.startswith(f"{name}.")}
    assert public == MEMBERS[name] | methods


def test_importing_the_library_loads_nothing_heavy() -> None:
    script = (
        "import sys, brainbrr_core\n"
        "dir(brainbrr_core)\n"
        "heavy = ('torch', 'mne', 'dagster', 'scipy', 'numba', 'pandas', 'pyarrow', 'numpy')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
