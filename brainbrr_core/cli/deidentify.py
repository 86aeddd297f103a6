"""``brainbrr deidentify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from brainbrr_core.cli.options import Config, Json, configuration
from brainbrr_core.cli.printing import count, log, print_json
from brainbrr_core.cli.tables import print_table
from brainbrr_core.errors import BrainbrrError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brainbrr_core.deidentification.folder import Copied

_SHOWN = 20


def deidentify(
    source: Annotated[Path, typer.Argument(metavar="IN", help="EDF, or folder with EDFs.")],
    out: Annotated[
        Path | None,
        typer.Argument(metavar="OUT", help="EDF or folder to write; nothing in it is overwritten."),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Write nothing, and list which files of IN still hold something."
        ),
    ] = False,
    rename: Annotated[
        bool,
        typer.Option(
            "--rename", help="Name folders and files after pseudonyms instead of as they are in IN."
        ),
    ] = False,
    keep_paths: Annotated[
        bool,
        typer.Option(
            "--keep-paths",
            help="Copy files, too, whose paths have a name, a code or a date of their header.",
        ),
    ] = False,
    secret: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File of the secret that pseudonyms and dates follow from, made where it does not "
            "exist (default: deidentify.secret in the user's data folder).",
        ),
    ] = None,
    patient_pattern: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="Regular expression whose only group is the patient in the path of a file "
            "(default: names of BIDS and TUSZ, then the header, then the topmost folder).",
        ),
    ] = None,
    config: Config = None,
    json: Json = False,
) -> int:
    """Copy EDFs without names, birth dates and free text, with shifted dates.

    The samples stay bit for bit. A secret decides the pseudonym of each patient, and by how many
    days all dates of the patient move. Annotations about seizures and the tables of a corpus
    (splits, channels, ages) stay, in fixed words.
    """
    if check:
        if out is not None or rename or keep_paths or secret or patient_pattern:
            raise BrainbrrError(
                "--check takes a folder, --json and nothing else: leave the rest out"
            )
        return _check(source, json=json)
    if out is None:
        raise BrainbrrError("give OUT, where the copies go, or --check to look at IN alone")
    if rename and keep_paths:
        raise BrainbrrError("--rename gives all files other paths: leave out --keep-paths or it")
    from brainbrr_core.annotation.texts import Texts
    from brainbrr_core.corpus.patients import patient_pattern as compiled
    from brainbrr_core.deidentification.folder import Naming, check_apart
    from brainbrr_core.deidentification.folder import deidentify as copy_without_identity
    from brainbrr_core.deidentification.report import as_json, write_report
    from brainbrr_core.deidentification.secret import (
        check_location,
        default_secret_path,
        open_secret,
    )

    settings = configuration(config, uses_cache=False)
    naming = Naming(
        None if patient_pattern is None else compiled(patient_pattern), rename, keep_paths
    )
    path = secret or default_secret_path()
    check_apart(source, out)
    check_location(path, source, out)
    copied = copy_without_identity(
        source, out, open_secret(path), naming, Texts(settings.corpus.annotation_texts)
    )
    report = write_report(out, copied)
    if json:
        print_json({**as_json(copied), "report": str(report), "secret": str(path)})
    else:
        _print(copied)
        print(f"report: {report}")
        print(f"secret: {path} (whoever has it can undo pseudonyms and dates: keep it, apart)")
    return 1 if copied.refused else 0


def _print(copied: Copied) -> None:
    from brainbrr_core.deidentification.folder import NOT_COPIED
    from brainbrr_core.deidentification.kinds import KINDS

    patients = "; ".join(
        f"{count(number, 'patient')} told by {rule}" for rule, number in copied.patients.items()
    )
    there = f", {copied.present:,} there already" if copied.present else ""
    print(
        f"{count(copied.written, 'EDF')} written{there}; "
        f"{count(copied.tables, 'file')} that describe them; {patients or 'no patient'}"
    )
    rows = [
        [meaning, f"{copied.files[kind]:,}", f"{copied.items[kind]:,}"]
        for kind, meaning in KINDS.items()
        if copied.files[kind]
    ]
    if rows:
        print_table("Removed or replaced", ["what", "files", "times"], rows)
    _log_paths("not copied", [f"{one.path}: {one.reason}" for one in copied.refused])
    if any(one.code == "named_in_path" for one in copied.refused):
        log("give --rename, or --keep-paths where these paths are pseudonyms already")
    for why, words in NOT_COPIED.items():
        _log_paths(f"not copied, {words}", [path for path, reason in copied.left if reason == why])


def _check(source: Path, *, json: bool) -> int:
    from brainbrr_core.deidentification.folder import REMAINING, remaining
    from brainbrr_core.deidentification.kinds import KINDS

    files, holding = remaining(source)
    if json:
        print_json({"edfs": files, "holding": {one.path: one.kinds for one in holding}})
        return 1 if holding else 0
    for one in holding:
        print(f"{one.path}: {', '.join(one.kinds)}")
    for kind, meaning in (KINDS | REMAINING).items():
        number = sum(kind in one.kinds for one in holding)
        if number:
            print(f"{kind}: {meaning}: {count(number, 'file')}")
    print(
        f"{count(files, 'EDF')}: "
        + (
            f"{count(len(holding), 'file')} to look at"
            if holding
            else "nothing that is not allowed"
        )
    )
    return 1 if holding else 0


def _log_paths(what: str, paths: Sequence[str]) -> None:
    if paths:
        more = f"\n  and {len(paths) - _SHOWN:,} more" if len(paths) > _SHOWN else ""
        log(f"{what}: {len(paths):,}" + "".join(f"\n  {path}" for path in paths[:_SHOWN]) + more)
