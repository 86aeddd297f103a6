"""``brainbrr replay``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from brainbrr_core.cli.options import Json
from brainbrr_core.cli.printing import print_json


def replay(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="The step, which the training that ended on it has named."
        ),
    ],
    json: Json = False,
) -> int:
    """Replay a saved non-finite training step and report the first bad layer.

    The exit status is 1 where the loss or a gradient is not finite this time either. The step is
    computed on the CPU, in plain torch.
    """
    from brainbrr_core.training.nonfinite import replay as replay_step

    diagnosis, saved = replay_step(file)
    if json:
        # As text: JSON has no number that is not finite.
        figures = {"loss": str(diagnosis.loss), "gradient_norm": str(diagnosis.gradient_norm)}
        print_json({"step": saved.step, "finite": diagnosis.finite, **asdict(diagnosis), **figures})
        return 0 if diagnosis.finite else 1
    print(
        f"step {saved.step}: loss {diagnosis.loss:g} (in training {saved.loss}), gradient "
        f"norm {diagnosis.gradient_norm:g} (in training {saved.norm})"
    )
    for name in saved.names:
        print(f"{'not finite' if name in diagnosis.windows else 'finite    '}  {name}")
    if diagnosis.module is not None:
        print(f"the first layer whose output is not finite: {diagnosis.module}")
    if diagnosis.parameters:
        print(f"parameters whose gradient is not finite: {', '.join(diagnosis.parameters)}")
    return 0 if diagnosis.finite else 1
