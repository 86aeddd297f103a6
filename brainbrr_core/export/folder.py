"""Writing a model folder from a run, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as library_version
from pathlib import Path

from pydantic import JsonValue

from brainbrr_core.cache.version import channels_of, is_imported
from brainbrr_core.constants import RATE
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.export.card import CARD, Statements, corpus_words, model_card
from brainbrr_core.export.use import Use
from brainbrr_core.files.atomic import replacing_together
from brainbrr_core.files.one_process import only_writer
from brainbrr_core.runs.identity import OF_THE_USER
from brainbrr_core.runs.model_folder import FORMAT, StoredFile, with_checksum
from brainbrr_core.runs.record import CONFIG, MODEL, RunRecord
from brainbrr_core.runs.run import Run
from brainbrr_core.runs.weights import save_tensors

#: What of a run's record leaves with its model: nothing with a path or a text of the user's.
_OF_THE_RECORD = (
    *("identity", "finished_at", "seconds", "parameters", "hardware", "ssm_backend", "fit"),
    *("model_blake3", "data", "seed", "preset", "processes", "code_version", "libraries"),
)
#: The same of its configuration.
_OF_THE_CONFIGURATION = (
    *("version", "preprocessing", "labels", "windows", "sampling", "model", "training"),
    "detection",
)
#: Names of profiles that are not a user's.
_PROFILES = ("smoke", "dev", "full", "pretrained")
#: The formats of a graph, and of the weights alone.
FORMATS = ("safetensors", "onnx", "torch-export")


@dataclass(frozen=True)
class Exported:
    """A model folder that was written, and its files with their bytes."""

    directory: Path
    files: dict[str, int]


def export_run(
    run: Run,
    use: Use,
    out: Path,
    formats: Sequence[str] = ("safetensors",),
    statements: Statements | None = None,
) -> Exported:
    """Write the model of a run to a folder that does not exist yet, or is empty.

    Parameters
    ----------
    run : Run
        A finished run.
    use : Use
        The settings that the run is used with.
    out : Path
        The folder.
    formats : sequence of str
        Of ``FORMATS``: graphs are written beside the weights.
    statements : Statements, optional
        What the user says of data and license.

    Returns
    -------
    Exported
        The folder and its files.

    Raises
    ------
    BrainbrrError
        Where ``out`` is in use or cannot be written, where the weights are damaged, and where a
        format needs a package that is not installed.
    """
    said = statements or Statements()
    network = run.load_network("torch")
    with new_folder(out) as folder:
        save_tensors(folder / MODEL, network.state_dict(), {})
        if set(formats) - {"safetensors"}:
            # Heavy, and of no use for weights alone.
            from brainbrr_core.export.graphs import write_graphs

            write_graphs(folder, network, run.record.identity.windows.length_s, formats)
        if "onnx" in formats and not is_imported(run.record.identity.preprocessing_version):
            from brainbrr_core.export.signal_chain import write_signal_chain

            write_signal_chain(folder, run, use)
        files = {path.name: StoredFile.of(path) for path in sorted(folder.iterdir())}
        (folder / CONFIG).write_bytes(_config(run, said, files))
        (folder / CARD).write_text(model_card(run, use, said, list(files)), encoding="utf-8")
        sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    return Exported(out, sizes)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to write to, which becomes ``out`` when the block succeeds.

    Raises :class:`BrainbrrError` where ``out`` exists and is not an empty folder, cannot be
    written, or another process writes to it, and :class:`WorkRemains` where the disk is full.
    """
    refusal = f"another process writes a model to {out}: wait for it, or give another folder"
    with only_writer(out, refusal):
        if out.exists() and not (out.is_dir() and all(map(_is_temporary, out.iterdir()))):
            raise BrainbrrError(f"{out} exists: give a folder that does not, or remove it")
        with replacing_together(out, last=CONFIG) as folder:
            yield folder


def _is_temporary(path: Path) -> bool:
    """Whether a file or folder is a lock or what a process that was killed has left."""
    return path.name.startswith(".") and path.suffix in (".lock", ".part")


def _config(run: Run, said: Statements, files: dict[str, StoredFile]) -> bytes:
    identity = run.record.identity
    threshold = run.threshold
    return with_checksum(
        {
            "library": "brainbrr",
            "library_version": library_version("brainbrr"),
            "format": FORMAT,
            "input": {
                "channels": list(channels_of(identity.preprocessing_version)),
                "rate_hz": RATE,
                "samples": identity.windows.length_s * RATE,
                "unit": "standard deviations",
            },
            "run": _without_names(run.record),
            "corpus": said.data or corpus_words(run.record),
            "threshold": None
            if threshold is None
            # The curve is the report's.
            else threshold.model_copy(update={"rows": ()}).model_dump(mode="json"),
            "files": {name: file.model_dump() for name, file in files.items()},
        }
    )


def _without_names(record: RunRecord) -> dict[str, JsonValue]:
    """The record of a run without paths, patients and texts that a user wrote."""
    written = record.as_written()
    values = {name: written[name] for name in _OF_THE_RECORD if name in written}
    configuration: dict[str, JsonValue] = {}
    for name in _OF_THE_CONFIGURATION:
        if name in record.configuration:
            section = record.configuration[name]
            if name == "training" and isinstance(section, dict):
                section = {key: value for key, value in section.items() if key not in OF_THE_USER}
            configuration[name] = section
    profile = record.configuration.get("profile")
    if profile in _PROFILES:
        configuration["profile"] = profile
    return {**values, "configuration": configuration} if configuration else values
