"""What ``brainbrr doctor`` reports and warns of, and which cache roots a training refuses."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from brainbrr_core.cache import readiness
from brainbrr_core.cache.build import build
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import State, plan_corpus, plan_profile
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.cache.readiness import check
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration, Hardware, Overrides, load
from brainbrr_core.doctor import examination, facts
from brainbrr_core.doctor.estimate import find_edfs, sampled_extent
from brainbrr_core.doctor.examination import examine
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.machine import software
from brainbrr_core.machine.disk import read_rate, write_rate
from brainbrr_core.machine.filesystem import FileSystem, Kind, file_system
from brainbrr_core.training import preflight as preflight_module
from brainbrr_core.training.preflight import disk_remarks
from tests.support.shell import Shell
from tests.support.small_run import small_config

#: What Linux lists as mounted; HERE stands for the folder of the test.
MOUNTS = r"""
overlay / overlay rw 0 0
/dev/nvme0n1p1 HERE/data ext4 rw 0 0
mountpoint-s3 HERE/data/bucket fuse.mountpoint-s3 rw 0 0
server:/share HERE/share\040one nfs4 rw 0 0
C:\134 HERE/mnt/c 9p rw,aname=drvfs 0 0
tmpfs HERE/dev/shm tmpfs rw 0 0
first HERE/twice ext4 rw 0 0
second HERE/twice fuse.s3fs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "name", "kind"),
    [
        ("somewhere", "overlay", Kind.LOCAL),
        ("data/cache", "ext4", Kind.LOCAL),
        ("data/bucket/cache", "fuse.mountpoint-s3", Kind.BUCKET),
        ("data/bucketful", "ext4", Kind.LOCAL),
        ("share one/cache", "nfs4", Kind.NETWORK),
        ("mnt/c/Users/x", "9p", Kind.SHARED),
        ("dev/shm", "tmpfs", Kind.MEMORY),
        ("twice/x", "fuse.s3fs", Kind.BUCKET),
    ],
)
def test_the_file_system_of_a_path_is_that_of_its_mount(
    path: str, name: str, kind: Kind, tmp_path: Path
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS.replace("HERE", str(tmp_path.resolve())))
    (tmp_path / path).mkdir(parents=True)
    detected = file_system(tmp_path / path, mounts)
    assert detected is not None
    assert (detected.name, detected.kind) == (name, kind)


def test_a_machine_without_mounts_says_nothing(tmp_path: Path) -> None:
    assert file_system(tmp_path, tmp_path / "none") is None
    here = file_system(tmp_path / "not" / "yet" / "there")
    assert here == file_system(tmp_path)


def test_a_disk_is_measured_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(10 << 20))
    assert write_rate(tmp_path, 0.05) > 0
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    rate = read_rate([tmp_path / "a"], 0.2)
    assert rate is not None
    assert rate > 0
    (tmp_path / "b").write_bytes(bytes(1 << 20))
    assert read_rate([tmp_path / "b"]) is None
    assert read_rate([]) is None


def test_torchs_build_is_read_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    assert software.torch_cuda() == torch.version.cuda
    (tmp_path / "version.py").write_text(
        "from typing import Optional\ncuda: Optional[str] = '12.8'\n"
    )
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda _name: SimpleNamespace(origin=str(tmp_path / "__init__.py")),
    )
    assert software.torch_cuda() == "12.8"


def test_cards_are_what_the_driver_says(tmp_path: Path) -> None:
    command = tmp_path / "smi"
    command.write_text("#!/bin/sh\necho 'NVIDIA A100-SXM4-40GB, 40960, 550.54.15'\n")
    command.chmod(0o755)
    (card,) = software.gpus(str(command))
    assert (card.name, card.memory_gb, card.driver) == ("NVIDIA A100-SXM4-40GB", 42.9, "550.54.15")
    command.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'; exit 9\n")
    assert software.gpus(str(command)) == []
    assert software.gpus(str(tmp_path / "nothing")) == []


def test_hours_are_estimated_from_a_sample_of_headers(corpus: Path) -> None:
    edfs, complete = find_edfs(corpus)
    assert (len(edfs), complete) == (12, True)
    extent = sampled_extent(edfs, complete=complete)
    # The corpus has 0.4 h in all.
    assert extent.hours == pytest.approx(0.4, rel=0.02)
    # 19 channels of 16 bits at 256 Hz.
    assert extent.bytes == pytest.approx(0.4 * 3600 * 19 * 2 * 256, rel=0.02)


def test_the_doctor_lists_the_choices_of_a_new_machine(settings: Configuration) -> None:
    examination = examine(settings)
    assert not examination.ready
    titles = [choice.what for choice in examination.choices]
    assert [title.split()[0] for title in titles] == ["build", "pull", "try"]
    built = examination.choices[0]
    assert built.hours is not None
    assert 0 < built.hours < 0.1
    # The file of the configuration names the folder; what an option names has to be given again.
    assert "--data-dir" not in built.command
    config = settings.options.removeprefix(" --config ")
    given = load(Overrides(config=config, data_dir=str(settings.data_dir)))
    assert f"--data-dir {settings.data_dir}" in examine(given).choices[0].command
    assert not settings.cache_root.exists()


def test_the_doctor_of_a_built_cache_says_train(settings: Configuration) -> None:
    build(plan_corpus(settings), settings.preprocessing, workers=1)
    examination = examine(settings)
    assert examination.ready
    assert [choice.what for choice in examination.choices] == ["train on this cache"]
    assert examination.cache.progress is not None
    assert examination.cache.progress.states[State.FRESH] == 12
    assert examination.data.hours == 0.4
    printed = json.loads(json.dumps(examination.values()))
    assert printed["ready"] is True
    assert (printed["cache"]["selected"], printed["cache"]["fresh"]) == (12, 12)
    assert (printed["cache"]["missing"], printed["cache"]["to_build"]) == (0, 0)
    store = Store.of(settings)
    for key in sorted(store.shard_keys())[:6]:
        store.shard_path(key).unlink()
    half = examine(settings, look_only=True)
    assert not half.ready
    remark = half.choices[0].remark
    hours = sum(i.recording.duration_s for i in plan_profile(settings).to_build) / 3600
    assert f"{hours:.1f} h of EEG, by the index" in remark


def test_the_doctor_says_that_the_corpus_has_changed_since_it_was_indexed(
    settings: Configuration, shell: Shell
) -> None:
    """Annotations, too, which make no shard stale and of which a training would not know."""
    build(plan_corpus(settings), settings.preprocessing, workers=1)
    assert not any("indexed" in warning for warning in examine(settings, look_only=True).warnings)
    first, second = sorted(Path(str(settings.data_dir)).rglob("*.csv_bi"))[:2]
    first.write_text(first.read_text() + "\n")
    second.with_suffix(".edf").rename(second.with_name("other.edf"))
    said = "has changed since it was indexed (1 added, 1 changed, 1 removed): run `brainbrr index"
    assert any(said in warning for warning in examine(settings, look_only=True).warnings)
    # It names a command that can be typed: that one takes no profile.
    chosen = ("--config", small_config(settings.cache_root.parent), "--profile", "full")
    told = shell.type("doctor", *chosen).stdout
    [command] = re.findall(r"\(1 added, .*run `brainbrr (index.*)`", told)
    # More than 5 % are gone.
    assert shell.type(*shlex.split(command), "--force").returncode == 0
    assert "indexed" not in shell.type("doctor", *chosen).stdout


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        (Kind.BUCKET, "fuse.s3fs", "from which a GPU gets too little data"),
        (Kind.NETWORK, "nfs4", "on a network file system"),
        (Kind.SHARED, "9p", "Windows drive seen from WSL2"),
        (Kind.MEMORY, "tmpfs", "gone after a restart"),
    ],
)
def test_a_file_system_that_is_too_slow_or_passing_is_warned_of(
    settings: Configuration, monkeypatch: pytest.MonkeyPatch, kind: Kind, name: str, said: str
) -> None:
    monkeypatch.setattr(examination, "file_system", lambda _path: FileSystem("/x", name, kind))
    monkeypatch.setattr(facts, "is_wsl", lambda: True)
    assert any(said in warning for warning in examine(settings, look_only=True).warnings)


def test_a_machine_that_lacks_much_is_warned_of_all_of_it(
    settings: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = settings.model_copy(
        update={
            "hardware": Hardware(name="a100", device="cuda", ssm_backend="mamba_ssm"),
            "data_dir": "/nowhere/at/all",
        }
    )
    monkeypatch.setattr(facts, "write_rate", lambda _folder: 12e6)
    monkeypatch.setattr(examination, "torch_cuda", lambda: None)
    monkeypatch.setattr("resource.getrlimit", lambda _what: (256, 4096))
    monkeypatch.setattr(facts, "free_bytes", lambda _path: 2.5e9)
    warnings = examine(gpu).warnings
    for said in (
        "12 MB/s written",
        "built without CUDA",
        "the driver shows none",
        "mamba-ssm",
        "256 files may be open at a time",
        "2.5 GB are free",
        "/nowhere/at/all, which does not exist",
    ):
        assert any(said in warning for warning in warnings), said


def test_doctor_answers_at_once_and_imports_no_torch(
    settings: Configuration, tmp_path: Path
) -> None:
    assert settings.cache_root == tmp_path / "cache"
    code = (
        "import sys, json; from brainbrr_core.cli.app import main\n"
        "try:\n    main()\n"
        "finally:\n    sys.stderr.write(str('torch' in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "doctor", "--json", "--config", small_config(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "False")
    assert {"machine", "software", "gpu", "data", "cache", "warnings", "choices"} <= set(
        json.loads(done.stdout)
    )


@pytest.mark.parametrize("secret", ["", "someone:hunter2@"])
def test_a_remote_cache_root_is_refused_with_the_pull_that_replaces_it(
    tmp_path: Path, secret: str
) -> None:
    with pytest.raises(BrainbrrError) as raised:
        load(Overrides(cache_root=f"s3://{secret}bucket/brainbrr?a=hunter2"), {})
    said = str(raised.value)
    assert "brainbrr cache pull s3://bucket/brainbrr --cache-root FOLDER" in said
    assert "hunter2" not in said
    with pytest.raises(BrainbrrError, match="runs_dir"):
        load(Overrides(runs_dir="s3://bucket/runs", cache_root=str(tmp_path)), {})


def test_training_refuses_a_mounted_bucket_and_warns_of_a_slow_disk(
    settings: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(plan_corpus(settings), settings.preprocessing, workers=1)
    update_manifest(plan_profile(settings), settings.manifest_settings)
    checked = check(ProfileCache.of(settings))
    # What this machine's disk does at this moment is not the test's.
    (measured,) = disk_remarks(checked, 0.1)
    assert f"MB/s read from {settings.cache_root}" in measured
    monkeypatch.setattr(preflight_module, "read_rate", lambda _paths, _seconds: 40e6)
    (remark,) = disk_remarks(checked)
    # A window of 60 s is 583,680 bytes: 40 MB/s are 68.5 of them.
    assert remark.startswith("warning: a slow disk: 40 MB/s")
    assert "at most 69 windows/s" in remark
    bucket = FileSystem("/x", "fuse.s3fs", Kind.BUCKET)
    monkeypatch.setattr(readiness, "file_system", lambda _path: bucket)
    with pytest.raises(BrainbrrError, match="brainbrr cache pull"):
        check(ProfileCache.of(settings))


def test_training_without_edfs_asks_for_a_pull_not_for_a_build(settings: Configuration) -> None:
    build(plan_corpus(settings), settings.preprocessing, workers=1)
    store = Store.of(settings)
    store.shard_path(sorted(store.shard_keys())[0]).unlink()
    with pytest.raises(WorkRemains, match="run `brainbrr cache build"):
        check(ProfileCache.of(settings))
    shutil.rmtree(str(settings.data_dir))
    with pytest.raises(WorkRemains, match="run `brainbrr cache pull s3://BUCKET/PREFIX"):
        check(ProfileCache.of(settings))
