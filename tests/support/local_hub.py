"""A model hub of folders, in place of the client of the real one."""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError


class LocalHub:
    """What is used of a hub's client, with repositories as folders."""

    root = Path("unset")
    reachable = True

    def __init__(self, library_name: str) -> None:
        assert library_name == "brainbrr"

    def create_repo(self, repo_id: str, *, exist_ok: bool) -> None:
        (self.root / repo_id).mkdir(parents=True, exist_ok=exist_ok)

    def upload_folder(
        self,
        *,
        repo_id: str,
        folder_path: Path,
        revision: str | None,
        allow_patterns: list[str],
        commit_message: str,
    ) -> None:
        assert revision is None and commit_message
        for name in allow_patterns:
            shutil.copy(folder_path / name, self.root / repo_id / name)

    def hf_hub_download(
        self, repo_id: str, filename: str, *, revision: str | None, local_dir: Path
    ) -> str:
        assert revision in (None, "v1", "main", "refs/pr/1")
        if not self.reachable:
            raise LocalEntryNotFoundError("cannot reach the hub")
        if not (self.root / repo_id / filename).is_file():
            raise EntryNotFoundError.__new__(EntryNotFoundError)
        # The client leaves notes of its own beside the file.
        (local_dir / ".cache").mkdir(exist_ok=True)
        return str(shutil.copy(self.root / repo_id / filename, local_dir / filename))


def use_local_hub(monkeypatch: pytest.MonkeyPatch, root: Path) -> type[LocalHub]:
    """Have the program use a hub whose repositories are folders below ``root``."""
    real = huggingface_hub.HfApi
    # What is asked of this client could be asked of the real one.
    for name in ("create_repo", "upload_folder", "hf_hub_download"):
        ours = inspect.signature(getattr(LocalHub, name)).parameters
        assert set(ours) <= set(inspect.signature(getattr(real, name)).parameters), name
    monkeypatch.setattr(LocalHub, "root", root)
    monkeypatch.setattr(huggingface_hub, "HfApi", LocalHub)
    return LocalHub
