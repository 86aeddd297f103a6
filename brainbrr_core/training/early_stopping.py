"""Keeping track of the best validation of a training, and ending the training early."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from brainbrr_core.training.validation import Validation


class EarlyStopping(BaseModel):
    """The validations so far, the best of them, and the patience that ends a training.

    A checkpoint stores it under the aliases of its fields.
    """

    model_config = ConfigDict(populate_by_name=True)

    #: Consecutive validations without a better one that end the training; 0 never ends it.
    patience: int = 0
    #: Step of the best validation, None before the first one.
    best_step: int | None = None
    #: Score and average precision of the best validation: the second decides between equal scores.
    best_rank: list[float] = Field(default=[], validation_alias="best", serialization_alias="best")
    #: Validations since the best one.
    since_best: int = 0
    validations: list[Validation] = Field(
        default=[], validation_alias="seen", serialization_alias="seen"
    )

    @property
    def should_stop(self) -> bool:
        """Whether patience is exhausted."""
        return 0 < self.patience <= self.since_best

    def has_validated(self, step: int) -> bool:
        """Whether the weights after a step were validated."""
        return bool(self.validations) and self.validations[-1].step == step

    def update(self, validation: Validation) -> bool:
        """Add a validation; return whether it is the best so far."""
        self.validations.append(validation)
        rank = [validation.score, validation.auprc]
        if self.best_step is None or rank > self.best_rank:
            self.best_step, self.best_rank, self.since_best = validation.step, rank, 0
            return True
        self.since_best += 1
        return False

    def forget_best(self) -> None:
        """Let the next validation be the best so far, whatever its score."""
        self.best_step, self.best_rank, self.since_best = None, [], 0

    def reason(self) -> str:
        """Why the training ended early."""
        return (
            f"no better validation than that of step {self.best_step} in {self.since_best} "
            "validations"
        )
