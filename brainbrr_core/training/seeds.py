"""Training one configuration with several seeds or in several folds, each as a separate run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from brainbrr_core.cache.manifest import Manifest
from brainbrr_core.display.counts import numbered
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.runs.identity import TrainingSettings
from brainbrr_core.runs.run import Run, open_run, run_directory
from brainbrr_core.runs.used_versions import RUN


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds from a text such as ``0,1,2``.

    Raises :class:`BrainbrrError` for anything that is not an integer of at least 0, and for a seed
    that is given twice.
    """
    seeds = []
    for word in text.split(","):
        word = word.strip()
        # ``int`` alone would also accept 1_0 and Arabic digits.
        if not (word.isascii() and word.isdigit()):
            raise BrainbrrError(
                f"--seeds {text}: {word!r} is not a seed; give whole numbers, such as --seeds 0,1,2"
            )
        seeds.append(int(word))
    repeated = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if repeated:
        raise BrainbrrError(f"--seeds {text} has {repeated[0]} twice: give each seed once")
    return tuple(seeds)


def train_each(
    kind: str,
    numbers: Sequence[int],
    train_one: Callable[[int], Run],
    *,
    log: Callable[[str], None] = print,
) -> Iterator[tuple[int, Run]]:
    """Train one run per seed or fold, one after the other; yield its number and the finished run.

    ``kind`` is ``"seed"`` or ``"fold"``, for messages. ``train_one`` trains one of them. A finished
    run is not trained again and an interrupted one resumes, so the same call completes what was
    interrupted. A ``KeyboardInterrupt`` gets a note that lists the finished ones. If ``train_one``
    raises, later ones are not started.
    """
    finished: list[int] = []
    for number in numbers:
        log(f"{kind} {number} ({len(finished) + 1} of {len(numbers)})")
        try:
            run = train_one(number)
        except KeyboardInterrupt as interruption:
            interruption.add_note(_summary(kind, finished, number, numbers))
            raise
        finished.append(number)
        yield number, run


def runs_of_seeds(
    runs_dir: Path,
    settings: TrainingSettings,
    manifest: Manifest,
    seeds: Sequence[int],
    options: str = "",
) -> dict[int, Run]:
    """The finished run of each seed, in the order of ``seeds``.

    Raises :class:`WorkRemains` that names the unfinished seeds and the command that trains them,
    with the command-line ``options`` that chose these settings.
    """
    folders = {seed: run_directory(runs_dir, settings.with_seed(seed), manifest) for seed in seeds}
    missing = [seed for seed, folder in folders.items() if not (folder / RUN).is_file()]
    if missing:
        raise WorkRemains(
            f"no finished run of {numbered('seed', missing)} in {runs_dir}: run "
            f"`brainbrr train --seeds {_list(seeds)}{options}`"
        )
    return {seed: open_run(folder) for seed, folder in folders.items()}


def runs_of_folds(
    runs_dir: Path, settings: TrainingSettings, folds: Mapping[int, Manifest], options: str = ""
) -> dict[int, Run]:
    """The finished run of each fold, in the order of ``folds``, which has their manifests.

    Raises :class:`WorkRemains` as :func:`runs_of_seeds` does.
    """
    folders = {
        fold: run_directory(runs_dir, settings, manifest) for fold, manifest in folds.items()
    }
    missing = [fold for fold, folder in folders.items() if not (folder / RUN).is_file()]
    if missing:
        raise WorkRemains(
            f"no finished run of {numbered('fold', missing)} in {runs_dir}: run "
            f"`brainbrr train --folds{options}`"
        )
    return {fold: open_run(folder) for fold, folder in folders.items()}


def _summary(kind: str, finished: Sequence[int], current: int, numbers: Sequence[int]) -> str:
    remaining = [number for number in numbers if number not in finished]
    return (
        f"finished {kind}s: {_list(finished) or 'none'}; remaining: {_list(remaining)}; the same "
        f"command resumes with {kind} {current} from its last checkpoint"
    )


def _list(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))
