"""Fingerprints: everything that shaped the bytes of a shard, and nothing else.

Window length, stride, label map, split and paths shape no byte, so they are not in here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from pydantic import JsonValue

from brainbrr_core.configuration import Preprocessing
from brainbrr_core.constants import BLOCK_S, CHANNELS, MONTAGES, RATE, MontageName
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.canonical import canonical_json, digest, json_text
from brainbrr_core.signal import edges, statistics, trailing
from brainbrr_core.signal.chain import ALGORITHM_VERSION
from brainbrr_core.signal.derivation import derivation_rules
from brainbrr_core.signal.interpolation import interpolation_constants
from brainbrr_core.signal.montage import label_rules
from brainbrr_core.signal.quantization import SCALE
from brainbrr_core.signal.resampling import DESIGN

#: Bumped when the shard's file format changes.
FORMAT_VERSION = 2


#: Parameters of the chain that are younger than its version, with the value that says what the
#: version did before. At that value they are left out: adding one makes no store stale.
_LATER_PARAMETERS = {"scale": "recording_sd", "zscore_minutes": None}


def chain_parameters(settings: Preprocessing) -> dict[str, JsonValue]:
    """The settings and constants that shape the bytes of a shard; hashed for its fingerprint."""
    chain = settings.model_dump(mode="json")
    by_block = {} if settings.zscore_minutes is None else trailing.CONSTANTS
    derived = {} if settings.montage == "10-20" else {"derivations": digest(derivation_rules())}
    return {
        "algorithm": ALGORITHM_VERSION,
        "format": FORMAT_VERSION,
        "block_s": BLOCK_S,
        "channels": list(settings.channels),
        "scale": repr(SCALE),
        "resampler": DESIGN,
        "edges": edges.CONSTANTS,
        "statistics": {**statistics.CONSTANTS, **by_block},
        # As digests: every shard carries these parameters.
        "interpolation": digest(interpolation_constants()),
        "labels": digest(label_rules()),
        **derived,
        "chain": {
            name: value
            for name, value in chain.items()
            if name not in _LATER_PARAMETERS or value != _LATER_PARAMETERS[name]
        },
    }


@lru_cache(maxsize=16)
def chain_fingerprint(settings: Preprocessing) -> str:
    """Hash of everything that shapes a shard but its source."""
    return digest(chain_parameters(settings))


def preprocessing_version(settings: Preprocessing) -> str:
    """Name of the version that these settings build, such as ``v2_256hz_10-20_3fa9c2d10b7e``.

    Parameters
    ----------
    settings : Preprocessing
        Settings of the signal chain.

    Returns
    -------
    str
        Name of the version's folder in the cache root.
    """
    short = chain_fingerprint(settings)[:12]
    return f"v{ALGORITHM_VERSION}_{settings.rate_hz}hz_{settings.montage}_{short}"


def shard_fingerprint(
    settings: Preprocessing, content_hash: str, interpolated: Sequence[str], reader: str = ""
) -> str:
    """What one recording's shard must carry.

    The chain's fingerprint, the EDF's hash, and which electrodes are interpolated, since a table
    beside the EDF may mark channels as bad. Of a recording in another format, also its ``reader``
    (:func:`brainbrr_core.edf.formats.reader_of`).
    """
    return shard_fingerprints(settings)(content_hash, interpolated, reader)


def shard_fingerprints(settings: Preprocessing) -> Callable[[str, Sequence[str], str], str]:
    """:func:`shard_fingerprint` of many recordings, of which most have the same electrodes."""
    chain = chain_fingerprint(settings)
    beginnings: dict[tuple[str, ...], str] = {}

    def fingerprint(content_hash: str, interpolated: Sequence[str], reader: str = "") -> str:
        # The digest of all; what many recordings share is written once.
        electrodes = tuple(interpolated)
        beginning = beginnings.get(electrodes)
        if beginning is None:
            values = {"chain": chain, "interpolated": electrodes}
            beginning = beginnings[electrodes] = canonical_json(values).removesuffix("}")
        read_by = f',"reader":{json_text(reader)}' if reader else ""
        text = f'{beginning}{read_by},"source":{json_text(content_hash)}}}'
        return hashlib.sha256(text.encode()).hexdigest()

    return fingerprint


#: How the names of versions begin that were imported, not built.
IMPORTED_PREFIX = "v0-npz_"


def is_imported(version: str) -> bool:
    """Whether a version was imported, and so can be neither built nor applied to an EDF."""
    return version.startswith(IMPORTED_PREFIX)


def imported_parameters() -> dict[str, JsonValue]:
    """The parameters of an imported shard, as far as they are known."""
    return {
        "algorithm": "0-npz",
        "format": FORMAT_VERSION,
        "block_s": BLOCK_S,
        "channels": list(CHANNELS),
        "scale": repr(SCALE),
    }


def imported_version() -> str:
    """The name of the version that imported shards belong to."""
    return f"{IMPORTED_PREFIX}{RATE}hz_10-20_{digest(imported_parameters())[:12]}"


def imported_fingerprint(source_hash: str) -> str:
    """What an imported shard carries: these parameters and its archive's hash."""
    return digest({"chain": digest(imported_parameters()), "source": source_hash})


#: ``v<algorithm>_<rate>hz_<montage>_<12 hex digits>``; an imported one has ``v0-npz`` in front.
_NAME = re.compile(r"v(?:[1-9]\d*|0-npz)_\d+hz_(?P<montage>[^_/]+)_[0-9a-f]{12}")


def is_version_name(name: str) -> bool:
    """Whether this is the full name of a version, built or imported."""
    return _NAME.fullmatch(name) is not None


def montage_of(version: str) -> MontageName:
    """The montage that a version's name has.

    Raises :class:`BrainbrrError` for a name without one, or with one that only another version of
    the program has.
    """
    match = _NAME.fullmatch(version)
    for montage in MONTAGES:
        if match is not None and match["montage"] == montage:
            return montage
    raise BrainbrrError(
        f"{version} is of no montage of this program ({', '.join(MONTAGES)}): use the program that "
        "wrote it"
    )


def channels_of(version: str) -> tuple[str, ...]:
    """The channels of the shards of a version, in order. Raises as :func:`montage_of`."""
    return MONTAGES[montage_of(version)]
