"""The report of an evaluation: one self-contained HTML file.

This module writes its sentences and the file; the layout is in ``templates/report.html.j2``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

from brainbrr_core.display.counts import count
from brainbrr_core.display.pages import template_environment
from brainbrr_core.evaluation.external_words import external_sentences
from brainbrr_core.evaluation.facts import TrainingFacts
from brainbrr_core.evaluation.report.pictures import Picture, Strip
from brainbrr_core.evaluation.report.published import PUBLISHED, PUBLISHED_GROUPS, obstacle, ours
from brainbrr_core.evaluation.results import (
    MARKS,
    SECONDS_PER_HOUR,
    Estimate,
    EvaluationResults,
    GroupRow,
)
from brainbrr_core.evaluation.statistics import Unit, unit_of
from brainbrr_core.scoring.bootstrap import LEVEL

#: Upper limit of the size of a report; pictures of single events are left out to stay below it.
MOST_BYTES = 3_000_000
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class HeadlineRow:
    """How the table of results names a rule, its average and what it counts."""

    rule: str
    name: str
    averaging: str
    counted: str

    @property
    def counts_time(self) -> bool:
        """Whether the rule counts time, so that its false positives are seconds."""
        return unit_of(f"{self.rule}.false_per_day") is Unit.FALSE_SECONDS


HEADLINE = (
    HeadlineRow("szcore_event", "SzCORE, event-based", "pooled", "events"),
    HeadlineRow("szcore_event_subject_mean", "SzCORE, event-based", "mean over patients", "events"),
    HeadlineRow("szcore_sample", "SzCORE, sample-based", "pooled", "seconds"),
    HeadlineRow(
        "szcore_sample_subject_mean", "SzCORE, sample-based", "mean over patients", "seconds"
    ),
    HeadlineRow("nedc_ovlp", "NEDC OVLP, SEIZ only", "pooled", "events"),
    HeadlineRow("nedc_ovlp_total", "NEDC OVLP, total", "pooled", "events, all classes"),
    HeadlineRow("nedc_taes", "NEDC TAES, SEIZ only", "pooled", "fractions of events"),
    HeadlineRow(
        "nedc_taes_total", "NEDC TAES, total", "pooled", "fractions of events, all classes"
    ),
    HeadlineRow(
        "nedc_taes_exact", "TAES on exact times, SEIZ only", "pooled", "fractions of events"
    ),
    HeadlineRow(
        "nedc_taes_exact_total",
        "TAES on exact times, total",
        "pooled",
        "fractions of events, all classes",
    ),
    HeadlineRow("nedc_epoch", "NEDC EPOCH, SEIZ only", "pooled", "quarter seconds"),
    HeadlineRow("nedc_epoch_total", "NEDC EPOCH, total", "pooled", "quarter seconds, all classes"),
    HeadlineRow("nedc_alignment", "NEDC DP alignment, SEIZ only", "pooled", "events"),
    HeadlineRow(
        "nedc_alignment_total", "NEDC DP alignment, total", "pooled", "events, all classes"
    ),
)


def method_sentences(results: EvaluationResults) -> list[str]:
    """What was scored, how threshold and weights were chosen, and how figures are defined."""
    choice = results.threshold
    thresholds = str(choice.point)
    patients = count(len(results.patients), "patient")
    recordings = count(len(results.recordings), "recording")
    sentences = [
        f"This report scores the split “{results.split}”: {recordings} of {patients}, "
        f"{results.hours:.1f} hours with {count(results.seizures, 'seizure')}. "
        + _unscored_sentence(results),
    ]
    if results.unknown_s:
        sentences.append(
            f"Of these hours, {results.unknown_s / SECONDS_PER_HOUR:.2f} are unknown: annotated "
            "with a seizure type that labels.seizure leaves out, or as undetermined. They are "
            "masked: they enter neither the figures based on seconds nor the rates of false "
            "alarms, and a detection that overlaps no seizure and lies at least half in unknown "
            "time is neither a hit nor a false alarm."
        )
    if choice.split is None:
        sentences.append(f"The operating point was set by hand, not tuned: {thresholds}.")
    else:
        reached = "" if math.isnan(choice.f1) else f" ({choice.f1:.3f})"
        sentences.append(
            f"The operating point was chosen on “{choice.split}” for the highest pooled "
            f"event-based F1 under SzCORE's rule{reached} and then frozen: {thresholds}."
        )
    if results.training is not None:
        sentences.append(_training_sentence(results.training, results.weights_chosen_on))
    elif results.weights_chosen_on is not None:
        sentences.append(f"The network's weights were chosen on “{results.weights_chosen_on}”.")
    sentences.append(_selection_sentence(results))
    looks = results.eval_looks
    if looks is not None:
        sentences.append(
            f"“eval” has been scored {count(looks.scorings, 'time')} from this runs folder, "
            f"with {count(looks.runs, 'run')}, including this evaluation."
        )
    sentences.append(
        f"Brackets contain {LEVEL:.0%} confidence intervals from a bootstrap over patients "
        f"({results.bootstrap_samples:,} resamples, seed {results.bootstrap_seed})."
    )
    sentences.append(
        "F1 is 2 TP / (2 TP + FP + FN), as in timescoring 0.0.7: a patient with seizures but "
        "without detections has an F1 of 0. Earlier versions left such patients out of the mean, "
        "so their figures are not comparable. A mean over patients leaves out those for whom the "
        "figure is undefined (sensitivity without seizures, precision without detections)."
    )
    return sentences


def _training_sentence(training: TrainingFacts, chosen_on: str | None) -> str:
    """Which weights are scored, how they were chosen, and what they were trained on."""
    progress = (
        f"Training (seed {training.seed}) completed {training.steps:,} of "
        f"{count(training.planned_steps, 'step')}"
        + (f" ({training.stopped})" if training.stopped else "")
        + "; the weights are running averages over the steps. "
    )
    if chosen_on is None:
        weights = f"The weights in use are those of the last step, {training.kept_step:,}. "
    else:
        weights = (
            f"The weights in use are those of step {training.kept_step:,}, chosen on “{chosen_on}” "
            f"for the highest {training.rule}. "
        )
    trained_on = next((facts for facts in training.data if facts.split == "train"), None)
    if trained_on is None:
        return (progress + weights).rstrip()
    return (
        f"{progress}{weights}The network was trained on {trained_on.hours:,.1f} hours of "
        f"{count(trained_on.patients, 'patient')} with "
        f"{count(trained_on.seizures, 'seizure')}, of which {trained_on.masked_s:,.0f} seconds "
        "have an unknown label and were masked."
    )


def concentration_sentence(rows: Sequence[GroupRow]) -> str:
    """How few patients account for half of the false alarms (OVLP); empty without any."""
    alarms = sorted((row.ovlp.false for row in rows if row.ovlp.false), reverse=True)
    if not alarms:
        return ""
    half, reached = 0, 0.0
    while reached < sum(alarms) / 2:
        reached += alarms[half]
        half += 1
    return (
        f"{half:,} of {count(len(rows), 'patient')} had {reached / sum(alarms):.0%} of the "
        f"{count(round(sum(alarms)), 'false alarm')} (NEDC OVLP); {len(rows) - len(alarms):,} "
        "had none."
    )


def _unscored_sentence(results: EvaluationResults) -> str:
    left_out = results.unscored
    if not left_out:
        return "No recording of the split was left out."
    hours = sum(row.duration_s for row in left_out) / SECONDS_PER_HOUR
    seizures = sum(row.seizures for row in left_out)
    return (
        f"Not scored: {count(len(left_out), 'recording')} ({hours:.1f} hours, "
        f"{count(seizures, 'known seizure')}); the list below gives names and reasons."
    )


def _selection_sentence(results: EvaluationResults) -> str:
    """Whether the threshold or the weights were chosen on the scored split."""
    chosen = {"the threshold": results.threshold.split, "the weights": results.weights_chosen_on}
    chosen_here = [choice for choice, split in chosen.items() if split == results.split]
    if chosen_here:
        return (
            f"This split was used to choose {' and '.join(chosen_here)}: its figures flatter the "
            "detector."
        )
    if results.threshold.split is None:
        return "Whether this split was used to set the threshold is not recorded."
    return "Neither the threshold nor the weights were chosen on this split."


def render_report(
    results: EvaluationResults, pictures: Sequence[Picture], strips: Sequence[Picture] = ()
) -> str:
    """HTML of a self-contained report of less than :data:`MOST_BYTES` bytes.

    ``pictures`` show the whole evaluation, ``strips`` single events. If the report would be too
    large, the last strips are left out and the report states how many.

    Raises ``ValueError`` if two pictures have the same name.
    """
    names = [picture.name for picture in (*pictures, *strips)]
    if len(set(names)) < len(names):
        raise ValueError(f"two pictures have the same name: {sorted(names)}")
    template = report_environment().get_template("report.html.j2")
    for shown in range(len(strips), -1, -1):
        text = template.render(
            results=results,
            external=external_sentences(results),
            pictures=pictures,
            strips=strips[:shown],
            strips_left_out=len(strips) - shown,
            sentences=method_sentences(results),
            headline=HEADLINE,
            marks=MARKS,
            concentration=concentration_sentence(results.patients),
            rule_names={row.rule: row.name for row in HEADLINE},
            published=PUBLISHED,
            published_groups=[
                (name, group.description, obstacle(results, name), ours(results, name))
                for name, group in PUBLISHED_GROUPS.items()
            ],
        )
        if len(text.encode()) < MOST_BYTES:
            break
    return text


def write_report(path: Path, results: EvaluationResults, strips: Sequence[Strip] = ()) -> None:
    """Draw the figures and write the report."""
    # Imported here because matplotlib takes a second to import, and only drawing needs it.
    from brainbrr_core.evaluation.report.eeg_strip import strip_picture
    from brainbrr_core.evaluation.report.figures import all_pictures

    events = [
        strip_picture(results, strip, f"strip-{number}") for number, strip in enumerate(strips)
    ]
    text = render_report(results, all_pictures(results), events)
    path.write_text(text, encoding="utf-8", newline="\n")


def report_environment() -> Environment:
    """The environment for the templates of this package, with filters for its figures."""
    environment = template_environment(_TEMPLATES)
    environment.globals["nan"] = math.nan
    environment.filters["counted"] = count
    environment.filters["measure"] = _measure
    environment.filters["interval"] = _interval
    environment.filters["published"] = _published
    environment.filters["inline_svg"] = _inline_svg
    environment.filters["sortable"] = _sortable
    return environment


def _measure(value: float, digits: int = 3) -> str:
    """A figure, or a dash where it is undefined."""
    return "–" if math.isnan(value) else f"{value:,.{digits}f}"


def _interval(estimate: Estimate, digits: int = 3) -> str:
    """A confidence interval in brackets with its marks."""
    return estimate.bracketed(digits)


def _published(value: float) -> str:
    """A published figure with as many digits as were published."""
    return "–" if math.isnan(value) else f"{value:g}"


def _sortable(value: float) -> str:
    """The key that a column is sorted by: the unrounded figure, empty if it is undefined."""
    return "" if math.isnan(value) else f"{value:.6g}"


def _inline_svg(svg: str) -> Markup:
    """An SVG element of :func:`drawing.svg` without its namespaces, which HTML does not need."""
    bare = svg.replace(' xmlns="http://www.w3.org/2000/svg"', "", 1)
    return Markup(bare.replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "", 1))
