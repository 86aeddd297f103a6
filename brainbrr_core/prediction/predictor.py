"""A trained network ready to be run over recordings, from the store or from an EDF."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from brainbrr_core.cache.manifest import ManifestRecording
from brainbrr_core.cache.store import Store
from brainbrr_core.cache.version import is_imported
from brainbrr_core.configuration import Configuration, Detection, Hardware, Preprocessing
from brainbrr_core.configuration.settings import ChannelRules, Precision
from brainbrr_core.constants import RATE
from brainbrr_core.detection import RecordingStitcher, check_finite, configured_point, detect
from brainbrr_core.detection.recordings import StoredSignal, recording_frames, score_stored
from brainbrr_core.detection.scorer import WindowScorer, windows_at_once
from brainbrr_core.display.counts import count
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.memory import keep_freed_memory
from brainbrr_core.model import AnyNetwork
from brainbrr_core.model.device import check_device
from brainbrr_core.prediction.normalization import Normalization
from brainbrr_core.prediction.recording import Input, OpenRecording, Prediction, open_file
from brainbrr_core.runs.own_settings import check_version
from brainbrr_core.runs.run import Run
from brainbrr_core.scoring import OperatingPoint, ScoredRecording

Key = TypeVar("Key")
Tag = TypeVar("Tag")


@dataclass(frozen=True)
class Predictor:
    """A trained network and the settings with which it is run over recordings.

    Parameters
    ----------
    network : SeizureNetwork or AdaptedNetwork
        The network, on ``device`` and in evaluation mode.
    version : str
        The preprocessing version of the network's signals.
    preprocessing : Preprocessing
        The signal chain that an EDF is prepared with.
    detection : Detection
        How scores become events.
    hardware : Hardware
        How the network is run.
    device : torch.device
        Where the network is.
    window_s : int
        Length in seconds of the windows that the network was trained on.
    batch : int
        Windows that the network is given at once.
    rules : ChannelRules, optional
        Which EDFs are usable, by their channels; by default those of an empty configuration.
    """

    network: AnyNetwork
    version: str
    preprocessing: Preprocessing
    detection: Detection
    hardware: Hardware
    device: torch.device
    window_s: int
    batch: int
    rules: ChannelRules | None = None

    @classmethod
    def of(cls, run: Run, configuration: Configuration, batch: int | None = None) -> Predictor:
        """The network of a run on the device of a configuration, for recordings and EDFs.

        ``batch`` and errors are those of :meth:`load`.
        """
        return cls.load(
            run,
            Store.of(configuration).version,
            configuration.preprocessing,
            configuration.detection,
            configuration.hardware,
            rules=configuration.corpus,
            batch=batch,
        )

    @classmethod
    def load(
        cls,
        run: Run,
        version: str,
        preprocessing: Preprocessing,
        detection: Detection,
        hardware: Hardware,
        *,
        rules: ChannelRules | None = None,
        batch: int | None = None,
    ) -> Predictor:
        """The network of a run on the device that ``hardware`` names.

        ``version`` is the preprocessing version of what the network will be given. ``batch``
        windows are computed at once: by default what ``hardware.inference_batch_size`` says.
        The process keeps the memory that it frees from then on. Raises
        :class:`BrainbrrError` when the run was trained on another preprocessing version.
        """
        check_version(run, version, preprocessing)
        device = check_device(hardware)
        keep_freed_memory()
        return cls(
            run.load_network(hardware.ssm_backend).to(device),
            version,
            preprocessing,
            detection,
            hardware,
            device,
            run.record.identity.windows.length_s,
            windows_at_once(hardware, device) if batch is None else batch,
            rules,
        )

    @property
    def window(self) -> int:
        """Samples of a window."""
        return self.window_s * RATE

    @property
    def stride(self) -> int:
        """Samples from one window to the next."""
        return min(self.detection.stride_s, self.window_s) * RATE

    @cached_property
    def scorer(self) -> WindowScorer:
        """The network with the precision and the batches that it is used with."""
        return WindowScorer.of(self.network, self.hardware, self.device, self.batch)

    def frames(
        self, recordings: Iterable[tuple[Key, StoredSignal]]
    ) -> Iterator[tuple[Key, NDArray[np.float32]]]:
        """Score (a logit) of each frame of 1/8 s of recordings of the store, in order.

        Raises what reading one of them raises, after those before it.
        """
        return recording_frames(
            self.scorer,
            recordings,
            self.window,
            self.stride,
            self.detection.stitching,
        )

    def score_stored(
        self, store: Store, recordings: Iterable[ManifestRecording]
    ) -> Iterator[ScoredRecording]:
        """Recordings of the store with their scores and annotations. Raises as :meth:`frames`."""
        return score_stored(
            self.scorer,
            store,
            recordings,
            self.window,
            self.stride,
            self.detection.stitching,
        )

    def require_chain(self) -> None:
        """Raise :class:`BrainbrrError` where no EDF can be prepared for the network."""
        if is_imported(self.version):
            raise BrainbrrError(
                f"the run was trained on {self.version}, whose signal chain is not known: no EDF "
                "can be prepared for it; train on a built version"
            )

    def predict(self, path: Path, point: OperatingPoint) -> Prediction:
        """Events of one EDF. Raises :class:`BrainbrrError` with the reason when it is unusable."""
        [(_, outcome)] = self.predict_all([path], point)
        if isinstance(outcome, BrainbrrError):
            raise outcome
        return outcome

    def predict_all(
        self,
        paths: Iterable[Path],
        point: OperatingPoint,
        normalization: Normalization | None = None,
        on_share: Callable[[float], None] | None = None,
    ) -> Iterator[tuple[Path, Prediction | BrainbrrError]]:
        """Events of each EDF, or why there are none, as :meth:`predict_inputs` gives them."""
        montage = self.preprocessing.montage
        return self.predict_inputs(
            ((path, partial(open_file, path, self.rules, montage)) for path in paths),
            point,
            normalization,
            on_share,
        )

    def predict_inputs(
        self,
        recordings: Iterable[tuple[Key, Callable[[], Input]]],
        point: OperatingPoint,
        normalization: Normalization | None = None,
        on_share: Callable[[float], None] | None = None,
    ) -> Iterator[tuple[Key, Prediction | BrainbrrError]]:
        """Events of each recording, or why there are none, as they become known.

        Each is opened when its turn comes. The windows of one recording after the other fill the
        batches, so that many short recordings keep a GPU as busy as a long one. ``on_share`` is
        called with the share of a recording that was done. Memory is bounded whatever a
        recording's length.
        """
        self.require_chain()
        how = normalization or Normalization()
        share = on_share or (lambda _share: None)
        failed: deque[tuple[Key, BrainbrrError]] = deque()

        def batches() -> Iterator[tuple[Tensor, list[tuple[Key, OpenRecording]]]]:
            waiting: list[tuple[tuple[Key, OpenRecording], NDArray[np.float32]]] = []
            for key, open_recording in recordings:
                opened = None
                try:
                    opened = OpenRecording(
                        open_recording(), self.preprocessing, self._stitcher, self.window, how
                    )
                    for window in opened.windows():
                        waiting.append(((key, opened), window))
                        if len(waiting) == self.batch:
                            yield self._batch(waiting)
                            waiting.clear()
                except BrainbrrError as error:
                    waiting = [entry for entry in waiting if entry[0][1] is not opened]
                    share(1.0 - (opened.scores.share if opened else 0.0))
                    if opened is not None:
                        # The network may be computing windows of it.
                        opened.failed = True
                    failed.append((key, error))
            if waiting:
                yield self._batch(waiting)

        for scores, windows in self.scorer.scores(batches()):
            while failed:
                yield failed.popleft()
            for values, (key, opened) in zip(scores, windows, strict=True):
                if opened.failed:
                    continue
                opened.scores.take(values)
                share(1 / len(opened.scores.starts))
                if opened.scores.complete:
                    frames = opened.scores.frames()
                    try:
                        check_finite(frames, opened.name)
                    except BrainbrrError as error:
                        yield key, error
                        continue
                    events = detect(frames, opened.duration_s, self.detection, point)
                    yield key, opened.prediction(events, frames)
        yield from failed

    def _stitcher(self, samples: int) -> RecordingStitcher:
        """What collects the scores of the windows of a recording of so many samples."""
        return RecordingStitcher(samples, self.window, self.stride, self.detection.stitching)

    def _batch(
        self, windows: Sequence[tuple[Tag, NDArray[np.float32]]]
    ) -> tuple[Tensor, list[Tag]]:
        return self.scorer.stacked([window for _, window in windows]), [one for one, _ in windows]


def network_sentence(run: Run) -> str:
    """Which network a run is: its size, what it was trained on, and when it finished.

    Parameters
    ----------
    run : Run
        A finished run.

    Returns
    -------
    str
        One line, such as "run smoke-0d12ffb17167: network tiny, trained on tusz (profile smoke,
        300 steps), finished 2026-01-02 03:04 UTC".
    """
    record = run.record
    profile = record.configuration.get("profile")
    # What a card says of the data is a sentence.
    trained_on = (run.corpus_name or "a corpus that is not recorded").removesuffix(".")
    of_profile = "" if profile is None else f"profile {profile}, "
    return (
        f"run {run.name}: network {record.identity.model.settings.name}, trained on {trained_on} "
        f"({of_profile}{count(record.fit.steps, 'step')}), finished "
        f"{record.finished_at[:16].replace('T', ' ')} UTC"
    )


def threshold_of(
    run: Run, detection: Detection, precision: Precision
) -> tuple[OperatingPoint, str]:
    """The operating point to use with a run's scores, and where it comes from.

    Parameters
    ----------
    run : Run
        A run, with a tuned threshold or without.
    detection : Detection
        The settings of detection; a threshold that was tuned with others is not used.
    precision : {"float32", "bfloat16"}
        In which the scores are computed.

    Returns
    -------
    point : OperatingPoint
        The tuned thresholds; those of ``detection`` where there are none.
    origin : str
        Where they come from, for a message.

    Raises
    ------
    BrainbrrError
        Where the run's threshold is damaged.
    """
    tuned = run.threshold
    if tuned is not None and tuned.detection == detection:
        if tuned.precision != precision:
            return tuned.point, f"tuned on dev in {tuned.precision} (used in {precision} here)"
        return tuned.point, "tuned on dev"
    return configured_point(detection), "the configuration's; `brainbrr evaluate` tunes it on dev"
