"""What to do next on a machine, by which command, and at what cost."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

from brainbrr_core.doctor.estimate import Extent
from brainbrr_core.machine.processors import worker_processes


@dataclass(frozen=True)
class Choice:
    """One thing to do next: what, by which command, and what it costs where that is known."""

    what: str
    command: str
    disk_gb: float | None = None
    hours: float | None = None
    remark: str = ""


def train_choice(options: str) -> Choice:
    """Train, where the cache is ready."""
    return Choice("train on this cache", f"brainbrr manifest{options} && brainbrr train{options}")


def options_of_index(options: str) -> str:
    """Those of the options that `brainbrr index` takes, which indexes all of a corpus."""
    return re.sub(r" --profile \S+", "", options)


def reasons_choice(options: str) -> Choice:
    """List the reasons, where no recording can be used."""
    return Choice(
        "see why no recording can be used", f"brainbrr index --list{options_of_index(options)}"
    )


def splits_choice(options: str) -> Choice:
    """See the splits, where one that a training needs has no seizure."""
    return Choice(
        "see which patients have seizures", f"brainbrr index --list{options_of_index(options)}"
    )


def demo_choice() -> Choice:
    """Run the demo, which needs no data."""
    return Choice(
        "try everything with synthetic recordings",
        "brainbrr demo",
        disk_gb=0.3,
        hours=0.03,
        remark=f"needs no data; Python {sys.version_info.major}.{sys.version_info.minor}",
    )


def build_choices(
    options: str,
    data_option: str,
    has_data_dir: bool,
    extent: Extent | None,
    needed: Extent | None,
    speed: float | None,
    basis: str,
) -> list[Choice]:
    """What can be done where the cache of the profile is not ready.

    ``needed`` is the EEG that the profile still lacks, ``extent`` all of the corpus, ``speed``
    seconds of EEG that one process preprocesses in a second, and ``basis`` how that is known.
    """
    gigabytes = None if needed is None else round(needed.bytes / 1e9, 1)
    pull = Choice(
        "pull a cache that another machine pushed",
        f"brainbrr cache pull s3://BUCKET/PREFIX{options}",
        gigabytes,
        remark="the time depends on the network",
    )
    choices = []
    if extent is not None and needed is not None:
        workers = worker_processes()
        source = "the index" if extent.exact else "a sample of the corpus"
        remark = f"{needed.hours:,.1f} h of EEG, by {source}"
        if not extent.complete:
            remark += " (at least: there are more folders than a quick look covers)"
        if speed is None:
            remark += "; the time was not measured"
        else:
            processes = "one process" if workers == 1 else f"each of {workers} processes"
            remark += f"; {speed:,.0f} times real time in {processes}, {basis}"
        choices.append(
            Choice(
                "build it from the EDFs",
                f"brainbrr cache build{options}{data_option}",
                gigabytes,
                None if speed is None else round(needed.hours / speed / workers, 8),
                remark,
            )
        )
    elif not has_data_dir:
        choices.append(
            Choice(
                "build it from EDFs",
                "export BRAINBRR_DATA_DIR=FOLDER && brainbrr doctor",
                remark="no data directory is set",
            )
        )
    return [*choices, pull, demo_choice()]
