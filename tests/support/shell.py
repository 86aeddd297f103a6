"""Commands as a user types them: ``brainbrr`` in this process, others in their own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from brainbrr_core.cli.app import main

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Done:
    """The exit status and output of a command."""

    returncode: int
    stdout: str
    stderr: str


def clean_environment() -> dict[str, str]:
    """The environment without the variables that choose a configuration."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BRAINBRR_", "DAGSTER_"))
    }


def run(*words: str, environment: Mapping[str, str] | None = None) -> Done:
    """Run a command of this environment in its own process."""
    done = subprocess.run(
        [str(BIN / words[0]), *words[1:]],
        env=clean_environment() | dict(environment or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


class Shell:
    """Types ``brainbrr`` in this process: what it imports is imported once for all tests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def type(
        self, *words: object, environment: Mapping[str, str] | None = None, stdin: bytes = b""
    ) -> Done:
        """Run ``brainbrr`` with these words, to its exit."""
        with self._monkeypatch.context() as patch:
            for name in os.environ.keys() - clean_environment().keys():
                patch.delenv(name)
            for name, value in (environment or {}).items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["brainbrr", *map(str, words)])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            self._capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main()
        out, err = self._capsys.readouterr()
        code = ended.value.code
        return Done(code if isinstance(code, int) else 0, out, err)

    def printed(self, *words: object) -> dict[str, Any]:
        """What a command that succeeds prints with ``--json``."""
        done = self.type(*words, "--json")
        assert done.returncode == 0, done.stderr
        values: dict[str, Any] = json.loads(done.stdout)
        return values

    def refused(
        self, *words: object, environment: Mapping[str, str] | None = None, status: int = 2
    ) -> str:
        """The one line in which a command says what is wrong."""
        done = self.type(*words, environment=environment)
        lines = [line for line in done.stderr.splitlines() if line.startswith("brainbrr: ")]
        assert done.returncode == status, done.stdout + done.stderr
        assert len(lines) == 1, done.stderr
        assert "Traceback" not in done.stderr
        return lines[0]
