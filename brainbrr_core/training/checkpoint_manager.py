"""Saving the state of a training to a folder, and resuming from there.

Two files are kept consistent: the checkpoint, which has the whole state, and the weights of the
best validation, for users.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import JsonValue

from brainbrr_core.configuration.differences import setting_differences
from brainbrr_core.display.counts import count
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.runs import weights as weight_files
from brainbrr_core.runs.identity import LATER_TRAINING, training_values
from brainbrr_core.training import checkpoint as files
from brainbrr_core.training.checkpoint import TrainingProgress
from brainbrr_core.training.early_stopping import EarlyStopping
from brainbrr_core.training.provenance import Provenance
from brainbrr_core.training.resumption import find_resumption, set_aside
from brainbrr_core.training.trainer import Trainer

#: The entry of a checkpoint's settings with the preprocessing version that it was trained on.
_VERSION = "preprocessing version"


class CheckpointManager:
    """Saves a trainer and its progress to a folder, and resumes from there.

    Parameters
    ----------
    directory : Path
        The run's folder.
    trainer : Trainer
        The trainer to save and restore.
    provenance : Provenance, optional
        Data, code, settings and hardware, which every file records.
    log : callable
        Called with a line if a file is damaged, missing or written again.
    """

    def __init__(
        self,
        directory: Path,
        trainer: Trainer,
        provenance: Provenance | None,
        log: Callable[[str], None],
    ) -> None:
        self.directory = directory
        self.trainer = trainer
        self.progress = TrainingProgress(
            early_stopping=EarlyStopping(patience=trainer.settings.patience)
        )
        self._provenance: dict[str, JsonValue] = {} if provenance is None else provenance.record()
        self._log = log
        #: The averaged weights of the best validation, on the CPU; empty without one.
        self._best: weight_files.Tensors = {}
        #: The step of the weights in the file of the best ones.
        self._best_on_disk: int | None = None
        #: Settings that a checkpoint must have, to be resumed from.
        self._settings: dict[str, JsonValue] = {
            **{
                f"training.{key}": value for key, value in training_values(trainer.settings).items()
            },
            "hardware.batch_size": trainer.hardware.batch_size,
            "hardware.precision": trainer.hardware.precision,
            "share of seizure in the training samples": trainer.positive_fraction,
            _VERSION: None if provenance is None else provenance.preprocessing_version,
        }

    # --- saving

    def keep_best(self) -> None:
        """Keep a copy of the averaged weights as the best so far; :meth:`save` writes them."""
        ema = self.trainer.ema
        self._best = {name: value.detach().cpu().clone() for name, value in ema.items()}

    def save(self, step: int) -> None:
        """Write the checkpoint after ``step`` steps, and the best weights next to it.

        Only the main process writes. Raises :class:`WorkRemains` if a file cannot be written.
        """
        if not self.trainer.group.is_main:
            return
        network, optimizer = self.trainer.network, self.trainer.optimizer
        files.save_checkpoint(
            self.directory,
            files.Checkpoint(
                step=step,
                settings=self._settings,
                progress=self.progress,
                provenance=self._provenance,
                network=network.state_dict(),
                ema=self.trainer.ema,
                optimizer=files.optimizer_tensors(network, optimizer),
                best=self._best,
            ),
            self.trainer.settings.keep_checkpoints,
        )
        # The checkpoint contains the best weights, too, so that they are consistent with it even if
        # the process ends before their separate file is written.
        if self._best and self._best_step != self._best_on_disk:
            self._write_best()

    @property
    def _best_step(self) -> int | None:
        return self.progress.early_stopping.best_step

    def _write_best(self) -> None:
        header = {"step": self._best_step, "provenance": self._provenance}
        weight_files.save_tensors(self.directory / files.BEST_NAME, self._best, header)
        self._best_on_disk = self._best_step

    # --- resuming

    def resume(self) -> int:
        """Restore the newest undamaged checkpoint and return its step; 0 without one.

        Newer files that are damaged are renamed and named in the log. Raises
        :class:`BrainbrrError` if the checkpoint has different settings, another preprocessing
        version or another network, or if all checkpoints are damaged.
        """
        resumption = find_resumption(self.directory)
        if resumption is None:
            return 0
        checkpoint = resumption.checkpoint
        self._check(checkpoint)
        trainer = self.trainer
        # The main process must not rename a file that another one has not read yet.
        trainer.group.barrier()
        if resumption.path.name == files.CHECKPOINT_NAME:
            self._log(f"the training resumes from step {checkpoint.step:,}")
        elif trainer.group.is_main:
            renamed = [
                f"{path.name} is kept as {set_aside(path).name}" for path in resumption.damaged
            ]
            self._log(
                f"the last checkpoint in {self.directory} is "
                f"{'damaged' if renamed else 'missing'}: the training resumes from step "
                f"{checkpoint.step}, in {resumption.path.name}"
                + "".join(f"; {text}" for text in renamed)
            )
        skipped = len(checkpoint.progress.skipped_steps)
        if skipped > trainer.skipped_steps_limit:
            raise BrainbrrError(
                f"the checkpoint in {self.directory} has skipped {count(skipped, 'step')} that "
                "were not finite and training.skipped_steps_limit is "
                f"{trainer.skipped_steps_limit}: raise it, or remove the run's checkpoints to "
                "train from the first step"
            )
        trainer.network.load_state_dict(checkpoint.network)
        for name, value in checkpoint.ema.items():
            trainer.ema[name].copy_(value)
        files.restore_optimizer(trainer.network, trainer.optimizer, checkpoint.optimizer)
        trainer.set_skipped_steps(skipped)
        self.progress = checkpoint.progress
        self.progress.early_stopping.patience = trainer.settings.patience
        self._best = checkpoint.best
        if self._best_step is not None:
            self._restore_best()
        return checkpoint.step

    def _check(self, checkpoint: files.Checkpoint) -> None:
        """Raise :class:`BrainbrrError` if a checkpoint belongs to another training."""
        remedy = "restore the setting, or remove the run's checkpoints to train from the first step"
        # A later setting is recorded only where its value is not the default.
        later = {f"training.{key}": value for key, value in LATER_TRAINING.items()}
        for key, value in (later | self._settings).items():
            written = checkpoint.settings.get(key, later.get(key))
            differences = self._preprocessing(checkpoint) if key == _VERSION else ""
            if written != value and differences:
                raise BrainbrrError(
                    f"the checkpoint in {self.directory} was written with other preprocessing than "
                    f"this run has ({differences}): {remedy}"
                )
            if written != value:
                raise BrainbrrError(
                    f"the checkpoint in {self.directory} was written with {key} {written}, this "
                    f"run has {value}: {remedy}"
                )
        shapes = {name: value.shape for name, value in self.trainer.ema.items()}
        if {name: value.shape for name, value in checkpoint.network.items()} != shapes:
            raise BrainbrrError(
                f"the checkpoint in {self.directory} is of another network: {remedy} (model.preset)"
            )

    def _preprocessing(self, checkpoint: files.Checkpoint) -> str:
        """The settings of preprocessing that differ from a checkpoint's, by their keys."""
        written, own = (
            provenance.get("configuration")
            for provenance in (checkpoint.provenance, self._provenance)
        )
        if not isinstance(written, dict) or not isinstance(own, dict):
            return ""
        return "; ".join(map(str, setting_differences(written, own, ("preprocessing",))))

    def _restore_best(self) -> None:
        """Make the checkpoint and the file of the best weights agree.

        The checkpoint decides: a file that is damaged, missing or of another step is written again
        from it. Only checkpoints of earlier versions of the program do not contain the best
        weights. For these the file is the only source. If it cannot be used, the training continues
        rather than lose hours of work: the best validation is forgotten, which is logged at once,
        and the next validation counts as the best.
        """
        path = self.directory / files.BEST_NAME
        weights, step, damaged = _read_best(path)
        main = self.trainer.group.is_main
        # Every process must have read the file before the main one renames or writes it.
        self.trainer.group.barrier()
        if damaged and main:
            self._log(f"{path} is damaged: it is kept as {set_aside(path).name}")
        usable = step == self._best_step
        if self._best:
            checksum = weight_files.content_checksum
            same = usable and checksum(weights) == checksum(self._best)
            self._best_on_disk = step if same else None
        elif usable:
            self._best, self._best_on_disk = weights, step
        else:
            self._log(
                f"the best weights, of step {self._best_step}, are lost: the next validation "
                "counts as the best so far"
            )
            self.progress.early_stopping.forget_best()
            return
        if self._best_on_disk is None and main:
            self._log(f"{path} is written again from the checkpoint (step {self._best_step})")
            self._write_best()

    def load_final_weights(self) -> None:
        """Load the averaged weights, of the best validation or the last step, into the network."""
        best = self._best_step is not None
        self.trainer.network.load_state_dict(self._best if best else self.trainer.ema)


def _read_best(path: Path) -> tuple[weight_files.Tensors, int | None, bool]:
    """The best weights in a file, their step, and whether the file is damaged."""
    if not path.is_file():
        return {}, None, False
    try:
        weights, header = weight_files.load_tensors(path)
    except weight_files.DamagedFile:
        return {}, None, True
    step = header.get("step")
    return weights, step if isinstance(step, int) else None, False
