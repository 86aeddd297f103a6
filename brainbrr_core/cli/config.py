"""``brainbrr config``: every setting with where its value comes from, and the signal chain."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from brainbrr_core.cli.options import (
    CacheRoot,
    CacheVersion,
    Config,
    DataDir,
    Json,
    Profile,
    RunsDir,
    configuration,
)
from brainbrr_core.cli.printing import Json as JsonValue
from brainbrr_core.cli.printing import print_json

if TYPE_CHECKING:
    from brainbrr_core.configuration import Preprocessing
    from brainbrr_core.configuration.provenance import ResolvedSetting
    from brainbrr_core.configuration.settings import ChannelRules

_WIDTH = 100


def config(
    changed: Annotated[
        bool, typer.Option("--changed", help="Only the settings that differ from their defaults.")
    ] = False,
    config: Config = None,
    profile: Profile = None,
    data_dir: DataDir = None,
    cache_root: CacheRoot = None,
    runs_dir: RunsDir = None,
    cache_version: CacheVersion = None,
    json: Json = False,
) -> int:
    """Print every setting, what sets it, and the signal chain in words.

    What sets a setting is its default, a profile, a hardware preset or a file (with the line), an
    environment variable or an option. The output is YAML that --config accepts.
    """
    from brainbrr_core.cache.store import Store
    from brainbrr_core.configuration.provenance import resolved_settings

    settings = configuration(
        config, profile, data_dir, cache_root, runs_dir, cache_version, uses_cache=False
    )
    store = Store.of(settings)
    resolved = [each for each in resolved_settings(settings) if each.changed or not changed]
    sentences = _signal_chain(settings.preprocessing, settings.corpus, store.version)
    if json:
        print_json(
            {
                "settings": {each.key: _as_json(each) for each in resolved},
                "signal_chain": sentences,
                "cache_version": store.version,
                "cache_version_is_stored": store.marker.is_file(),
            }
        )
        return 0
    stored = "" if store.marker.is_file() else " (nothing is stored of it)"
    for sentence in (*sentences, f"Cache version: {store.version} in {store.root}{stored}."):
        # Names of folders are not broken, so that they can be copied.
        for line in textwrap.wrap(
            sentence, _WIDTH - 2, break_long_words=False, break_on_hyphens=False
        ):
            print(f"# {line}")
    if not resolved:
        print("# Every setting has its default.")
    for line in _yaml_lines(resolved):
        print(line)
    return 0


def _signal_chain(preprocessing: Preprocessing, rules: ChannelRules, version: str) -> list[str]:
    """What is done to the signal before it is stored, in sentences."""
    from brainbrr_core.cache.version import is_imported
    from brainbrr_core.evaluation.method import imported_sentence, signal_sentence

    if is_imported(version):
        return [imported_sentence(version)]
    several = {
        "any": "is used, with a finding in the index",
        "common": "is excluded",
    }
    return [
        signal_sentence(preprocessing),
        "Reference: each channel as it was recorded; a recording whose labels name several "
        f"references {several[rules.references]} (corpus.references: "
        f"{rules.references}).",
    ]


def _as_json(setting: ResolvedSetting) -> dict[str, JsonValue]:
    return {
        "value": setting.value,
        "default": setting.default,
        "changed": setting.changed,
        "kind": setting.kind.value,
        "source": setting.source,
        "line": setting.line,
    }


def _yaml_lines(settings: Sequence[ResolvedSetting]) -> Iterator[str]:
    """The settings as YAML, section by section, each with its source in a comment."""
    rows = [(*_indented(setting), _comment(setting)) for setting in settings]
    width = min(max((len(text) for _, text, _ in rows), default=0), _WIDTH // 3)
    above: tuple[str, ...] = ()
    for sections, text, comment in rows:
        for depth, name in enumerate(sections):
            if sections[: depth + 1] != above[: depth + 1]:
                yield f"{'  ' * depth}{name}:"
        above = sections
        yield f"{text:<{width}}  # {comment}"


def _indented(setting: ResolvedSetting) -> tuple[tuple[str, ...], str]:
    """The sections of a setting, and its line of YAML without them."""
    import yaml

    *sections, name = setting.key.split(".")
    value = yaml.safe_dump(
        setting.value, default_flow_style=True, width=float("inf"), allow_unicode=True
    )
    # A scalar is dumped as a document of its own, which ends with "...".
    text = value.removesuffix("...\n").strip()
    return tuple(sections), f"{'  ' * len(sections)}{name}: {text}"


def _comment(setting: ResolvedSetting) -> str:
    from brainbrr_core.configuration.differences import value_text

    if setting.changed and setting.default is not None:
        return f"{setting.where} (default {value_text(setting.default)})"
    return setting.where
