"""Where a remote copy lies. Credentials never stand in an address, nor in what is printed."""

from __future__ import annotations

import os
import re
import unicodedata
from urllib.parse import urlsplit

from brainbrr_core.errors import BrainbrrError

#: Variables whose values must not be shown (the AWS chain's).
_SECRET_VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID")
_USER_INFO = re.compile(r"(?<=://)[^/\s]*@")
_SCHEME = re.compile(r"[A-Za-z0-9+]{2,}:")
_SIGNED = re.compile(
    r"(?i)\b(x-amz-[a-z-]*(?:signature|credential|security-token)|signature|sig|token)=[^&\s'\"]+"
)


def redact(text: str) -> str:
    """``text`` without user names and passwords of URLs, signatures, and the chain's secrets."""
    for name in _SECRET_VARIABLES:
        # A value of few characters is no secret, and would blot out half of a text.
        if len(value := os.environ.get(name, "")) >= 8:
            text = text.replace(value, "***")
    text = _USER_INFO.sub("***@", text)
    return _SIGNED.sub(lambda match: f"{match.group(1)}=***", text)


def one_line(error: BaseException) -> str:
    """What an error says, on one line and without secrets."""
    return redact(" ".join(str(error).split()) or type(error).__name__)


def normalize_address(url: str) -> str:
    """``url`` without a trailing slash.

    Raises :class:`BrainbrrError` when it holds credentials or a signature (they come from the AWS
    chain: variables, ``~/.aws`` or the machine's role), or is none that can be used.
    """
    shown = redact(url)
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in url):
        raise BrainbrrError(f"{shown!r} is no address: it holds a line break or the like")
    try:
        os.fsencode(url)
    except UnicodeEncodeError:
        raise BrainbrrError(f"{shown!r} is no address: it holds half of a character") from None
    try:
        # A path on this machine may hold any other character.
        parts = urlsplit(url if "://" in url else "file://")
    except ValueError as error:
        raise BrainbrrError(
            f"{shown} is no address ({error}): use one such as s3://bucket/brainbrr"
        ) from None
    if "@" in parts.netloc:
        raise BrainbrrError(
            f"{shown} holds a user name or a password: leave it out, and give credentials by "
            "AWS_PROFILE, the AWS_* variables or the machine's role"
        )
    if parts.query or parts.fragment:
        raise BrainbrrError(
            f"{shown.partition('?')[0].partition('#')[0]} is followed by a query: give the plain "
            "address, and credentials by AWS_PROFILE, the AWS_* variables or the machine's role"
        )
    if "::" in url or not url or ("://" not in url and _SCHEME.match(url)):
        raise BrainbrrError(
            f"{shown or 'an empty text'} is no address: use one such as s3://bucket/brainbrr"
        )
    if parts.scheme == "file" and parts.netloc not in ("", "localhost"):
        raise BrainbrrError(
            f"{shown} names the host {parts.netloc}: mount its folder here, and give the path of "
            "that, such as /mnt/share/brainbrr"
        )
    if parts.scheme != "file" and not parts.netloc:
        raise BrainbrrError(f"{shown} names no bucket: use an address such as s3://bucket/brainbrr")
    return url.rstrip("/") or url
