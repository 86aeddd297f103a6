"""The secret from which pseudonyms and shifts of dates follow, and the file that keeps it."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.filesystem import real_path

#: What a patient's code becomes. No code of a hospital has this form.
PSEUDONYM = re.compile(r"anon[0-9a-f]{12}")
#: Bytes of a secret, in its file twice as many hexadecimal digits.
_BYTES = 32
_CONTENT = re.compile(r"[0-9a-f]{64}\n?")
#: Dates move by at least a day and at most ten years, into the future: an EDF cannot have a date
#: before 1985.
_MOST_DAYS = 3652


@dataclass(frozen=True)
class Secret:
    """Names patients and shifts their dates; the same key gives the same names and shifts."""

    key: bytes = field(repr=False)

    def pseudonym(self, patient: str) -> str:
        """The code that stands for a patient."""
        return f"anon{self._digest('patient', patient)[:12]}"

    def days(self, patient: str) -> int:
        """By how many days all dates of a patient move, from 1 to 3,652."""
        return 1 + int(self._digest("days", patient), 16) % _MOST_DAYS

    def file_name(self, patient: str, relative: str) -> str:
        """The name, without a suffix, of the recording that had the path ``relative``."""
        return f"{self.pseudonym(patient)}_{self._digest('file', relative)[:10]}"

    def _digest(self, purpose: str, text: str) -> str:
        message = f"{purpose}\0{text}".encode("utf-8", "surrogateescape")
        return hmac.new(self.key, message, hashlib.sha256).hexdigest()


def default_secret_path() -> Path:
    """The file of the secret where none is given, in the user's data folder."""
    import platformdirs

    return platformdirs.user_data_path("brainbrr", appauthor=False) / "deidentify.secret"


def open_secret(path: Path) -> Secret:
    """The secret in a file, which is made, for its owner alone, where there is none.

    Raises :class:`BrainbrrError` for a file that others may read, that is no secret, or that cannot
    be read or made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return _read(path)
        key = secrets.token_bytes(_BYTES)
        try:
            with os.fdopen(descriptor, "w") as file:
                # Whatever the umask adds or a shared folder sets by default.
                os.fchmod(file.fileno(), 0o600)
                file.write(f"{key.hex()}\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            # A part of a secret would be refused the next time.
            path.unlink()
            raise
    except OSError as error:
        raise BrainbrrError(
            f"the secret {path} cannot be read or made ({error.strerror or error}): give another "
            "file with --secret"
        ) from None
    return Secret(key)


def _read(path: Path) -> Secret:
    if path.is_dir():
        raise BrainbrrError(f"the secret {path} is a folder: give a file with --secret")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise BrainbrrError(
            f"others may read the secret {path}, from which real dates follow: "
            f"run `chmod 600 {path}`, or give another file with --secret"
        )
    text = path.read_text(encoding="utf-8", errors="replace")
    if _CONTENT.fullmatch(text) is None:
        raise BrainbrrError(
            f"{path} is not a secret that this command wrote (64 hexadecimal digits): give another "
            "file with --secret, which is made where it does not exist"
        )
    return Secret(bytes.fromhex(text.strip()))


def check_location(path: Path, source: Path, out: Path) -> None:
    """Raise :class:`BrainbrrError` where the secret would lie within IN or OUT."""
    resolved = real_path(path)
    for folder in (real_path(source), real_path(out)):
        if folder == resolved or folder in resolved.parents:
            raise BrainbrrError(
                f"the secret {path} lies within {folder}, and would be given away with it: name "
                "another file with --secret"
            )
