"""One configuration trained with several seeds, each of them a separate run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from brainbrr_core.cache.manifest import Manifest
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
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if twice:
        raise BrainbrrError(f"--seeds {text} has {twice[0]} twice: give each seed once")
    return tuple(seeds)


def train_seeds(
    seeds: Sequence[int],
    train_one: Callable[[int], Run],
    *,
    log: Callable[[str], None] = print,
) -> Iterator[tuple[int, Run]]:
    """Train one run per seed, one after the other; yield seed and run as each is finished.

    ``train_one`` trains with a seed. A finished run is not trained again and an interrupted one
    resumes, so the same call completes what was interrupted. A ``KeyboardInterrupt`` gets a note of
    which seeds are done. Raises what ``train_one`` raises; later seeds are then not started.
    """
    finished: list[int] = []
    for seed in seeds:
        log(f"seed {seed} ({len(finished) + 1} of {len(seeds)})")
        try:
            run = train_one(seed)
        except KeyboardInterrupt as interruption:
            interruption.add_note(_summary(finished, seed, seeds))
            raise
        finished.append(seed)
        yield seed, run


def runs_of_seeds(
    runs_dir: Path,
    settings: TrainingSettings,
    manifest: Manifest,
    seeds: Sequence[int],
    options: str = "",
) -> dict[int, Run]:
    """The finished run of each seed, in the order of ``seeds``.

    Raises :class:`WorkRemains` naming the seeds that are not finished and the command that trains
    them, with the command-line ``options`` that chose these settings.
    """
    folders = {seed: run_directory(runs_dir, settings.with_seed(seed), manifest) for seed in seeds}
    missing = [seed for seed, folder in folders.items() if not (folder / RUN).is_file()]
    if missing:
        raise WorkRemains(
            f"no finished run of seed {_list(missing)} in {runs_dir}: run "
            f"`brainbrr train --seeds {_list(seeds)}{options}`"
        )
    return {seed: open_run(folder) for seed, folder in folders.items()}


def _summary(finished: Sequence[int], current: int, seeds: Sequence[int]) -> str:
    remaining = [seed for seed in seeds if seed not in finished]
    return (
        f"finished seeds: {_list(finished) or 'none'}; remaining: {_list(remaining)}; the same "
        f"command resumes with seed {current} from its last checkpoint"
    )


def _list(seeds: Sequence[int]) -> str:
    return ",".join(map(str, seeds))
