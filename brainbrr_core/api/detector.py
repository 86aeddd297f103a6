"""A trained network for a script: the events of a file, of a recording of MNE or of an array."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.api.arguments import number_of, whole_number_of
from brainbrr_core.api.in_memory import MontageSignal, is_raw, montage_signal
from brainbrr_core.configuration import Hardware, Overrides, load
from brainbrr_core.constants import RATE, MontageName
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.prediction.predictor import Predictor, threshold_of
from brainbrr_core.prediction.recording import Input, Prediction, open_file
from brainbrr_core.runs.own_settings import with_network_settings
from brainbrr_core.runs.record import find_run_folder
from brainbrr_core.runs.run import open_model
from brainbrr_core.scoring import OperatingPoint

if TYPE_CHECKING:
    import datetime

    import mne

    from brainbrr_core.api.in_memory import Signal

Device = Literal["cpu", "cuda"]


class Detector:
    """A trained network with its own preprocessing, detection and threshold.

    Recordings are a path, a recording of MNE (``mne.io.BaseRaw``), or an array (channels, samples)
    in µV with ``rate`` in Hz and the names of its ``channels``, as
    :func:`~brainbrr_core.api.preprocessing.preprocess` takes them. Recordings of any length are
    predicted in little memory; what MNE has not loaded stays on disk.

    Attributes
    ----------
    run : str
        The name of the run.
    version : str
        The preprocessing version of its signals.
    montage : {"10-20", "double-banana"}
        The montage of its signals.
    channels : tuple of str
        Their channels, in order.
    rate : int
        Their sampling rate in Hz; any rate from 100 Hz on is resampled to it.
    threshold : float
        The probability at which an event begins.
    """

    def __init__(self, run: str, predictor: Predictor, point: OperatingPoint) -> None:
        settings = predictor.preprocessing
        self.run, self.version = run, predictor.version
        self.montage: MontageName = settings.montage
        self.channels, self.rate = settings.channels, RATE
        self.threshold = point.probability
        self._predictor, self._point = predictor, point

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.run}: {len(self.channels)} channels, threshold "
            f"{self.threshold:.4g}, on {self._predictor.device}>"
        )

    def analyze(
        self,
        recording: str | Path | Signal,
        rate: float | Fraction | None = None,
        channels: Sequence[str] | None = None,
        *,
        bads: Sequence[str] = (),
    ) -> Prediction:
        """Events, probabilities and findings of a recording, computed once.

        Parameters
        ----------
        recording : str, pathlib.Path, mne.io.BaseRaw or array
            The recording.
        rate : float or fractions.Fraction, optional
            Samples per second of an array.
        channels : sequence of str, optional
            The names of an array's rows.
        bads : sequence of str, optional
            Channels that count as missing, besides those that MNE, or a channel table next to the
            file, has marked as bad; not for a path.

        Returns
        -------
        Prediction
            What was detected; times are seconds from the first sample.

        Raises
        ------
        BrainbrrError
            Where the recording cannot be used; the message says why.
        """
        [(_, outcome)] = self._predictor.predict_inputs(
            [(None, self._opener(recording, rate, channels, bads))], self._point
        )
        if isinstance(outcome, BrainbrrError):
            raise outcome
        return outcome

    def predict(
        self,
        recording: str | Path | Signal,
        rate: float | Fraction | None = None,
        channels: Sequence[str] | None = None,
        *,
        bads: Sequence[str] = (),
    ) -> list[Event]:
        """The events of a recording: of a file, exactly those of ``brainbrr predict``.

        Parameters and errors are those of :meth:`analyze`. Times are seconds from the first sample.
        """
        return self.analyze(recording, rate, channels, bads=bads).events

    def probabilities(
        self,
        recording: str | Path | Signal,
        rate: float | Fraction | None = None,
        channels: Sequence[str] | None = None,
        *,
        bads: Sequence[str] = (),
    ) -> NDArray[np.float64]:
        """The probability of a seizure in each frame of 1/8 s, before it is smoothed.

        Parameters and errors are those of :meth:`analyze`. A last frame may be shorter.
        """
        return self.analyze(recording, rate, channels, bads=bads).probabilities

    def annotate(self, raw: mne.io.BaseRaw, *, bads: Sequence[str] = ()) -> mne.Annotations:
        """The events of a recording of MNE as annotations, which ``raw.set_annotations`` takes.

        Their origin is that of the recording's own annotations, so that both can be added:
        ``raw.set_annotations(raw.annotations + detector.annotate(raw))``. A recording that was cut
        keeps the right times. Errors are those of :meth:`analyze`.
        """
        import mne

        if not is_raw(raw):
            raise BrainbrrError(
                f"{type(raw).__name__} is no recording of MNE: read it with mne.io, or use predict"
            )
        events = self.predict(raw, bads=bads)
        measured = raw.info["meas_date"]
        # With a date, times count from it, and without one from the first sample.
        first_s = 0.0 if measured is None else raw.first_samp / raw.info["sfreq"]
        return mne.Annotations(
            [event.start + first_s for event in events],
            [event.duration for event in events],
            [event.label for event in events],
            orig_time=measured,
        )

    def _opener(
        self,
        recording: str | Path | Signal,
        rate: float | Fraction | None,
        channels: Sequence[str] | None,
        bads: Sequence[str],
    ) -> Callable[[], Input]:
        rules = self._predictor.rules
        if isinstance(recording, str | Path):
            if rate is not None or channels is not None or bads:
                raise BrainbrrError(
                    f"{recording} states its rate and its channels: leave rate, channels and bads "
                    "out, or read it with MNE"
                )
            return partial(open_file, Path(recording), rules, self.montage)
        start: datetime.datetime | None = None
        if is_raw(recording):
            start = _start(recording)
        signal = montage_signal(
            recording, rate, channels, bads=bads, rules=rules, montage=self.montage
        )
        return partial(_input, signal, start)


def load_model(
    run: str | Path,
    *,
    threshold: float | None = None,
    device: Device | None = None,
    batch: int | None = None,
    config: str | None = None,
    runs_dir: str | Path | None = None,
) -> Detector:
    """Load a trained network, as ``brainbrr predict --run RUN`` does.

    Parameters
    ----------
    run : str or pathlib.Path
        The folder of a run or of an exported model, or a run's name in the folder of runs;
        ``pretrained`` is the model that comes with the package.
    threshold : float, optional
        Probability at which an event begins, instead of the run's operating point; it ends below
        ``detection.off_ratio`` times that.
    device : {"cpu", "cuda"}, optional
        Where the network runs; by default what the configuration says. Where that is the other
        one, the settings of hardware are the default ones, in float32.
    batch : int, optional
        Windows at a time; by default what ``hardware.inference_batch_size`` says.
    config : str, optional
        Names of bundled configurations and paths of files, separated by colons, as ``--config``
        takes them. Preprocessing and detection are those of the run in any case.
    runs_dir : str or pathlib.Path, optional
        The folder of runs; by default that of the configuration.

    Returns
    -------
    Detector
        The network, ready for recordings.

    Raises
    ------
    WorkRemains
        Where the folder has no finished run and no model.
    BrainbrrError
        Where there is no such run or device, or the run is damaged or cannot be given recordings.
    """
    if threshold is not None:
        threshold = float(number_of(threshold, "threshold", "a probability"))
        if not 0 < threshold < 1:
            raise BrainbrrError(f"a threshold of {threshold:g} is no probability: give 0 < p < 1")
    if batch is not None:
        batch = whole_number_of(batch, "batch", 1)
    configured = load(
        Overrides(config=config, runs_dir=None if runs_dir is None else str(runs_dir))
    )
    chosen = open_model(find_run_folder(str(run), configured.runs_dir))
    settings = with_network_settings(configured, chosen).configuration
    hardware = _hardware(settings.hardware, device)
    predictor = Predictor.of(chosen, settings.model_copy(update={"hardware": hardware}), batch)
    predictor.require_chain()
    point, _ = threshold_of(chosen, settings.detection, hardware.precision)
    if threshold is not None:
        point = OperatingPoint.of_probability(threshold, settings.detection.off_ratio)
    return Detector(chosen.name, predictor, point)


def _hardware(configured: Hardware, device: str | None) -> Hardware:
    """The settings of hardware of a device."""
    if device is None or device == configured.device:
        return configured
    if device not in get_args(Device):
        raise BrainbrrError(
            f"the device {device!r} is not known: use {' or '.join(get_args(Device))}"
        )
    return Hardware.model_validate({"name": device, "device": device})


def _input(signal: MontageSignal, start: datetime.datetime | None) -> Input:
    return Input(signal.name, signal, start, signal.findings)


def _start(raw: mne.io.BaseRaw) -> datetime.datetime | None:
    """Date and time of the first sample, without a time zone, as a file states it."""
    import datetime

    measured: datetime.datetime | None = raw.info["meas_date"]
    if measured is None:
        return None
    after_s = raw.first_samp / raw.info["sfreq"]
    return measured.replace(tzinfo=None) + datetime.timedelta(seconds=after_s)
