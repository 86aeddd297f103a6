"""A folder of EDFs, or one, copied without what says who was recorded, and a report of that."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from brainbrr_core.annotation.texts import DEFAULT_TEXTS, Texts
from brainbrr_core.corpus.layouts.base import stem_of, unreadable_folder
from brainbrr_core.deidentification.companions import Companion, Companions, is_companion
from brainbrr_core.deidentification.companions import cleaned as cleaned_companion
from brainbrr_core.deidentification.header import Identity
from brainbrr_core.deidentification.naming import has_date, names_patient
from brainbrr_core.deidentification.patients import patient_of
from brainbrr_core.deidentification.recording import SourceEdf, cleaned, open_source
from brainbrr_core.deidentification.secret import Secret
from brainbrr_core.deidentification.tables import TableContext
from brainbrr_core.edf.formats import is_edf
from brainbrr_core.edf.header import UnusableEdf
from brainbrr_core.errors import BrainbrrError, WorkRemains, check_exhausted
from brainbrr_core.files.atomic import replacing
from brainbrr_core.files.one_process import only_writer
from brainbrr_core.machine.filesystem import real_path
from brainbrr_core.machine.walk import walk
from brainbrr_core.progress import progress

#: Why an EDF is not copied, besides the reasons of ``UnusableEdf``; a closed list.
NAMED_IN_PATH = "named_in_path"
UNREADABLE = "unreadable"
EXISTS = "exists"
#: Why another file is not copied; a closed list.
NOT_COPIED = {
    "vocabulary": "it may have free text",
    "no_edf": "no EDF that it describes was copied",
    "renamed": "it describes several EDFs, which have other names now",
    "other": "neither an EDF nor a file that a layout reads",
    "hidden": "hidden, or a folder that is not entered",
    "exists": "OUT has another file of this name",
}


@dataclass(frozen=True)
class Refused:
    """An EDF that is not copied: its path in IN, a code, and the reason in words."""

    path: str
    code: str
    reason: str


@dataclass(frozen=True)
class Planned:
    """An EDF, its patient and identity, and the path of its copy."""

    relative: PurePosixPath
    rule: str
    patient: str
    identity: Identity
    target: PurePosixPath


@dataclass
class Copied:
    """What became of a folder of EDFs.

    Attributes
    ----------
    patients : Counter of str
        Patients by the rule that told them.
    written, present : int
        EDFs that were written, and that were there already from an earlier call.
    tables : int
        Files that describe EDFs (annotations, channels, people) that were written or there already.
    files, items : Counter of str
        What was removed, by kind: in how many files, and how often.
    refused : list of Refused
        EDFs that were not copied.
    left : list of tuple of str
        Other files that were not copied, each with a key of :data:`NOT_COPIED`.
    """

    patients: Counter[str] = field(default_factory=Counter)
    written: int = 0
    present: int = 0
    tables: int = 0
    files: Counter[str] = field(default_factory=Counter)
    items: Counter[str] = field(default_factory=Counter)
    refused: list[Refused] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)

    def count(self, removed: Counter[str]) -> None:
        """Add what was removed from one file."""
        present = +removed
        self.items += present
        self.files.update(present.keys())


@dataclass(frozen=True)
class Naming:
    """How copies are named, and how patients are told apart."""

    pattern: re.Pattern[str] | None = None
    rename: bool = False
    keep_paths: bool = False


def deidentify(
    source: Path, out: Path, secret: Secret, naming: Naming, texts: Texts = DEFAULT_TEXTS
) -> Copied:
    """Copy an EDF, or every EDF below a folder, without what says who was recorded.

    Nothing that exists is overwritten: a copy that is there already is compared with what would be
    written. A copy appears complete or not at all.

    Parameters
    ----------
    source : Path
        An EDF or a folder. Nothing is written into it.
    out : Path
        The EDF, or the folder, to write.
    secret : Secret
        What pseudonyms and shifts of dates follow from.
    naming : Naming
        How copies are named, and how patients are told apart.
    texts : Texts, optional
        What annotations mean.

    Returns
    -------
    Copied
        What was written, removed and not copied.

    Raises
    ------
    BrainbrrError
        Where there is no EDF, OUT lies within IN or IN within OUT, or another process writes to
        OUT.
    WorkRemains
        Where OUT cannot be written to.
    """
    check_apart(source, out)
    copied = Copied()
    root, edfs, others = _listed(source, copied)
    # A name that the user gives to the copy is the one that matters.
    is_one = source.is_file() and is_edf(out.name) and not out.is_dir()
    named = PurePosixPath(out.name) if is_one else None
    plan = list(_planned(root, edfs, secret, naming, named, copied))
    folder = out.parent if is_one else out
    targets = {one.relative: folder / one.target for one in plan}
    copied.patients = Counter(rule for _, rule in {(one.patient, one.rule) for one in plan})
    written: dict[PurePosixPath, Planned] = {}
    refusal = f"another process writes copies to {out}: wait for it, or give another OUT"
    with only_writer(out, refusal):
        with progress("deidentify", len(plan), "files") as bar:
            for one in plan:
                removed = Counter[str]()
                pieces = _pieces(root / one.relative, one.identity, texts, removed)
                if _written(targets[one.relative], pieces, one.relative, copied):
                    copied.count(removed)
                    written[one.relative] = one
                bar.advance()
        companions = Companions(written)
        for relative in others:
            found = companions.find(relative)
            if found is None:
                copied.left.append(
                    (str(relative), "no_edf" if is_companion(relative.name) else "other")
                )
            else:
                _copy_companion(root, out, found, written, naming.rename, texts, copied)
    return copied


def check_apart(source: Path, out: Path) -> None:
    """Raise :class:`BrainbrrError` unless ``source`` exists and neither path lies in the other."""
    if not source.exists():
        raise BrainbrrError(f"no EDF and no folder at {source}: correct the path")
    one, other = real_path(source), real_path(out)
    if one == other or one in other.parents or other in one.parents:
        raise BrainbrrError(
            f"{out} and {source} lie within each other: name a folder for the copies that does not"
        )


def _listed(source: Path, copied: Copied) -> tuple[Path, list[PurePosixPath], list[PurePosixPath]]:
    """The root, the EDFs below it, and the other files; paths are relative to the root."""
    if source.is_file():
        return source.parent, [PurePosixPath(source.name)], []
    edfs: list[PurePosixPath] = []
    others: list[PurePosixPath] = []

    def passed_over(_reason: str, path: str) -> None:
        copied.left.append((Path(path).relative_to(source).as_posix(), "hidden"))

    def unreadable(error: OSError) -> None:
        raise unreadable_folder(error)

    for listing in walk([source], passed_over, unreadable=unreadable):
        for entry in listing.files:
            relative = PurePosixPath(Path(entry.path).relative_to(source).as_posix())
            if entry.name.startswith("."):
                copied.left.append((relative.as_posix(), "hidden"))
            elif not is_edf(entry.name) and not Path(entry.path).is_file():
                copied.left.append((relative.as_posix(), "other"))
            else:
                (edfs if is_edf(entry.name) else others).append(relative)
    if not edfs:
        raise BrainbrrError(f"no EDF below {source}: name a folder that has some, or an EDF")
    return source, sorted(edfs), sorted(others)


def _planned(
    root: Path,
    edfs: Iterable[PurePosixPath],
    secret: Secret,
    naming: Naming,
    named: PurePosixPath | None,
    copied: Copied,
) -> Iterator[Planned]:
    """The EDFs that can be copied; the others are counted as refused."""
    for relative in edfs:
        try:
            source = open_source(root / relative)
        except UnusableEdf as error:
            copied.refused.append(Refused(str(relative), error.reason, str(error)))
            continue
        except OSError as error:
            check_exhausted(str(root / relative), error)
            copied.refused.append(
                Refused(str(relative), UNREADABLE, error.strerror or "unreadable")
            )
            continue
        is_free = naming.rename and named is None
        what = "" if is_free or naming.keep_paths else named_in(named or relative, source)
        if what:
            copied.refused.append(Refused(str(relative), NAMED_IN_PATH, f"its path has {what}"))
            continue
        patient, rule = patient_of(relative, source.fields, naming.pattern)
        identity = Identity(secret.pseudonym(patient), secret.days(patient))
        target = named or relative.with_name(f"{stem_of(relative.name)}.edf")
        if is_free:
            name = secret.file_name(patient, str(relative))
            target = PurePosixPath(identity.pseudonym, f"{name}.edf")
        yield Planned(relative, rule, patient, identity, target)


def named_in(relative: PurePosixPath, source: SourceEdf) -> str:
    """What of its header the path of an EDF has, in words; empty where it has nothing of it."""
    if names_patient(str(relative), source.fields.identity_words):
        return "the name or code that its header gives the patient"
    return "a date of its header" if has_date(str(relative), source.dates) else ""


def _written(
    target: Path, pieces: Iterator[bytes], relative: PurePosixPath, copied: Copied
) -> bool:
    """Write a copy unless it is there already; False, and counted, where that is not possible."""
    try:
        if target.exists():
            if not _is_same(target, pieces):
                reason = f"{target} exists and is another one"
                copied.refused.append(Refused(str(relative), EXISTS, reason))
                return False
            copied.present += 1
            return True
        with replacing(target) as temporary, temporary.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        copied.written += 1
    except UnusableEdf as error:
        copied.refused.append(Refused(str(relative), error.reason, str(error)))
        return False
    except OSError as error:
        raise WorkRemains(
            f"{target} could not be written ({error.strerror or error}): free some space or make "
            "its folder writable, and run the same command, which leaves finished copies as they "
            "are"
        ) from None
    return True


def _pieces(path: Path, identity: Identity, texts: Texts, removed: Counter[str]) -> Iterator[bytes]:
    """The bytes of a copy; an error while the source is read is not one of writing."""
    try:
        yield from cleaned(open_source(path), identity, texts, removed)
    except OSError as error:
        check_exhausted(str(path), error)
        raise UnusableEdf(UNREADABLE, error.strerror or "it cannot be read") from None


def _is_same(path: Path, pieces: Iterable[bytes]) -> bool:
    """Whether a file has exactly these bytes; all pieces are taken, so that they are counted."""
    same = True
    with path.open("rb") as file:
        for piece in pieces:
            same = file.read(len(piece)) == piece and same
        return same and not file.read(1)


def _copy_companion(
    root: Path,
    out: Path,
    found: Companion,
    planned: dict[PurePosixPath, Planned],
    rename: bool,
    texts: Texts,
    copied: Copied,
) -> None:
    """Write a file that describes EDFs anew, or count why not."""
    relative, removed = found.relative, Counter[str]()
    described = [planned[edf] for edf in found.edfs]
    target, name = out / relative, ""
    if found.ending is not None:
        edf, own = described[0], relative.name.removesuffix(found.ending)
        name = stem_of(edf.target.name)
        if stem_of(edf.relative.name) == f"{own}_eeg":
            name = name.removesuffix("_eeg")
        target = out / edf.target.with_name(f"{name}{found.ending}")
    elif rename:
        copied.left.append((str(relative), "renamed"))
        return
    identities = frozenset(one.identity for one in described)
    context = TableContext(texts, name, identities, removed, found.inside)
    content = cleaned_companion(root / relative, found.kind, context)
    if content is None:
        copied.left.append((str(relative), "vocabulary"))
        return
    try:
        if not target.exists():
            with replacing(target) as temporary:
                temporary.write_bytes(content)
        elif target.read_bytes() != content:
            copied.left.append((str(relative), "exists"))
            return
    except OSError as error:
        raise WorkRemains(
            f"{target} could not be written ({error.strerror or error}): free some space or make "
            "its folder writable, and run the same command"
        ) from None
    copied.tables += 1
    copied.count(removed)


@dataclass(frozen=True)
class Holding:
    """A file that still holds something: its path in the folder, and what by kind."""

    path: str
    kinds: dict[str, int]


#: Kinds of :func:`remaining` besides those of what is removed.
REMAINING = {
    "path": "the path has the name, the code or a date of the header",
    "unreadable": "an EDF that cannot be judged",
    "other_file": "neither an EDF nor annotations in fixed words",
}


def remaining(source: Path) -> tuple[int, list[Holding]]:
    """How many EDFs a folder has, and the files in it that still hold something, by kind.

    Nothing is written. Dates and pseudonyms are not judged: a shifted date looks like any other.

    Raises :class:`BrainbrrError` where there is no EDF.
    """
    if not source.exists():
        raise BrainbrrError(f"no EDF and no folder at {source}: correct the path")
    copied = Copied()
    root, edfs, others = _listed(source, copied)
    holding = [Holding(path, {"other_file": 1}) for path, _ in copied.left]
    with progress("check", len(edfs), "files") as bar:
        for relative in edfs:
            removed = Counter[str]()
            try:
                edf = open_source(root / relative)
                for _ in cleaned(edf, None, DEFAULT_TEXTS, removed):
                    pass
                removed["path"] += bool(named_in(relative, edf))
            except (UnusableEdf, OSError):
                removed = Counter(unreadable=1)
            if +removed:
                holding.append(Holding(str(relative), dict(+removed)))
            bar.advance()
    companions = Companions(edfs)
    for relative in others:
        kinds = _companion_holds(root, relative, companions)
        if kinds:
            holding.append(Holding(str(relative), kinds))
    return len(edfs), sorted(holding, key=lambda one: one.path)


def _companion_holds(root: Path, relative: PurePosixPath, companions: Companions) -> dict[str, int]:
    """What a file besides the EDFs holds, by kind."""
    found = companions.find(relative)
    if found is None:
        return {"other_file": 1}
    name, removed = relative.name.removesuffix(found.ending or ""), Counter[str]()
    context = TableContext(DEFAULT_TEXTS, name, frozenset(), removed, found.inside)
    content = cleaned_companion(root / relative, found.kind, context)
    return {"other_file": 1} if content is None else dict(+removed)
