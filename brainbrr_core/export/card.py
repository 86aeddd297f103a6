"""The model card, ``README.md``: what a model is, what it was trained on, what it is worth."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import yaml

from brainbrr_core.cache.version import channels_of, is_imported
from brainbrr_core.display.counts import count
from brainbrr_core.errors import WorkRemains
from brainbrr_core.evaluation.key_figures import OPERATING_FIGURES, key_figures
from brainbrr_core.evaluation.method import method
from brainbrr_core.evaluation.results import MARKS, EvaluationResults, read_results, report_folder
from brainbrr_core.evaluation.run_list import SCORED_SPLITS
from brainbrr_core.export.use import Use
from brainbrr_core.files.state import content_hash
from brainbrr_core.prediction.predictor import threshold_of
from brainbrr_core.runs.earlier_file import EarlierTraining
from brainbrr_core.runs.earlier_trainings import trainings_before
from brainbrr_core.runs.record import MODEL, RunRecord
from brainbrr_core.runs.run import Run

CARD = "README.md"
#: The corpora whose layouts have their names, and what their providers say of passing them on.
_LAYOUTS = {
    "tusz": (
        "the TUH EEG Seizure Corpus",
        "an agreement with Temple University; its files may not be passed on",
    ),
    "chbmit": ("the CHB-MIT Scalp EEG Database", "Open Data Commons Attribution License 1.0"),
    "siena": (
        "the Siena Scalp EEG Database",
        "Creative Commons Attribution 4.0 International",
    ),
    "seizeit1": ("SeizeIT1", "an agreement with KU Leuven"),
}
#: Provenance of a report: the hash of the file with the weights that were scored.
_WEIGHTS = "weights (BLAKE3)"


@dataclass(frozen=True)
class Statements:
    """What only the user can say: what the model was trained on, and the license of the model.

    Both are empty where nothing is said.
    """

    data: str = ""
    license: str = ""


def corpus_words(record: RunRecord) -> str | None:
    """What a record says of the corpus without naming a folder: its layout, None without one."""
    corpus = record.configuration.get("corpus")
    layout = corpus.get("layout") if isinstance(corpus, dict) else None
    return f"a corpus in the layout {layout}" if isinstance(layout, str) else None


def model_card(run: Run, use: Use, said: Statements, files: Sequence[str]) -> str:
    """The card of a run's model, in Markdown with the hub's header.

    ``files`` are the other files of the folder. Raises :class:`BrainbrrError` where a report or
    the threshold of the run is damaged.
    """
    header: dict[str, object] = {
        "library_name": "brainbrr",
        "tags": ["eeg", "epilepsy", "seizure-detection", "brainbrr"],
    }
    if said.license:
        header["license"] = said.license
    sections = [
        ("", [*_summary(run)]),
        ("Intended use", _USE),
        ("How to use it", _commands(files)),
        ("Data", [*_data(run, said)]),
        ("Signal and detection", [*_method(run, use)]),
        ("Training", [*_training(run.record)]),
        ("Scores", [*_scores(run, use)]),
        ("Limits", _LIMITS),
    ]
    text = "".join(
        (f"\n## {title}\n\n" if title else "") + "\n\n".join(paragraphs) + "\n"
        for title, paragraphs in sections
    )
    return f"---\n{yaml.safe_dump(header, sort_keys=True)}---\n\n# Seizure detector\n\n{text}"


_USE = [
    "Research on the detection of epileptic seizures in recordings of scalp EEG: finding candidate "
    "seizures for a person to review, and comparison with other detectors.",
    "It is no medical device. No decision about a patient may rest on its output.",
]
_LIMITS = [
    "- The scores hold for patients like those that were scored. For other hospitals, amplifiers, "
    "ages and kinds of epilepsy, score it there: `brainbrr score` compares events with "
    "annotations.",
    "- Annotations of seizures differ between experts, and so does what is right.",
    "- Non-convulsive seizures, seizures of neonates, intracranial EEG and reduced montages are "
    "not covered unless the data above has them.",
    "- A threshold that was tuned on one corpus gives another rate of false alarms on another.",
]


def _summary(run: Run) -> Iterator[str]:
    record = run.record
    network = record.identity.model
    options = "".join(f", {name} {json.dumps(value)}" for name, value in network.options.items())
    channels = channels_of(record.identity.preprocessing_version)
    yield (
        "A network that maps windows of EEG to the probability of a seizure, and the settings that "
        "turn those into events. Made with brainbrr."
    )
    yield (
        f"Network: {network.settings.name}{options}; {record.parameters:,} parameters. Input: "
        f"{len(channels)} channels ({' '.join(channels)}) at 256 Hz in windows of "
        f"{record.identity.windows.length_s} s."
    )


def _commands(files: Sequence[str]) -> list[str]:
    lines = ["```\nbrainbrr predict recording.edf events.tsv --run FOLDER\n```"]
    if "predict.py" in files:
        lines += [
            "Without brainbrr, with numpy, scipy, edfio and onnxruntime:",
            "```\npython predict.py recording.edf events.tsv\n```",
        ]
    return lines


def _listed_corpora(record: RunRecord) -> Iterator[str]:
    """The corpora that the configuration of a training lists, with its notes on their licenses."""
    listed = record.configuration.get("corpora")
    for corpus in listed if isinstance(listed, list) else []:
        if isinstance(corpus, dict):
            license = corpus.get("license")
            yield f"{corpus.get('name')} ({license})" if license else f"{corpus.get('name')}"


def _data(run: Run, said: Statements) -> Iterator[str]:
    record = run.record
    if said.data:
        yield said.data
    else:
        corpus = record.configuration.get("corpus")
        layout = corpus.get("layout") if isinstance(corpus, dict) else None
        if listed := list(_listed_corpora(record)):
            yield f"Corpora: {'; '.join(listed)}."
        elif isinstance(layout, str) and layout in _LAYOUTS:
            name, license = _LAYOUTS[layout]
            yield (
                f"A corpus in the layout of {name}. Whether it is that one is not recorded; its "
                f"provider's terms are: {license}."
            )
        else:
            yield "Which corpus it was trained on, and under which license, is not recorded."
    license = f"`{said.license}`" if said.license else "not stated"
    yield f"License of the model: {license}."
    if record.data:
        rows = [
            f"| {split} | {of.patients:,} | {of.recordings:,} | {of.hours:,.1f} | {of.seizures:,} "
            f"| {of.ictal_hours:,.2f} |"
            for split, of in record.data.items()
        ]
        yield "\n".join(
            [
                "| split | patients | recordings | hours | seizures | hours of seizure |",
                "| --- | --- | --- | --- | --- | --- |",
                *rows,
            ]
        )
        yield "Weights were trained on train; steps and thresholds were chosen on dev."
    for training in trainings_before(run):
        yield _before(training)


def _before(training: EarlierTraining) -> str:
    """Of an earlier training, without its name, which may be one that the user chose."""
    began = f"Before this training, the weights were `{training.weights[:12]}` (BLAKE3)"
    if training.corpus is None:
        return f"{began} of another one, and on whom that was is not recorded."
    if training.of_the_package:
        return f"{began} of brainbrr's model `{training.name}`, trained on simulated EEG alone."
    patients = len({entry.patient for entry in training.corpus.recordings})
    return f"{began} of another one, trained and chosen on {count(patients, 'patient')}."


def _method(run: Run, use: Use) -> Iterator[str]:
    yield f"Preprocessing version: `{run.record.identity.preprocessing_version}`."
    yield from _steps(run, use)
    point, origin = threshold_of(run, use.detection, use.precision)
    tuned = run.threshold
    score = ""
    if tuned is not None and tuned.detection == use.detection:
        score = f"; SzCORE event F1 on dev at it: {tuned.dev_f1:.3f}"
    # What the configuration says is the run's: the remark on a command is of no use here.
    yield f"Threshold: {point}; {origin.partition(';')[0]}{score}."


def _steps(run: Run, use: Use) -> tuple[str, ...]:
    """The signal chain and the steps of detection."""
    version = run.record.identity.preprocessing_version
    return method(
        use.preprocessing,
        use.detection,
        run.record.identity.windows.length_s,
        version if is_imported(version) else None,
    )


def _training(record: RunRecord) -> Iterator[str]:
    fit, identity = record.fit, record.identity
    chosen = (
        "the weights are those of the last step"
        if fit.best_step is None
        else f"the weights are running averages at step {fit.best_step:,}, the best on dev"
    )
    yield (
        f"Seed {identity.training.seed}, {fit.steps:,} of {count(identity.training.steps, 'step')}"
        f"; {chosen}. Finished {record.finished_at[:10]}. Precision: {identity.precision}. "
        f"Hash of recordings, annotations and settings: `{identity.manifest[:12]}`; BLAKE3 of the "
        f"weights: `{record.model_blake3[:12]}`."
    )


def _scores(run: Run, use: Use) -> Iterator[str]:
    scored, steps = False, set(_steps(run, use))
    point, _ = threshold_of(run, use.detection, use.precision)
    for split in SCORED_SPLITS:
        results = _results(run, split)
        if results is None:
            continue
        scored = True
        yield f"On {split}: {_what(results)}."
        if results.threshold.point != point or not steps <= set(results.method):
            yield (
                "These scores are of other settings of detection than those above, with the "
                f"threshold {results.threshold.point}: `brainbrr evaluate` and another export "
                "bring them up to date."
            )
        estimates = key_figures(results)
        rows = [
            f"| {figure.title} | {estimate.value:,.{figure.digits}f} | "
            f"{estimate.bracketed(figure.digits)} |"
            for figure in OPERATING_FIGURES
            if not math.isnan((estimate := estimates[figure.name]).value)
        ]
        yield "\n".join(["| figure | value | 95 % interval |", "| --- | --- | --- |", *rows])
    if scored:
        yield f"Intervals are over patients. {MARKS}"
    else:
        yield "None: the run was not evaluated before it was exported."


def _results(run: Run, split: str) -> EvaluationResults | None:
    """The report of a run on a split of its own corpus; None unless it is of these weights."""
    try:
        results = read_results(report_folder(run.directory, split))
    except WorkRemains:
        return None
    scored = results.provenance.get(_WEIGHTS)
    return results if scored == content_hash(run.directory / MODEL) else None


def _what(results: EvaluationResults) -> str:
    looks = results.eval_looks
    seen = (
        ""
        if looks is None
        else f"; scored {count(looks.scorings, 'time')} by {count(looks.runs, 'run')}, this time "
        "included"
    )
    chosen = "" if results.split != "dev" else "; steps and threshold were chosen on it"
    threshold = results.threshold
    origin = "set by hand" if threshold.split is None else f"tuned on {threshold.split}"
    return (
        f"{count(len(results.patients), 'patient')}, "
        f"{count(len(results.recordings), 'recording')}, {results.hours:,.1f} h, "
        f"{count(results.seizures, 'seizure')}; threshold {origin}{chosen}{seen}"
    )
