"""A run is used with the settings that it was trained with, whatever the configuration says.

Paths, hardware and what is scored stay those of the configuration.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import JsonValue, ValidationError

from brainbrr_core.cache.version import is_imported
from brainbrr_core.configuration import Configuration, Preprocessing
from brainbrr_core.configuration.differences import SettingDifference, setting_differences
from brainbrr_core.configuration.settings import DEFAULT_NETWORK, SCHEMES_WITH_FOLDS
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.runs.run import Run

#: Sections and settings that belong to the network, on whatever recordings it is used.
_OF_THE_NETWORK = ("version", "preprocessing", "windows", "model", "detection")
#: Those that say which recordings of its corpus a run was trained on.
_OF_THE_SELECTION = ("profile", "selection")
#: Those that say what in these recordings is a seizure, and which windows have one.
_OF_THE_LABELS = ("labels", "sampling")
#: Those that decide which shards and which manifest a run needs.
_OF_A_CACHE = {"version", "preprocessing", "windows", *_OF_THE_LABELS, *_OF_THE_SELECTION}


@dataclass(frozen=True)
class OwnSettings:
    """A configuration with a run's own settings.

    Attributes
    ----------
    configuration : Configuration
        The configuration to use the run with.
    differences : tuple of SettingDifference
        Settings that the user set otherwise: the run's value, and that of the configuration.
    """

    configuration: Configuration
    differences: tuple[SettingDifference, ...]

    def sentence(self, run: Run) -> str:
        """What differs, for the log; empty where nothing does."""
        if not self.differences:
            return ""
        return (
            f"run {run.name} is used with its own settings; those of the configuration differ: "
            f"{_listed(self.differences)}"
        )


def with_network_settings(configuration: Configuration, run: Run) -> OwnSettings:
    """A configuration in which all that belongs to a run's network is the run's.

    These are preprocessing, windows, model and detection. The settings of detection are those that
    the run's threshold was tuned with, or those of its training where none is tuned yet.

    Parameters
    ----------
    configuration : Configuration
        Paths, hardware, and which recordings are used.
    run : Run
        The run. What an earlier version of the program did not record stays as in
        ``configuration``.

    Raises
    ------
    BrainbrrError
        Where ``run.json`` has settings that this version of the program does not accept.
    """
    return _with(configuration, run, _OF_THE_NETWORK, in_its_fold=False)


def with_own_settings(configuration: Configuration, run: Run) -> OwnSettings:
    """As :func:`with_network_settings`, and with the recordings that the run was trained on.

    Where the run or the configuration has folds, the splits are the run's, in its fold. A profile
    that an option of the command names stays. Raises as :func:`with_network_settings`.
    """
    sections = [*_OF_THE_NETWORK, *_OF_THE_LABELS]
    if configuration.origin.sources.get("profile") != "--profile":
        sections += _OF_THE_SELECTION
    return _with(configuration, run, sections, in_its_fold=True)


def was_trained_from(run: Run, cache_root: Path) -> bool:
    """Whether a cache root is the one that a run was trained from."""
    return run.record.configuration.get("cache_root") == str(cache_root)


def _with(
    configuration: Configuration, run: Run, sections: Collection[str], *, in_its_fold: bool
) -> OwnSettings:
    current = configuration.model_dump(mode="json")
    recorded = _recorded(run, current)
    values = {name: value for name, value in recorded.items() if name in sections}
    if in_its_fold and (corpus := _corpus_in_fold(recorded, current)):
        values["corpus"], sections = corpus, [*sections, "corpus"]
    own = _validated({**current, **values}, run)
    tuned = run.threshold
    if tuned is not None:
        own = own.model_copy(update={"detection": tuned.detection})
    differences = setting_differences(own.model_dump(mode="json"), current, sections)
    origin = configuration.origin
    # With another --runs-dir the name alone would not be enough.
    named = origin.sources.get("runs_dir") != "--runs-dir"
    option = f" --run {_argument(run, configuration.runs_dir if named else None)}"
    of_a_cache = any(each.key.partition(".")[0] in _OF_A_CACHE for each in differences)
    if of_a_cache and not origin.options.endswith(option):
        # Commands that build or copy a cache for this run need its settings.
        origin = replace(origin, options=origin.options + option)
    of_user = tuple(each for each in differences if each.key in origin.set_by_user)
    return OwnSettings(own.with_origin(origin), of_user)


def _corpus_in_fold(
    recorded: Mapping[str, JsonValue], current: Mapping[str, JsonValue]
) -> dict[str, JsonValue]:
    """The section ``corpus`` with a run's settings of splits; empty where neither has folds."""
    corpus, now = recorded.get("corpus"), current["corpus"]
    if not isinstance(corpus, dict) or not isinstance(now, dict):
        return {}
    splits = corpus.get("split", {}), now["split"]
    schemes = {split.get("scheme") for split in splits if isinstance(split, dict)}
    if schemes.isdisjoint(SCHEMES_WITH_FOLDS):
        return {}
    return {**now, "split": splits[0]}


def _argument(run: Run, runs_dir: Path | None) -> str:
    """How a command names the run: by its name if it is in the folder that it would look in."""
    return shlex.quote(run.name if run.directory.parent == runs_dir else str(run.directory))


def _recorded(run: Run, current: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The settings that a run recorded: its configuration, or what its identity has of it."""
    record = run.record
    version = record.identity.preprocessing_version
    values: dict[str, JsonValue] = dict(record.configuration)
    if not values:
        identity = record.identity.as_written()
        for name in ("model", "windows"):
            section, now = identity.get(name), current[name]
            if isinstance(section, dict) and isinstance(now, dict):
                values[name] = {**now, **section}
        if record.identity.model.network != DEFAULT_NETWORK:
            values["model"] = record.identity.model.settings.model_dump(mode="json")
    return {**values, "version": version if is_imported(version) else None}


def _validated(values: Mapping[str, JsonValue], run: Run) -> Configuration:
    try:
        return Configuration.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BrainbrrError(
            f"{run.record_path} has a setting that this version of the program does not accept "
            f"({key}: {first['msg']}): use the version that trained the run"
        ) from None


def check_version(run: Run, version: str, preprocessing: Preprocessing) -> None:
    """Raise :class:`BrainbrrError` unless a run was trained on a preprocessing version.

    ``preprocessing`` are the settings of ``version``. The message names those that differ from the
    run's by their keys.
    """
    trained = run.record.identity.preprocessing_version
    if trained == version:
        return
    if is_imported(trained):
        raise BrainbrrError(
            f"run {run.name} was trained on the imported version {trained}, whose signal chain is "
            "not known, so only imported signals can be scored: add --cache-version"
        )
    recorded = run.record.configuration
    differences = setting_differences(
        recorded, {"preprocessing": preprocessing.model_dump(mode="json")}, ("preprocessing",)
    )
    if recorded and differences:
        raise BrainbrrError(
            f"run {run.name} and the configuration have other preprocessing "
            f"({_listed(differences)}): use the run's own settings, as `brainbrr evaluate "
            f"{run.name}` and `brainbrr predict --run {run.directory}` do"
        )
    chains = [name.partition("_")[0] for name in (trained, version)]
    if chains[0] != chains[1]:
        raise BrainbrrError(
            f"run {run.name} was trained with version {chains[0].removeprefix('v')} of the signal "
            f"chain and this program has version {chains[1].removeprefix('v')}, whose signals "
            "differ though the settings do not: train again, or use the release of brainbrr that "
            "trained it"
        )
    raise BrainbrrError(
        f"run {run.name} did not record its preprocessing, and its version {trained} is not that "
        f"of the configuration, {version}: set the preprocessing that it was trained with, or "
        "train again"
    )


def _listed(differences: Iterable[SettingDifference]) -> str:
    return "; ".join(map(str, differences))
