"""``brainbrr predict``: a trained network on recordings, or on a signal while it is recorded."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from brainbrr_core.cli.choices import EventFormat, SampleTypeChoice, TraceFormat
from brainbrr_core.cli.options import RUN_HELP, Config, Json, RunsDir, configuration, run_folder
from brainbrr_core.cli.printing import count, log, print_json
from brainbrr_core.errors import BrainbrrError, cannot_write

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from brainbrr_core.configuration.settings import ChannelRules
    from brainbrr_core.constants import MontageName
    from brainbrr_core.prediction.files import Written
    from brainbrr_core.prediction.formats import Origin
    from brainbrr_core.prediction.online import Line, OnlineDetector
    from brainbrr_core.runs.run import Run
    from brainbrr_core.scoring import OperatingPoint

_STREAM = "Stream (--stream)"
_DEFAULT_FIRST_MINUTES = 5.0


def predict(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="An EDF (or .bdf, .vhdr, .set, .fif, .lay, .head), a folder of them, or a "
            "partition key of the index or its end; with --stream an EDF or BDF, or - for "
            "standard input.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Argument(metavar="OUT", help="A folder or, for one EDF in one format, a file."),
    ] = None,
    format: Annotated[
        list[EventFormat] | None,
        typer.Option(
            "--format",
            help="Format of the events: tsv is SzCORE's, csv_bi NEDC's, edf EDF+ annotations. May "
            "be repeated (default: by the ending of OUT, otherwise tsv).",
        ),
    ] = None,
    probabilities: Annotated[
        list[TraceFormat] | None,
        typer.Option(
            help="Also write the probability of a seizure in each 1/8 s, beside the events: as a "
            "table, or (edf) as a signal beside those of the EDF. May be repeated.",
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help=f"{RUN_HELP}; the folder of an exported model; or a model that comes with "
            "brainbrr, such as pretrained-small (default: the latest run; without one, "
            "pretrained).",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="PROBABILITY",
            help="Probability at which an event begins, instead of the run's operating point; it "
            "ends below detection.off_ratio times that.",
        ),
    ] = None,
    stats: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Normalize with the mean and standard deviation in this file, not with those of "
            "the whole recording.",
        ),
    ] = None,
    first_minutes: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            metavar="MINUTES",
            help="Normalize with the mean and standard deviation of the first minutes (default "
            "with --stream: 5, unless the setting zscore_minutes is given).",
        ),
    ] = None,
    save_stats: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the mean and standard deviation that were used to a file."
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Windows at a time (default: the setting inference_batch_size; with --stream 1).",
        ),
    ] = None,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="Follow INPUT while it is recorded, and write onsets (never withdrawn) and events "
            "as JSON lines to OUT or standard output.",
            rich_help_panel=_STREAM,
        ),
    ] = False,
    rate: Annotated[
        str | None,
        typer.Option(
            metavar="HZ",
            help="Sampling rate in Hz of the signal on standard input.",
            rich_help_panel=_STREAM,
        ),
    ] = None,
    sample_type: Annotated[
        SampleTypeChoice,
        typer.Option(
            help="Type of the samples on standard input, little-endian.", rich_help_panel=_STREAM
        ),
    ] = SampleTypeChoice.FLOAT32,
    microvolts: Annotated[
        float,
        typer.Option(
            help="Microvolts of one unit on standard input.",
            rich_help_panel=_STREAM,
        ),
    ] = 1.0,
    idle: Annotated[
        float,
        typer.Option(
            min=0.0,
            metavar="SECONDS",
            help="Time without growth after which an EDF counts as finished.",
            rich_help_panel=_STREAM,
        ),
    ] = 30.0,
    config: Config = None,
    runs_dir: RunsDir = None,
    json: Json = False,
) -> int:
    """Write the seizures that a trained network finds in recordings, in one or several formats.

    The run is used with its own preprocessing and detection, whatever the configuration says.

    With --stream and - a frame on standard input is one sample of each channel, in this order:

    Fp1 F3 C3 P3 F7 T3 T5 O1 Fz Cz Pz Fp2 F4 C4 P4 F8 T4 T6 O2.
    """
    from brainbrr_core.corpus.index_file import index_path
    from brainbrr_core.corpus.lookup import find_edf
    from brainbrr_core.corpus.skipped import describe_skipped
    from brainbrr_core.export.card import CARD
    from brainbrr_core.prediction.files import check_targets, predict_files, targets
    from brainbrr_core.prediction.formats import Origin
    from brainbrr_core.prediction.normalization import (
        ZSCORE_MINUTES,
        Normalization,
        read_statistics,
        write_statistics,
    )
    from brainbrr_core.prediction.online import OnlineDetector
    from brainbrr_core.prediction.predictor import Predictor, network_sentence, threshold_of
    from brainbrr_core.runs.own_settings import with_network_settings
    from brainbrr_core.runs.record import PRETRAINED
    from brainbrr_core.scoring import OperatingPoint

    if stats is not None and first_minutes is not None:
        raise BrainbrrError("--stats and --first-minutes exclude each other: give one of them")
    if not stream and str(source) == "-":
        raise BrainbrrError("INPUT - is standard input: add --stream, or give an EDF")
    if not stream and out is None:
        raise BrainbrrError("give OUT: a folder or, for one EDF in one format, a file")
    if stream and format:
        raise BrainbrrError("--stream writes JSON lines: leave --format out")
    if stream and probabilities:
        raise BrainbrrError("--stream writes JSON lines: leave --probabilities out")
    if threshold is not None and not 0 < threshold < 1:
        raise BrainbrrError(
            f"--threshold {threshold:g} is not a probability: give one between 0 and 1"
        )
    configured = configuration(config, runs_dir=runs_dir, uses_cache=False)
    if str(source) != "-" and not source.exists() and index_path(configured.cache_root).is_file():
        source, _ = find_edf(str(source), configured.cache_root)
    chosen = _chosen_run(run, configured.runs_dir)
    own = with_network_settings(configured, chosen)
    if own.differences:
        log(own.sentence(chosen))
    settings = own.configuration
    causal = settings.preprocessing.zscore_minutes is not None
    if causal and save_stats is not None:
        raise BrainbrrError(
            f"{ZSCORE_MINUTES} is set: there is no mean and standard deviation that another "
            "recording could use, so leave --save-stats out"
        )
    if stream and first_minutes is None and stats is None and not causal:
        first_minutes = _DEFAULT_FIRST_MINUTES
    point, origin = threshold_of(chosen, settings.detection, settings.hardware.precision)
    if threshold is not None:
        point = OperatingPoint.of_probability(threshold, settings.detection.off_ratio)
        origin = "given by --threshold"
    predictor = Predictor.of(chosen, settings, batch)
    normalization = Normalization(
        read_statistics(stats, predictor.version) if stats is not None else None,
        first_minutes * 60 if first_minutes is not None else None,
    )
    normalization.check(settings.preprocessing)
    whose = normalization.describe(settings.preprocessing)
    is_pretrained = chosen.directory in PRETRAINED.values()
    latest = f" (the latest of {configured.runs_dir})" if run is None and not is_pretrained else ""
    log(f"{network_sentence(chosen)}{latest}; operating point {origin}: {point}")
    if is_pretrained:
        log(
            "This network comes with brainbrr: pretrained and pretrained-small read referential "
            "recordings, pretrained-double-banana bipolar ones, too. It was trained on simulated "
            "EEG alone and is for research, not for decisions about patients; its card is "
            f"{chosen.directory / CARD}"
        )
    if stream:
        montage = settings.preprocessing.montage
        if str(source) == "-":
            samples = _samples_of_standard_input(rate, sample_type, microvolts, montage)
        else:
            if out is not None and str(out) != "-":
                check_targets({source: [out]})
            samples = _samples_of_growing_edf(source, rate, idle, settings.corpus, montage)
        online = OnlineDetector(predictor, samples.rate, samples.missing, point, normalization)
        return _follow(online, samples, chosen.name, point, whose, out, save_stats)
    made_by = Origin(chosen.name, predictor.version, point, whose)
    where = targets(source, out or Path(), format or [], probabilities or [])
    for line in describe_skipped(where.skipped):
        log(line)
    if save_stats is not None and not source.is_file():
        raise BrainbrrError(f"--save-stats is for one EDF, and {source} is a folder")
    written = predict_files(predictor, where, made_by, normalization, log)
    if save_stats is not None and written.last is not None:
        write_statistics(save_stats, written.last.statistics, predictor.version)
    _report(written, made_by, json)
    return 1 if written.failed else 0


def _chosen_run(run: str | None, runs_dir: Path) -> Run:
    """The run or model that is named by its folder or in the runs folder; else the latest run.

    Where there is no run, it is the model that comes with the package.
    """
    from brainbrr_core.runs.record import PRETRAINED, finished_runs
    from brainbrr_core.runs.run import latest_run, open_model

    if run is None:
        return (
            latest_run(runs_dir)
            if finished_runs(runs_dir)
            else open_model(PRETRAINED["pretrained"])
        )
    # A file is refused with what a run's folder has in it.
    return open_model(Path(run) if Path(run).is_file() else run_folder(run, runs_dir))


def _report(written: Written, made_by: Origin, json: bool) -> None:
    if json:
        print_json(
            {
                "run": made_by.run,
                "threshold": made_by.point.probability,
                "operating_point_logits": {"on": made_by.point.on, "off": made_by.point.off},
                "files": [str(path) for path in written.files],
                "recordings": written.recordings,
                "events": written.events,
                "failed": {str(path): error for path, error in written.failed.items()},
                "eeg_s": written.eeg_s,
                "seconds": round(written.seconds, 3),
                "times_real_time": round(written.times_real_time, 1),
            }
        )
        return
    for path in written.files:
        print(path)
    for error in written.failed.values():
        print(f"failed: {error}")
    print(
        f"{count(written.events, 'event')} in {count(written.recordings, 'recording')}; "
        f"{len(written.failed):,} failed"
    )
    print(
        f"{written.eeg_s / 3600:.2f} h of EEG in {written.seconds:.1f} s: "
        f"{written.times_real_time:,.0f} times real time"
    )


@dataclass(frozen=True)
class _Samples:
    """A signal that is being recorded.

    Its sampling rate in Hz, the channels that are missing, and its samples (channels, n) in µV as
    they arrive.
    """

    rate: Fraction
    missing: tuple[str, ...]
    pieces: Iterator[NDArray[np.float32]]


def _samples_of_standard_input(
    rate: str | None, sample_type: SampleTypeChoice, microvolts: float, montage: MontageName
) -> _Samples:
    from brainbrr_core.prediction.raw_samples import raw_samples, sample_type_of
    from brainbrr_core.signal.resampling import UnsupportedRate, design

    kind = sample_type_of(sample_type)
    if rate is None:
        raise BrainbrrError(
            "the signal on standard input does not state its sampling rate: give --rate, in Hz"
        )
    if not (microvolts and math.isfinite(microvolts)):
        raise BrainbrrError(f"--microvolts is {microvolts:g}: give a finite number other than 0")
    try:
        hertz = Fraction(rate)
        design(hertz)
    except (ValueError, ZeroDivisionError, UnsupportedRate):
        raise BrainbrrError(
            f"--rate {rate} is not a sampling rate from 100 to 100,000: give frames a second, in Hz"
        ) from None
    pieces = raw_samples(sys.stdin.buffer, kind, microvolts, log, montage)
    return _Samples(hertz, (), pieces)


def _samples_of_growing_edf(
    source: Path,
    rate: str | None,
    idle_s: float,
    rules: ChannelRules,
    montage: MontageName,
) -> _Samples:
    from brainbrr_core.prediction.recording import growing_pieces, growing_source

    if rate is not None:
        raise BrainbrrError(f"{source} states its own sampling rate: leave --rate out")
    edf = growing_source(source, rules, montage)
    return _Samples(edf.rate, edf.missing, growing_pieces(source, edf, idle_s))


def _follow(
    online: OnlineDetector,
    samples: _Samples,
    run: str,
    point: OperatingPoint,
    normalization: str,
    out: Path | None,
    save_stats: Path | None,
) -> int:
    """Print a line for every onset and event as soon as it is certain, to the end or Ctrl+C."""
    from brainbrr_core.prediction.normalization import write_statistics

    log(
        f"mean and standard deviation: {normalization}; each moment is decided after at most "
        f"{online.latency_s:.1f} s more of signal"
    )
    with _lines_to(out) as file:

        def write(lines: list[Line]) -> None:
            for line in lines:
                file.write(dumps(line) + "\n")
            file.flush()

        write(
            [
                {
                    "kind": "stream",
                    "run": run,
                    "on_threshold": point.probability,
                    "operating_point_logits": {"on": point.on, "off": point.off},
                    "mean_and_deviation": normalization,
                    "rate_hz": float(samples.rate),
                    "latency_s": online.latency_s,
                }
            ]
        )
        # Ctrl+C ends the recording: what has been decided by then is written.
        with suppress(KeyboardInterrupt):
            for piece in samples.pieces:
                write(online.push(piece))
        write(online.finish())
        write([{"kind": "end", "events": online.found, "signal_s": online.signal_s}])
    if save_stats is not None and online.statistics is not None:
        write_statistics(save_stats, online.statistics, online.version)
    return 0


@contextmanager
def _lines_to(out: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that is written line by line."""
    if out is None or str(out) == "-":
        yield sys.stdout
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        file = out.open("w", encoding="utf-8")
    except OSError as error:
        raise cannot_write(out, error) from None
    with file:
        yield file
