"""The report of an evaluation: one HTML file that needs nothing else.

Here belong its sentences, the published figures that stand beside the results, and the writing
of the file. Its look is in ``templates/report.html.j2``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from brainbrr_core.atomic import replacing
from brainbrr_core.detection import FRAME_HZ
from brainbrr_core.evaluation.results import EvaluationResults, Highlight
from brainbrr_core.signal.montage import CHANNELS

#: A report stays below this; pictures of single events are left out before it is reached.
MOST_BYTES = 3_000_000
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Picture:
    """An SVG with its title and caption; ``name`` is its own within a report."""

    name: str
    title: str
    caption: str
    svg: str


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """A highlight with the EEG to draw it.

    ``signal`` is float32 ``(channels, samples)``, z-scored, from the highlight's start to its
    stop. ``probabilities`` are the frames of the whole recording.
    """

    highlight: Highlight
    signal: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    rate_hz: float = 256.0
    channel_names: tuple[str, ...] = CHANNELS
    frame_hz: float = float(FRAME_HZ)


@dataclass(frozen=True, slots=True)
class HeadlineRow:
    """How a rule is shown in the headline table."""

    rule: str
    name: str
    averaging: str
    false_unit: str


HEADLINE = (
    HeadlineRow("szcore_event", "SzCORE, event-based", "pooled", "false positives"),
    HeadlineRow(
        "szcore_event_subject_mean", "SzCORE, event-based", "mean over patients", "false positives"
    ),
    HeadlineRow("szcore_sample", "SzCORE, sample-based", "pooled", "false seconds"),
    HeadlineRow(
        "szcore_sample_subject_mean", "SzCORE, sample-based", "mean over patients", "false seconds"
    ),
    HeadlineRow("nedc_ovlp", "NEDC OVLP, SEIZ only", "pooled", "false alarms"),
    HeadlineRow("nedc_taes", "NEDC TAES, SEIZ only", "pooled", "false alarms (in parts)"),
    HeadlineRow("nedc_epoch", "NEDC EPOCH, SEIZ only", "pooled", "false seconds"),
)


@dataclass(frozen=True, slots=True)
class Published:
    """A published result; figures that were not given are NaN, ``remark`` says what else."""

    group: str
    model: str
    f1: float = math.nan
    sensitivity: float = math.nan
    false_per_day: float = math.nan
    auroc: str = ""
    remark: str = ""


#: What a group of published results was measured on, and by which rule.
PUBLISHED_GROUPS = {
    "szcore_tusz": "SzCORE event-based, mean over subjects, timescoring 0.0.7 (April 2026): TUSZ",
    "szcore_dianalund": "SzCORE event-based (challenge of 2025): Dianalund",
    "szcore_siena": "SzCORE event-based: Siena",
    "nedc_ovlp_tusz_eval": "NEDC OVLP: TUSZ eval, 865 recordings",
    "window_auroc_tusz_1_5_2": "AUROC of windows of 12 s / 60 s: TUSZ 1.5.2",
}
PUBLISHED = (
    Published("szcore_tusz", "SeizureTransformer", 0.410, 0.573, 18.2),
    Published("szcore_tusz", "DeepSOZ-HEM", 0.390, 0.622, 33.1),
    Published("szcore_tusz", "EventNet", 0.373, 0.539, 23.2),
    Published("szcore_tusz", "Zhu", 0.352, 0.600, 43.7),
    Published("szcore_tusz", "DCRNN", 0.222, 0.621, 94.5),
    Published("szcore_dianalund", "SeizureTransformer", 0.323, 0.369, 1.31),
    Published("szcore_dianalund", "DeepSOZ-HEM", 0.304),
    Published("szcore_dianalund", "Zhu", 0.188),
    Published("szcore_dianalund", "EventNet", 0.143),
    Published("szcore_siena", "DeepSOZ-HEM", 0.820),
    Published("szcore_siena", "SeizureTransformer", 0.706, remark="trained on Siena"),
    Published(
        "nedc_ovlp_tusz_eval",
        "SeizureTransformer",
        sensitivity=0.456,
        false_per_day=26.9,
        auroc=".902",
    ),
    Published("nedc_ovlp_tusz_eval", "SeizureTransformer", sensitivity=0.339, false_per_day=10.3),
    Published("nedc_ovlp_tusz_eval", "SeizureTransformer", sensitivity=0.145, false_per_day=2.05),
    Published("window_auroc_tusz_1_5_2", "EvoBrain", auroc=".877 / .865"),
    Published("window_auroc_tusz_1_5_2", "GRU-GCN", auroc=".856 / .822"),
    Published("window_auroc_tusz_1_5_2", "LaBraM", auroc=".825 / .793"),
    Published("window_auroc_tusz_1_5_2", "DCRNN", auroc=".817 / .808"),
    Published("window_auroc_tusz_1_5_2", "BIOT", auroc=".726 / .651"),
)


def method_sentences(results: EvaluationResults) -> list[str]:
    """What the figures mean: what was scored, how the threshold came about, which F1."""
    choice = results.threshold
    thresholds = f"{choice.on_threshold:.3g} (off at {choice.off_threshold:.3g})"
    patients = _plural(len(results.patients), "patient")
    recordings = _plural(len(results.recordings), "recording")
    sentences = [
        f"Scored is the split “{results.split}”: {recordings} of {patients}, "
        f"{results.hours:.1f} hours with {_plural(results.seizures, 'seizure')}."
    ]
    if choice.split is None:
        sentences.append(f"The threshold of {thresholds} was set by hand, not tuned.")
    else:
        reached = "" if math.isnan(choice.f1) else f", {choice.f1:.3f} there"
        sentences.append(
            f"The threshold of {thresholds} was chosen on “{choice.split}” as the one with the "
            f"highest pooled event-based F1 of SzCORE{reached}."
        )
    if results.weights_chosen_on is not None:
        sentences.append(f"The network's weights were picked on “{results.weights_chosen_on}”.")
    sentences.append(_seen_sentence(results))
    sentences.append(
        "F1 is 2 TP / (2 TP + FP + FN), as in timescoring 0.0.7: a patient with seizures but "
        "without detections counts 0. Older figures left such patients out and do not compare. "
        "In a mean over patients, a figure is left out for a patient for whom it is undefined "
        "(sensitivity without seizures, precision without detections)."
    )
    return sentences


def _seen_sentence(results: EvaluationResults) -> str:
    """Whether the scored split had a part in what was chosen."""
    chosen = {"the threshold": results.threshold.split, "the weights": results.weights_chosen_on}
    seen = [thing for thing, split in chosen.items() if split == results.split]
    if seen:
        return (
            f"This split was seen when choosing {' and '.join(seen)}: its figures flatter the "
            "detector."
        )
    if results.threshold.split is None:
        return "Whether this split was seen when setting the threshold is not recorded."
    return "Neither the threshold nor the weights were chosen on this split: it was not seen."


def render_report(
    results: EvaluationResults,
    pictures: Sequence[Picture],
    strips: Sequence[Picture] = (),
    *,
    comparable: Collection[str] = (),
) -> str:
    """HTML of a report, below 3 MB, that loads nothing from anywhere.

    ``pictures`` are the figures of the whole evaluation, ``strips`` those of single events. The
    last strips are left out where the report would grow too large, and it says so.
    ``comparable`` names groups of :data:`PUBLISHED_GROUPS` whose corpus and protocol are those
    of ``results``; all others are marked as not comparable.

    Raises ``ValueError`` for an unknown group, or where two pictures have one name.
    """
    unknown = sorted(set(comparable) - set(PUBLISHED_GROUPS))
    if unknown:
        raise ValueError(f"no published results {unknown}: use some of {list(PUBLISHED_GROUPS)}")
    names = [picture.name for picture in (*pictures, *strips)]
    if len(set(names)) < len(names):
        raise ValueError(f"two pictures have one name: {sorted(names)}")
    template = _environment().get_template("report.html.j2")
    for shown in range(len(strips), -1, -1):
        text = template.render(
            results=results,
            pictures=pictures,
            strips=strips[:shown],
            strips_left_out=len(strips) - shown,
            sentences=method_sentences(results),
            headline=HEADLINE,
            published=PUBLISHED,
            published_groups=PUBLISHED_GROUPS,
            comparable=frozenset(comparable),
        )
        if len(text.encode()) < MOST_BYTES:
            break
    return text


def write_report(
    path: Path,
    results: EvaluationResults,
    strips: Sequence[Strip] = (),
    *,
    comparable: Collection[str] = (),
) -> None:
    """Draw the figures and write the report; it appears whole or not at all.

    ``comparable`` as for :func:`render_report`.
    """
    # Drawing needs matplotlib, which takes a second to import: reading a report does not.
    from brainbrr_core.evaluation.figures import all_pictures, strip_picture

    events = [
        strip_picture(results, strip, f"strip-{number}") for number, strip in enumerate(strips)
    ]
    text = render_report(results, all_pictures(results), events, comparable=comparable)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["measure"] = _measure
    environment.filters["published"] = _published
    environment.filters["clock"] = _clock
    environment.filters["inline_svg"] = _inline_svg
    environment.filters["sortable"] = _sortable
    return environment


def _measure(value: float, digits: int = 3) -> str:
    """A figure, or a dash where it is undefined."""
    return "–" if math.isnan(value) else f"{value:,.{digits}f}"


def _published(value: float) -> str:
    """A published figure with the digits it was published with."""
    return "–" if math.isnan(value) else f"{value:g}"


def _sortable(value: float) -> str:
    """What a column sorts by: the full figure, nothing where it is undefined."""
    return "" if math.isnan(value) else f"{value:.6g}"


def _clock(seconds: float) -> str:
    """Seconds as hours, minutes and seconds."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"


def _inline_svg(svg: str) -> Markup:
    """An SVG of ours, for a page: without the namespaces, which HTML does not need."""
    bare = svg.replace(' xmlns="http://www.w3.org/2000/svg"', "", 1)
    return Markup(bare.replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "", 1))


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
