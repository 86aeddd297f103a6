"""A repository of a model hub, through ``huggingface_hub`` where it is installed."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.remote.address import one_line

SCHEME = "hf://"
_ADDRESS = re.compile(r"hf://(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?/?")


@dataclass(frozen=True)
class Repository:
    """A repository of models: ``owner/name``, and a branch, tag or commit of it."""

    name: str
    revision: str | None

    @classmethod
    def of(cls, address: str) -> Repository:
        """That of an address ``hf://owner/name`` or ``hf://owner/name@revision``.

        Raises :class:`BrainbrrError` for another address, and without ``huggingface_hub``.
        """
        match = _ADDRESS.fullmatch(address)
        if match is None:
            raise BrainbrrError(
                f"{address} names no repository of models: use an address such as hf://owner/name"
            )
        if find_spec("huggingface_hub") is None:
            raise BrainbrrError(
                f"{address} needs huggingface_hub, which is not installed: "
                "pip install 'brainbrr[hub]'"
            )
        return cls(match["name"], match["revision"])

    @property
    def address(self) -> str:
        """The address, for messages."""
        return SCHEME + self.name + ("" if self.revision is None else f"@{self.revision}")

    def upload(self, directory: Path, names: Sequence[str]) -> None:
        """Store files of a folder in one commit; the repository is created if need be."""
        from huggingface_hub import HfApi

        with self._requests():
            api = HfApi(library_name="brainbrr")
            api.create_repo(self.name, exist_ok=True)
            api.upload_folder(
                repo_id=self.name,
                folder_path=directory,
                revision=self.revision,
                allow_patterns=list(names),
                commit_message="Model exported by brainbrr",
            )

    def read(self, name: str) -> bytes | None:
        """The bytes of a file; None where there is no such file or repository."""
        with tempfile.TemporaryDirectory() as folder:
            path = self._fetch(name, Path(folder))
            return None if path is None else path.read_bytes()

    def fetch(self, name: str, target: Path) -> bool:
        """Copy a file to ``target``; False where there is no such file or repository."""
        # The hub's own notes beside it stay in the temporary folder.
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            path = self._fetch(name, Path(folder))
            if path is None:
                return False
            path.replace(target)
        return True

    def _fetch(self, name: str, folder: Path) -> Path | None:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import (
            EntryNotFoundError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
        )

        with self._requests():
            try:
                api = HfApi(library_name="brainbrr")
                path = api.hf_hub_download(
                    self.name, name, revision=self.revision, local_dir=folder
                )
            except LocalEntryNotFoundError:
                # Also a missing entry to the hub's library: the hub itself did not answer.
                raise
            except (EntryNotFoundError, RepositoryNotFoundError):
                return None
        return Path(str(path))

    @contextmanager
    def _requests(self) -> Iterator[None]:
        """What the hub refuses, and a hub that does not answer, are one line."""
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError

        # Its base is what the library's own client raises for a connection that fails.
        failures: tuple[type[Exception], ...] = (
            *(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception)),
            *(HFValidationError, OSError),
        )
        try:
            yield
        except failures as error:
            raise WorkRemains(
                f"{self.address}: the hub refused or failed ({one_line(error)}): check the name, "
                "`hf auth login` and the network, and run the same command again"
            ) from None
