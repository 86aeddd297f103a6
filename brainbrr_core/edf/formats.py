"""File formats of recordings: their suffixes, what reads each, and the files that one consists of.

EDF and BDF are read by this package, the others by MNE (:mod:`brainbrr_core.edf.decoded`). Only
names and, of formats with a text as their main file, that text are looked at here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from functools import cache
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import NamedTuple

from brainbrr_core.files.regular import read_bytes

#: Name and version of the reader of BDF; to be increased by hand when its output changes.
_BDF_READER = "brainbrr bdf 1"


class Format(NamedTuple):
    """A file format: its name, and the function of ``mne.io`` that reads it, if one does.

    ``read_suffix`` is that of the file which this function is given, where that is not the main
    one, and ``options`` are further arguments.
    """

    name: str
    mne_reader: str = ""
    read_suffix: str = ""
    options: tuple[tuple[str, str], ...] = ()


#: Formats by the suffix of the main file of a recording. Of files with the same name, the one with
#: the first of these is the recording.
FORMATS = {
    ".edf": Format("EDF"),
    ".bdf": Format("BDF"),
    ".vhdr": Format("BrainVision", "read_raw_brainvision"),
    ".set": Format("EEGLAB", "read_raw_eeglab"),
    ".fif": Format("FIF", "read_raw_fif"),
    ".lay": Format("Persyst", "read_raw_persyst"),
    ".head": Format("Nicolet", "read_raw_nicolet", ".data", (("ch_type", "eeg"),)),
    ".gdf": Format("GDF", "read_raw_gdf"),
    # Of the marks of a bad channel, the older place is within labels of more than four characters.
    ".cnt": Format("Neuroscan", "read_raw_cnt", options=(("header", "new"),)),
    # No byte of a comment is an error in Latin-1.
    ".eeg": Format("Nihon Kohden", "read_raw_nihon", options=(("encoding", "latin-1"),)),
}
_SUFFIXES = tuple(FORMATS)
#: Suffixes of files of which any range of bytes can be read.
NATIVE = frozenset({".edf", ".bdf"})
#: Usual suffixes of files that are a part of a recording, next to its main file.
_PART_SUFFIXES = (".eeg", ".vmrk", ".fdt", ".dat", ".fif", ".data", ".21e", ".pnt", ".log")
#: Suffixes next to an ``.eeg`` by which it is a recording of Nihon Kohden: that of BrainVision with
#: the samples has the same suffix.
_NIHON_KOHDEN = (".21e", ".pnt")
#: Suffixes of files that describe a recording: annotations, channels, and how it was acquired.
_DESCRIPTIONS = (".tsv", ".json", ".csv", ".csv_bi", ".tse", ".tse_bi", ".lbl", ".lbl_bi")
#: Files named in the main file of BrainVision and of Persyst.
_NAMED = {
    ".vhdr": re.compile(r"^\s*(?:DataFile|MarkerFile)\s*=\s*(\S.*?)\s*$", re.I | re.M),
    ".lay": re.compile(r"^\s*File\s*=\s*(\S.*?)\s*$", re.I | re.M),
}
#: A further file of a FIF recording as MNE names it, or as BIDS does.
_MORE_FIF = re.compile(r"(?P<stem>.+)-[1-9]\d*\.fif")
_SPLIT = re.compile(r"(?P<start>.*_split-)(?P<number>\d+)(?P<end>(?:_.*)?\.fif)")


def suffix_of(name: str) -> str:
    """The suffix of the main file of a recording, in lower case; empty for any other file."""
    lower = name.lower()
    if not lower.endswith(_SUFFIXES):
        return ""
    return lower[lower.rindex(".") :]


def is_edf(name: str) -> bool:
    """Whether a file has the suffix of an EDF; it may be hidden."""
    return name.lower().endswith(".edf")


def is_native(name: str) -> bool:
    """Whether a file has the suffix of an EDF or BDF, of which any range of bytes can be read."""
    return suffix_of(name) in NATIVE


def without_suffix(name: str) -> str:
    """The name or path of a recording without its suffix; itself where it has none."""
    suffix = suffix_of(name)
    return name[: len(name) - len(suffix)]


@cache
def _reader(suffix: str) -> str:
    if suffix == ".bdf":
        return _BDF_READER
    name = FORMATS[suffix].mne_reader
    return f"mne.io.{name} {version('mne')}" if name else ""


def reader_of(name: str) -> str:
    """Name and version of what reads a file, as far as they shape the signal; empty for an EDF.

    The signal of an EDF depends on no library: what could change it has its place in the
    preprocessing version.
    """
    suffix = suffix_of(name)
    return _reader(suffix) if suffix else ""


def format_of(name: str) -> Format | None:
    """The format of a recording, by its main file or, of Nihon Kohden, its labels."""
    if name.lower().endswith(_NIHON_KOHDEN[0]):
        return FORMATS[".eeg"]
    suffix = suffix_of(name)
    return FORMATS[suffix] if suffix and suffix != ".eeg" else None


def is_part(name: str) -> bool:
    """Whether a file that belongs to a recording has samples or markers of it.

    The main file may name them, with any suffix.
    """
    return not name.lower().endswith(_DESCRIPTIONS)


class Chosen(NamedTuple):
    """The main files among the files of a folder, files of the same name, and further parts."""

    recordings: tuple[str, ...]
    doubled: tuple[str, ...]
    parts: frozenset[str]

    @property
    def all(self) -> tuple[str, ...]:
        """Every one of these files."""
        return (*self.recordings, *self.doubled, *self.parts)


def choose(names: Sequence[str], suffixes: Iterable[str]) -> Chosen:
    """Which files of a folder are recordings with one of these ``suffixes``.

    Of several with the same name and different suffixes, only the first in the order of
    :data:`FORMATS` is; files whose suffixes differ in upper and lower case alone are left to the
    caller.
    """
    wanted = frozenset(suffixes)
    by_suffix = {name: suffix for name in names if (suffix := suffix_of(name)) in wanted}
    if ".eeg" in by_suffix.values():
        lower = {name.lower() for name in names}
        by_suffix = {
            name: suffix
            for name, suffix in by_suffix.items()
            if suffix != ".eeg" or _is_nihon_kohden(name.lower(), lower)
        }
    if set(by_suffix.values()) <= {".edf"}:
        return Chosen(tuple(by_suffix), (), frozenset())
    all_names = frozenset(names)
    parts = {name for name in by_suffix if _is_further_part(name, all_names)}
    best: dict[str, str] = {}
    for name, suffix in by_suffix.items():
        if name not in parts:
            stem = without_suffix(name)
            best[stem] = min(best.get(stem, suffix), suffix, key=_SUFFIXES.index)
    mains = [name for name in by_suffix if name not in parts]
    chosen = tuple(name for name in mains if best[without_suffix(name)] == by_suffix[name])
    doubled = tuple(name for name in mains if best[without_suffix(name)] != by_suffix[name])
    stems = set(best)
    parts.update(
        name
        for name in names
        if name not in by_suffix
        and name.lower().endswith(_PART_SUFFIXES)
        and name.rpartition(".")[0] in stems
    )
    return Chosen(chosen, doubled, frozenset(parts))


def _is_nihon_kohden(eeg: str, names: AbstractSet[str]) -> bool:
    """Whether an ``.eeg`` is a recording and not the samples of one, by the other names."""
    stem = without_suffix(eeg)
    return f"{stem}.vhdr" not in names and any(stem + end in names for end in _NIHON_KOHDEN)


def _is_further_part(name: str, names: frozenset[str]) -> bool:
    """Whether a FIF continues another one that is there."""
    more, split = _MORE_FIF.fullmatch(name), _SPLIT.fullmatch(name)
    if more is not None and f"{more['stem']}.fif" in names:
        return True
    return split is not None and _numbered(split, 1) in names - {name}


def _numbered(split: re.Match[str], number: int) -> str:
    """The name of another file of a split FIF."""
    return f"{split['start']}{number:0{len(split['number'])}}{split['end']}"


def part_names(path: Path) -> tuple[str, ...]:
    """Names, relative to its folder, of the other files that a recording consists of.

    They need not exist. Of a main file that cannot be read, none is known.
    """
    suffix = suffix_of(path.name)
    if suffix in _NAMED:
        try:
            named = _NAMED[suffix].findall(main_text(path))
        except OSError:
            return ()
        # A path is that of the machine that wrote it: the file is looked for next to the main one.
        names = (re.split(r"[\\/]", name)[-1].replace("$b", path.stem) for name in named)
        return tuple(dict.fromkeys(_present_name(path, name) for name in names))
    if suffix == ".set":
        data = path.with_suffix(".fdt")
        return (data.name,) if data.exists() else ()
    if suffix == ".fif":
        return tuple(_further_fifs(path))
    if suffix == ".head":
        return (path.with_suffix(".data").name,)
    if suffix == ".eeg":
        return tuple(_nihon_kohden_parts(path))
    return ()


def _nihon_kohden_parts(path: Path) -> Iterator[str]:
    """Labels, and start and comments if they are there, by the names that MNE reads."""
    yield path.with_suffix(".21E").name
    start = next((end for end in (".PNT", ".pnt") if path.with_suffix(end).exists()), None)
    if start is not None:
        yield path.with_suffix(start).name
    if any(path.with_suffix(end).exists() for end in (".LOG", ".log")):
        yield path.with_suffix(".LOG").name


def main_text(path: Path) -> str:
    """The text of the main file of a BrainVision or Persyst recording. Raises ``OSError``."""
    content = read_bytes(path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _present_name(path: Path, name: str) -> str:
    """The name of a part; of markers that were renamed with the main file, their present one."""
    own = path.stem + ".vmrk"
    is_renamed = name.lower().endswith(".vmrk") and not path.with_name(name).exists()
    return own if is_renamed and path.with_name(own).exists() else name


def _further_fifs(path: Path) -> Iterator[str]:
    split = _SPLIT.fullmatch(path.name)
    for number in count(1):
        if split is None:
            name = f"{path.stem}-{number}.fif"
        else:
            name = _numbered(split, int(split["number"]) + number)
        if not path.with_name(name).exists():
            return
        yield name
