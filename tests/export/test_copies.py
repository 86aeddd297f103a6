"""Models are copied to folders, buckets and hubs, and what arrives is what left."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.export.copies import pull_model, push_model
from brainbrr_core.remote.folder import FolderRemote
from brainbrr_core.runs.model_folder import CHECKSUM, with_checksum
from tests.support.exported_models import export, secretive_run
from tests.support.local_hub import LocalHub, use_local_hub
from tests.support.object_store import BUCKET
from tests.support.shell import Shell

FILES = {"config.json", "model.safetensors", "README.md"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("exported")
    return export(*secretive_run(place), place / "detector")


@pytest.fixture
def model(exported: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(exported, tmp_path / "detector"))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_takes_a_model_and_gives_it_back(
    model: Path, tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "share" / "seizures"
    done = shell.type("model", "push", model, there)
    assert (done.returncode, done.stdout) == (0, f"pushed 3 files to {there}, verified\n")
    assert content(there) == content(model)
    # Again: what is there is the same.
    assert shell.type("model", "push", model, there).returncode == 0
    monkeypatch.chdir(tmp_path)
    done = shell.type("model", "pull", f"{there}/")
    assert (done.returncode, done.stdout) == (0, "pulled, verified: seizures\n")
    assert content(tmp_path / "seizures") == content(model)
    assert "seizures exists" in shell.refused("model", "pull", there)


@pytest.mark.usefixtures("s3")
def test_a_bucket_takes_a_model_and_gives_it_back(model: Path, tmp_path: Path) -> None:
    address = f"s3://{BUCKET}/models/detector"
    assert set(push_model(model, address)) == FILES
    pull_model(address, tmp_path / "pulled")
    assert content(tmp_path / "pulled") == content(model)


def test_any_other_protocol_does_too(model: Path, tmp_path: Path) -> None:
    push_model(model, "memory://models/detector")
    pull_model("memory://models/detector", tmp_path / "pulled")
    assert content(tmp_path / "pulled") == content(model)


def test_another_model_is_replaced_only_by_force(model: Path, tmp_path: Path, shell: Shell) -> None:
    (tmp_path / "b").mkdir()
    run, settings = secretive_run(tmp_path / "b")
    (run.directory / "threshold.json").unlink()
    other = export(run, settings, tmp_path / "other")
    there = tmp_path / "there"
    push_model(model, str(there))
    assert f"{there} has another model" in shell.refused("model", "push", other, there)
    assert content(there) == content(model)
    assert shell.type("model", "push", other, there, "--force").returncode == 0
    assert content(there) == content(other)


@pytest.mark.parametrize("name", ["README.md", "model.safetensors"])
@pytest.mark.parametrize("pushed_before", [False, True])
def test_a_file_of_somebody_at_the_address_is_kept(
    model: Path, tmp_path: Path, shell: Shell, name: str, pushed_before: bool
) -> None:
    """A folder in which somebody has notes, or a card that was edited where it is."""
    there = tmp_path / "there"
    if pushed_before:
        push_model(model, str(there))
        push_model(model, str(there))
    there.mkdir(exist_ok=True)
    (there / name).write_text("written by hand")
    before = content(there)
    line = shell.refused("model", "push", model, there)
    assert f"{there}/{name} is there and is another file" in line
    assert content(there) == before
    assert shell.type("model", "push", model, there, "--force").returncode == 0
    assert content(there) == content(model)


def test_a_damaged_folder_is_not_pushed(model: Path, tmp_path: Path, shell: Shell) -> None:
    weights = model / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    there = tmp_path / "there"
    assert f"{weights} is damaged" in shell.refused("model", "push", model, there)
    weights.unlink()
    assert f"{weights} is missing" in shell.refused("model", "push", model, there)
    assert not there.exists()


def test_bytes_that_change_on_the_way_are_noticed(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = FolderRemote.put

    def garble(self: FolderRemote, name: str, path: Path) -> None:
        put(self, name, path)
        if name.endswith("safetensors"):
            target = tmp_path / "there" / name
            target.write_bytes(target.read_bytes()[:-1] + b"?")

    monkeypatch.setattr(FolderRemote, "put", garble)
    with pytest.raises(BrainbrrError, match=r"model\.safetensors has other bytes than were sent"):
        push_model(model, str(tmp_path / "there"))


@pytest.mark.parametrize(
    ("name", "change", "line"),
    [
        ("model.safetensors", b"short", r"model\.safetensors is not the file that its config"),
        ("model.safetensors", None, r"model\.safetensors is missing"),
        ("config.json", None, "no model at"),
        ("config.json", b"{}", "another program wrote"),
    ],
)
def test_a_damaged_copy_is_not_pulled(
    model: Path, tmp_path: Path, name: str, change: bytes | None, line: str
) -> None:
    there = tmp_path / "there"
    push_model(model, str(there))
    if change is None:
        (there / name).unlink()
    else:
        (there / name).write_bytes(change)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(BrainbrrError, match=line):
        pull_model(str(there), tmp_path / "pulled")
    assert sorted(tmp_path.iterdir()) == before


def test_a_config_cannot_name_a_file_outside_its_folder(model: Path, tmp_path: Path) -> None:
    values = json.loads((model / "config.json").read_text())
    del values[CHECKSUM]
    values["files"]["../escaped"] = values["files"]["model.safetensors"]
    (model / "config.json").write_bytes(with_checksum(values))
    (tmp_path / "escaped").write_bytes((model / "model.safetensors").read_bytes())
    with pytest.raises(BrainbrrError, match=r"config\.json"):
        pull_model(str(model), tmp_path / "a" / "pulled")
    assert not (tmp_path / "a" / "escaped").exists()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[LocalHub]:
    return use_local_hub(monkeypatch, tmp_path / "hub")


def test_a_hub_takes_a_model_and_gives_it_back(
    hub: type[LocalHub],
    model: Path,
    tmp_path: Path,
    shell: Shell,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (model / "notes.txt").write_text("not part of the model")
    done = shell.type("model", "push", model, "hf://lab/detector")
    assert done.returncode == 0, done.stderr
    # The layout that a hub shows: the card, the configuration and the weights at the top.
    assert {path.name for path in (hub.root / "lab" / "detector").iterdir()} == FILES
    monkeypatch.chdir(tmp_path / "hub")
    assert shell.type("model", "pull", "hf://lab/detector@v1").returncode == 0
    (model / "notes.txt").unlink()
    assert content(tmp_path / "hub" / "detector") == content(model)
    # A revision may have slashes; the folder is still called after the model.
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(model)
    done = shell.type("model", "pull", "hf://lab/detector@refs/pr/1")
    assert done.stdout == "pulled, verified: detector\n"


def test_what_a_hub_refuses_is_one_line(
    hub: type[LocalHub],
    model: Path,
    tmp_path: Path,
    shell: Shell,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "no model at hf://lab/none" in shell.refused(
        "model", "pull", "hf://lab/none", tmp_path / "x"
    )
    assert "hf://lab names no repository" in shell.refused(
        "model", "pull", "hf://lab", tmp_path / "x"
    )
    monkeypatch.setattr(hub, "reachable", False)
    line = shell.refused("model", "push", model, "hf://lab/detector", status=1)
    assert "hf://lab/detector: the hub refused or failed (cannot reach the hub)" in line
    monkeypatch.setattr("brainbrr_core.export.hub.find_spec", lambda _name: None)
    assert "pip install 'brainbrr[hub]'" in shell.refused(
        "model", "push", model, "hf://lab/detector"
    )
