"""``brainbrr train`` and ``evaluate``."""

from __future__ import annotations

import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from brainbrr_core.cli.options import (
    CacheRoot,
    Config,
    Json,
    Profile,
    RunsDir,
    Version,
    configuration,
    log,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from brainbrr_core.evaluation.evaluate import Evaluation


def train(
    replay: Annotated[
        Path | None, typer.Option(help="A saved step that was not finite, to do again.")
    ] = None,
    config: Config = None,
    profile: Profile = None,
    cache_root: CacheRoot = None,
    runs_dir: RunsDir = None,
    version: Version = None,
    json: Json = False,
) -> int:
    """Train the network on the profile's cache, or say that this run is finished already.

    Under `torchrun`, which is given the path of this command, all its processes train together.
    """
    if replay is not None:
        return _replay(replay, json)
    from brainbrr_core.progress import progress
    from brainbrr_core.training.distributed import world_of
    from brainbrr_core.training.loop import StepReport
    from brainbrr_core.training.run import train as run_training

    settings = configuration(config, profile, None, cache_root, runs_dir, version)
    if not world_of(os.environ).first:
        run_training(settings, log=lambda _line: None)
        return 0
    with progress("train", settings.training.steps, "steps") as bar:

        def show(step: StepReport) -> None:
            if step.step == step.resumed_from + 1:
                bar.already(step.resumed_from)
            bar.advance(note=step.note())

        run = run_training(settings, on_step=show, log=log)
    if json:
        print_json({"run": str(run.directory), "reused": run.reused, **run.values})
    else:
        print(f"{'reused' if run.reused else 'trained'}: {run.directory}")
    return 0


def _replay(path: Path, json: bool) -> int:
    """Do a saved step again and say where it goes wrong; exit status 1 where it does."""
    from brainbrr_core.training.nonfinite import replay

    anatomy, header = replay(path)
    if json:
        # As text: JSON has no number that is not finite.
        figures = {"loss": str(anatomy.loss), "gradient_norm": str(anatomy.gradient_norm)}
        values = {"step": header["step"], "finite": anatomy.finite, **asdict(anatomy), **figures}
        print_json(values)
        return 0 if anatomy.finite else 1
    print(
        f"step {header['step']}: loss {anatomy.loss:g} (then {header['loss']}), gradient norm "
        f"{anatomy.gradient_norm:g} (then {header['norm']})"
    )
    for name in header["names"]:
        print(f"{'not finite' if name in anatomy.windows else 'finite    '}  {name}")
    if anatomy.module is not None:
        print(f"the first output that is not finite: {anatomy.module}")
    if anatomy.parameters:
        print(f"gradients that are not finite: {', '.join(anatomy.parameters)}")
    return 0 if anatomy.finite else 1


def evaluate(
    config: Config = None,
    profile: Profile = None,
    cache_root: CacheRoot = None,
    runs_dir: RunsDir = None,
    split: Annotated[str | None, typer.Option(help="dev or eval.")] = None,
    allow_eval: Annotated[
        bool, typer.Option("--allow-eval", help="Score the eval split; every time is counted.")
    ] = False,
    version: Version = None,
    json: Json = False,
) -> int:
    """Score the current run on whole recordings and write the report.

    The threshold is tuned on dev, once, and frozen.
    """
    from brainbrr_core.evaluation.evaluate import evaluate as run_evaluation

    settings = configuration(config, profile, None, cache_root, runs_dir, version)
    if split is not None and split not in ("dev", "eval"):
        raise typer.BadParameter("--split is dev or eval")
    if allow_eval:
        allowed = settings.evaluation.model_copy(update={"allow_eval": True})
        settings = settings.model_copy(update={"evaluation": allowed})
    evaluation = run_evaluation(settings, split, log=log)
    if json:
        results = evaluation.results
        print_json(
            {
                "report": str(evaluation.report),
                "run": evaluation.run.name,
                "reused": evaluation.reused,
                "split": results.split,
                "on_threshold": results.threshold.point.probability,
                "operating_point_logits": asdict(results.threshold.point),
                "scores": {rule: asdict(values) for rule, values in results.headline.items()},
                "intervals": {
                    name: [part.low, part.high] for name, part in results.estimates.items()
                },
                "unscored": [asdict(row) for row in results.unscored],
                "eval_looks": asdict(results.eval_looks) if results.eval_looks else None,
            }
        )
    else:
        print_scores(evaluation)
    return 0


def print_scores(evaluation: Evaluation) -> None:
    """The headline scores as a table, and where the report lies."""
    results = evaluation.results
    rows = []
    for rule, values in results.headline.items():
        if rule.endswith("_bckg"):
            continue
        # Rules that count samples count false seconds, not false events.
        unit = " s" if "sample" in rule or "epoch" in rule else ""
        rows.append(
            [
                rule.replace("_", " "),
                f"{values.sensitivity:.3f}",
                f"{values.precision:.3f}",
                f"{values.f1:.3f}",
                f"{values.false_per_day:.1f}{unit}",
            ]
        )
    columns = ["rule", "sensitivity", "precision", "F1", "false per 24 h"]
    seen = (
        "the split the threshold was tuned on" if results.split == "dev" else "threshold from dev"
    )
    if results.eval_looks is not None:
        seen += f"; scoring {results.eval_looks.scorings} of eval"
    print_table(
        f"{results.split}: {len(results.recordings)} recordings, {results.hours:.2f} h, "
        f"{results.seizures} seizures ({seen})",
        columns,
        rows,
    )
    if results.unknown_s:
        print(
            f"masked: {results.unknown_s / 3600:.2f} h of these are unknown, neither seizure nor "
            "background"
        )
    if results.unscored:
        hours = sum(row.duration_s for row in results.unscored) / 3600
        seizures = sum(row.seizures for row in results.unscored)
        print(
            f"not scored: {len(results.unscored)} recordings, {hours:.2f} h, {seizures} known "
            "seizures; the report lists them with their reasons"
        )
    f1 = results.estimates["szcore_event.f1"]
    if not math.isnan(f1.low):
        print(f"F1, szcore event: 95% interval over patients {f1.low:.3f} to {f1.high:.3f}")
    print(f"AUROC {results.seconds.auroc:.3f}, AUPRC {results.seconds.auprc:.3f} (by the second)")
    print(f"report: {evaluation.report}")
