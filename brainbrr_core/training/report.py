"""What a training reports: each optimizer step, and the whole of it when it ends."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from brainbrr_core.training.validation import Validation


@dataclass(frozen=True, slots=True)
class StepReport:
    """One optimizer step. Rates are means over this process's steps so far.

    The time of steps whose figures were fetched together is divided evenly among them.

    Attributes
    ----------
    step, steps : int
        Steps done, this one included, and steps of the whole training.
    loss : float
        Mean over the known samples of the batch; 0 where it has none. Not finite only where the
        step was skipped.
    learning_rate : float
        Learning rate of the step.
    gradient_norm : float
        Norm of the gradient before clipping. Not finite only where the step was skipped.
    spread : float
        Standard deviation of the probabilities in the batch.
    windows_per_s : float
        Windows per second of training, of all processes together.
    data_wait_share : float
        Share, from 0 to 1, of the training time so far in which this process waited for batches; a
        GPU may have been working on earlier steps meanwhile.
    elapsed_s : float
        Seconds since this process began to train, validations included.
    resumed_from : int
        Steps that a checkpoint had done when this process began.
    skipped : tuple of str
        In this process's share of the batch, the windows of a step that was skipped since its loss
        or gradient is not finite; empty for any other step.
    """

    step: int
    steps: int
    loss: float
    learning_rate: float
    gradient_norm: float
    spread: float
    windows_per_s: float
    data_wait_share: float
    elapsed_s: float
    resumed_from: int = 0
    skipped: tuple[str, ...] = ()

    def left_s(self) -> float:
        """Seconds until the last step, at the rate of this process."""
        return self.elapsed_s / (self.step - self.resumed_from) * (self.steps - self.step)

    def note(self) -> str:
        """A short text to show next to a progress bar."""
        loss = "skipped" if self.skipped else f"loss {self.loss:.3f}"
        return (
            f"{loss}, {self.windows_per_s:.1f} windows/s, "
            f"{self.data_wait_share:.1%} waiting for data"
        )


class FitSummary(BaseModel):
    """A whole training. Rates and times are those of this process since it started or resumed."""

    model_config = ConfigDict(frozen=True)

    #: Steps done in all.
    steps: int
    #: Steps that a checkpoint had already done.
    resumed_from: int
    #: Of the last step that was not skipped; None if this process did none.
    last_loss: float | None
    windows: int
    #: Over the time of the steps, without that of validations.
    windows_per_s: float
    data_wait_share: float
    elapsed_s: float
    #: Why it ended before ``training.steps``, or empty.
    stopped: str = ""
    #: Step of the weights that were kept; None without validation.
    best_step: int | None = None
    validations: tuple[Validation, ...] = ()
    #: All steps, counted from 1, whose loss or gradient was not finite.
    skipped_steps: tuple[int, ...] = ()

    def skips(self) -> str:
        """How many steps were skipped and which, in one line."""
        return (
            f"{len(self.skipped_steps)} of {self.steps} steps were skipped since their loss or "
            f"gradient was not finite: {', '.join(map(str, self.skipped_steps))}"
        )
