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

    anatomy, header = replay_step(file)
    if json:
        # As text: JSON has no number that is not finite.
        figures = {"loss": str(anatomy.loss), "gradient_norm": str(anatomy.gradient_norm)}
        print_json({"step": header["step"], "finite": anatomy.finite, **asdict(anatomy), **figures})
        return 0 if anatomy.finite else 1
    print(
        f"step {header['step']}: loss {anatomy.loss:g} (in training {header['loss']}), gradient "
        f"norm {anatomy.gradient_norm:g} (in training {header['norm']})"
    )
    for name in header["names"]:
        print(f"{'not finite' if name in anatomy.windows else 'finite    '}  {name}")
    if anatomy.module is not None:
        print(f"the first layer whose output is not finite: {anatomy.module}")
    if anatomy.parameters:
        print(f"parameters whose gradient is not finite: {', '.join(anatomy.parameters)}")
    return 0 if anatomy.finite else 1
