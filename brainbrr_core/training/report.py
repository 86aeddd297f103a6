"""Reports of a training: one for each optimizer step, and a summary at the end."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from brainbrr_core.training.validation import Validation


@dataclass(frozen=True, slots=True)
class StepReport:
    """Figures of one optimizer step. Rates are means over this process's steps so far.

    Steps whose figures are fetched together share their time evenly.

    Attributes
    ----------
    step, steps : int
        Number of steps so far, this one included, and of the whole training.
    loss : float
        Mean over the samples of the batch whose label is known; 0 if there are none. It is not
        finite only if the step was skipped.
    learning_rate : float
        Learning rate of the step.
    gradient_norm : float
        Norm of the gradient before clipping. It is not finite only if the step was skipped.
    spread : float
        Standard deviation of the probabilities in the batch.
    windows_per_s : float
        Windows per second of training, of all processes together.
    data_wait_share : float
        Share, from 0 to 1, of the training time so far in which this process waited for batches. A
        GPU may have worked on earlier steps during that time.
    elapsed_s : float
        Seconds since this process began to train, validations included.
    resumed_from : int
        Number of steps in the checkpoint from which this process resumed; 0 without one.
    skipped : tuple of str
        The windows in this process's share of the batch, if the step was skipped because its loss
        or gradient was not finite; otherwise empty.
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
    """Summary of a training. Rates and times are those since this process started or resumed."""

    model_config = ConfigDict(frozen=True)

    #: Number of steps, including those before the training was resumed.
    steps: int
    #: Number of steps in the checkpoint from which it was resumed.
    resumed_from: int
    #: Loss of the last step that was not skipped; None if this process did none.
    last_loss: float | None
    windows: int
    #: Windows per second of training, without the time of validations.
    windows_per_s: float
    data_wait_share: float
    elapsed_s: float
    #: Why it ended before ``training.steps``; empty if it did not.
    stopped: str = ""
    #: Step of the weights in use; None without validation.
    best_step: int | None = None
    validations: tuple[Validation, ...] = ()
    #: All steps, counted from 1, whose loss or gradient was not finite.
    skipped_steps: tuple[int, ...] = ()

    def skips(self) -> str:
        """One line that says how many steps were skipped, and which."""
        return (
            f"{len(self.skipped_steps)} of {self.steps} steps were skipped because their loss or "
            f"gradient was not finite: {', '.join(map(str, self.skipped_steps))}"
        )
