"""Addresses of remote locations, and the removal of secrets from text."""

from __future__ import annotations

import os
import re
import unicodedata
from urllib.parse import urlsplit

from brainbrr_core.errors import BrainbrrError

#: Variables of the AWS chain whose values must not be shown.
_SECRET_VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID")
_USER_INFO = re.compile(r"(?<=://)[^/\s]*@")
_SCHEME = re.compile(r"[A-Za-z0-9+]{2,}:")
_SIGNED = re.compile(
    r"(?i)\b(x-amz-[a-z-]*(?:signature|credential|security-token)|signature|sig|token)=[^&\s'\"]+"
)
_EXAMPLE = "use an address such as s3://bucket/brainbrr"
_CREDENTIALS = (
    "supply credentials through AWS_PROFILE, the AWS_* variables or the machine's role instead"
)


def redact(text: str) -> str:
    """Replace user names and passwords in URLs, signatures and AWS secrets by ``***``."""
    for name in _SECRET_VARIABLES:
        # A value of a few characters is not a secret, and replacing it would garble the text.
        if len(value := os.environ.get(name, "")) >= 8:
            text = text.replace(value, "***")
    text = _USER_INFO.sub("***@", text)
    return _SIGNED.sub(lambda match: f"{match.group(1)}=***", text)


def one_line(error: BaseException) -> str:
    """The message of an error, on one line and without secrets."""
    return redact(" ".join(str(error).split()) or type(error).__name__)


def normalize_address(url: str) -> str:
    """Return ``url`` without a trailing slash.

    Raises :class:`BrainbrrError` if it contains credentials or a signature, which belong in the
    AWS chain (variables, ``~/.aws`` or the machine's role), or is not a valid address.
    """
    shown = redact(url)
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in url):
        raise BrainbrrError(
            f"{shown!r} is not a valid address, because it contains a control character or a line "
            f"break: {_EXAMPLE}"
        )
    try:
        os.fsencode(url)
    except UnicodeEncodeError:
        raise BrainbrrError(
            f"{shown!r} is not a valid address, because it contains an invalid character: "
            f"{_EXAMPLE}"
        ) from None
    try:
        # A path on this machine may contain any other character.
        parts = urlsplit(url if "://" in url else "file://")
    except ValueError as error:
        raise BrainbrrError(f"{shown} is not a valid address ({error}): {_EXAMPLE}") from None
    if "@" in parts.netloc:
        raise BrainbrrError(
            f"{shown} contains a user name or a password: remove it, and {_CREDENTIALS}"
        )
    if parts.query or parts.fragment:
        raise BrainbrrError(
            f"{shown.partition('?')[0].partition('#')[0]} is followed by a query or a fragment: "
            f"remove it, and {_CREDENTIALS}"
        )
    if "::" in url or not url or ("://" not in url and _SCHEME.match(url)):
        raise BrainbrrError(f"{shown or 'an empty text'} is not a valid address: {_EXAMPLE}")
    if parts.scheme == "file" and parts.netloc not in ("", "localhost"):
        raise BrainbrrError(
            f"{shown} names the host {parts.netloc}: mount the folder on this machine, and give "
            "its path here, such as /mnt/share/brainbrr"
        )
    if parts.scheme != "file" and not parts.netloc:
        raise BrainbrrError(f"{shown} names no bucket: {_EXAMPLE}")
    return url.rstrip("/") or url
