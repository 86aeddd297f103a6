"""One signal as files of every format that is read, each written by its format's exporter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import edfio
import mne
import numpy as np
from numpy.typing import NDArray

from brainbrr_core.constants import CHANNELS
from tests.support.vendor_files import write_cnt, write_gdf, write_nihon_kohden

#: Names of the signals: the 19 electrodes and one that is none.
NAMES = (*CHANNELS, "ECG")
RATE = 256
START = datetime(2024, 3, 2, 10, 20, 30, tzinfo=UTC)
#: Annotations: onset and duration in seconds, and text.
NOTES = ((3.0, 0.0, "lights off"), (6.0, 4.0, "seizure"))


def microvolts(seconds: float = 30, seed: int = 0, names: Sequence[str] = NAMES) -> NDArray[Any]:
    """Noise of 20 µV with an offset of its own in each signal, (signals, n) in steps of 0.1 µV."""
    rng = np.random.default_rng(seed)
    noise = 20 * rng.standard_normal((len(names), int(seconds * RATE))).clip(-5, 5)
    return np.round(noise + 50 * np.arange(len(names))[:, None], 1)


def raw_of(
    signal: NDArray[Any],
    names: Sequence[str] = NAMES,
    notes: Sequence[tuple[float, float, str]] = NOTES,
) -> Any:
    """The signal, in µV, as an object of MNE."""
    kinds = ["ecg" if name == "ECG" else "eeg" for name in names]
    raw = mne.io.RawArray(1e-6 * signal, mne.create_info(list(names), RATE, kinds), verbose="error")
    raw.set_meas_date(START)
    if notes:
        onsets, durations, texts = zip(*notes, strict=True)
        raw.set_annotations(mne.Annotations(onsets, durations, texts))
    return raw


def _with_edfio(path: Path, raw: Any, kind: type, signal: type, top: int) -> Path:
    signals = [
        signal(
            1e6 * row,
            RATE,
            label=f"EEG {name}-REF" if name in CHANNELS else name,
            physical_dimension="uV",
            # A digital step is 0.1 µV, so that the signal is stored as it is.
            physical_range=(-top / 10, (top - 1) / 10),
            digital_range=(-top, top - 1),
        )
        for name, row in zip(raw.ch_names, raw.get_data(), strict=True)
    ]
    notes = [
        edfio.EdfAnnotation(float(onset), float(duration) or None, str(text))
        for onset, duration, text in zip(
            raw.annotations.onset,
            raw.annotations.duration,
            raw.annotations.description,
            strict=True,
        )
    ]
    recording = edfio.Recording(startdate=START.date())
    kind(signals, recording=recording, starttime=START.time(), annotations=notes or None).write(
        path
    )
    return path


def write_edf(path: Path, raw: Any) -> Path:
    return _with_edfio(path, raw, edfio.Edf, edfio.EdfSignal, 2**15)


def write_bdf(path: Path, raw: Any) -> Path:
    return _with_edfio(path, raw, edfio.Bdf, edfio.BdfSignal, 2**23)


def write_brainvision(
    path: Path, raw: Any, fmt: str = "binary_float32", *, vectorized: bool = False
) -> Path:
    """BrainVision: ``.vhdr``, ``.vmrk`` and ``.eeg``, by sample or by channel."""
    import pybv

    events = [
        {
            "onset": round(onset * RATE),
            "duration": max(1, round(duration * RATE)),
            "description": str(text),
            "type": "Comment",
            "channels": "all",
        }
        for onset, duration, text in zip(
            raw.annotations.onset,
            raw.annotations.duration,
            raw.annotations.description,
            strict=True,
        )
    ]
    pybv.write_brainvision(
        data=raw.get_data(),
        sfreq=RATE,
        ch_names=raw.ch_names,
        fname_base=path.stem,
        folder_out=str(path.parent),
        events=events,
        resolution=0.1,
        unit="µV",
        fmt=fmt,
        meas_date=START,
        overwrite=True,
    )
    if vectorized:
        kind = np.dtype("<f4" if fmt == "binary_float32" else "<i2")
        data = path.with_suffix(".eeg")
        values = np.fromfile(data, kind).reshape(-1, len(raw.ch_names))
        values.T.copy().tofile(data)
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("MULTIPLEXED", "VECTORIZED"), encoding="utf-8")
    return path


def write_eeglab(path: Path, raw: Any, *, fdt: bool = False) -> Path:
    """EEGLAB: one ``.set`` with everything, or one with its samples in an ``.fdt``."""
    mne.export.export_raw(path, raw, fmt="eeglab", overwrite=True, verbose="error")
    if fdt:
        from scipy.io import loadmat, savemat

        content = loadmat(path, squeeze_me=True, struct_as_record=False)
        content = {key: value for key, value in content.items() if not key.startswith("__")}
        np.asarray(content["data"], "<f4").T.tofile(path.with_suffix(".fdt"))
        savemat(path, content | {"data": path.with_suffix(".fdt").name}, appendmat=False)
    return path


def write_fif(path: Path, raw: Any) -> Path:
    raw.save(path, overwrite=True, verbose="error", fmt="double")
    return path


def write_persyst(path: Path, raw: Any) -> Path:
    """Persyst: ``.lay`` and ``.dat``, with a step of 0.1 µV, made by hand."""
    digital = np.rint(10e6 * raw.get_data()).astype("<i2")
    path.with_suffix(".dat").write_bytes(digital.T.tobytes())
    channels = "".join(f"{name}-Ref={number}\n" for number, name in enumerate(raw.ch_names, 1))
    comments = "".join(
        f"{onset:.6f},{duration:.6f},0,0,{text}\n"
        for onset, duration, text in zip(
            raw.annotations.onset,
            raw.annotations.duration,
            raw.annotations.description,
            strict=True,
        )
    )
    path.write_text(
        f"[FileInfo]\nFile={path.with_suffix('.dat').name}\nFileType=Interleaved\n"
        f"SamplingRate={RATE}\nHeaderLength=0\nCalibration=0.1\n"
        f"WaveformCount={len(raw.ch_names)}\nDataType=0\n"
        f"[ChannelMap]\n{channels}[SampleTimes]\n0=37230.000000\n"
        f"[Patient]\nFirst=\nMI=\nLast=\nSex=\nHand=\nBirthDate=01/01/00\nID=\n"
        f"TestDate={START:%m/%d/%Y}\nTestTime={START:%H:%M:%S}\n[Comments]\n{comments}"
    )
    return path


def write_nicolet(path: Path, raw: Any) -> Path:
    """Nicolet: ``.head`` and ``.data``, with a step of 0.1 µV, made by hand; it has no comments."""
    digital = np.rint(10e6 * raw.get_data()).astype("<i2")
    path.with_suffix(".data").write_bytes(digital.T.tobytes())
    path.write_text(
        f"start_ts={START:%Y-%m-%d %H:%M:%S}.000\nnum_samples={digital.shape[1]}\n"
        f"sample_freq={RATE}\nconversion_factor=0.1\nnum_channels={len(raw.ch_names)}\n"
        f"elec_names=[{','.join(raw.ch_names)}]\npat_id=1\nadm_id=1\nrec_id=1\n"
        f"duration_in_sec={digital.shape[1] // RATE}\nsample_bytes=2\n"
    )
    return path


Writer = Callable[[Path, Any], Path]
#: Each format: the name of a file of it, what writes it, and by how many µV a value may differ from
#: the one that was written: float32 in EEGLAB and BrainVision, and pybv cuts off parts of a step.
WRITERS: dict[str, tuple[str, Writer, float]] = {
    "EDF": ("a.edf", write_edf, 1e-9),
    "BDF": ("a.bdf", write_bdf, 1e-9),
    "BrainVision float32": ("a.vhdr", write_brainvision, 1e-4),
    "BrainVision int16": (
        "a.vhdr",
        lambda path, raw: write_brainvision(path, raw, "binary_int16"),
        0.2,
    ),
    "BrainVision vectorized": (
        "a.vhdr",
        lambda path, raw: write_brainvision(path, raw, "binary_int16", vectorized=True),
        0.2,
    ),
    "EEGLAB": ("a.set", write_eeglab, 1e-4),
    "EEGLAB with fdt": ("a.set", lambda path, raw: write_eeglab(path, raw, fdt=True), 1e-4),
    "FIF": ("a_eeg.fif", write_fif, 1e-9),
    "Persyst": ("a.lay", write_persyst, 1e-9),
    "Nicolet": ("a.head", write_nicolet, 1e-9),
    "GDF": ("a.gdf", write_gdf, 1e-9),
    "GDF 1.25": ("a.gdf", lambda path, raw: write_gdf(path, raw, "1.25"), 1e-9),
    "Neuroscan": ("a.cnt", write_cnt, 1e-4),
    "Neuroscan int32": ("a.cnt", lambda path, raw: write_cnt(path, raw, 4), 1e-4),
    "Nihon Kohden": ("a.EEG", write_nihon_kohden, 0.1),
}
#: Formats that have no annotations of their own, or no texts of them.
SILENT = ("Nicolet", "Neuroscan", "Neuroscan int32")
#: Formats whose annotations have no duration.
INSTANT = ("Nihon Kohden",)
MNE_READERS: dict[str, Callable[..., Any]] = {
    ".edf": mne.io.read_raw_edf,
    ".bdf": mne.io.read_raw_bdf,
    ".vhdr": mne.io.read_raw_brainvision,
    ".set": mne.io.read_raw_eeglab,
    ".fif": mne.io.read_raw_fif,
    ".lay": mne.io.read_raw_persyst,
    ".head": lambda path, **options: mne.io.read_raw_nicolet(
        path.with_suffix(".data"), "eeg", **options
    ),
    ".gdf": mne.io.read_raw_gdf,
    ".cnt": mne.io.read_raw_cnt,
    ".EEG": mne.io.read_raw_nihon,
}


def read_by_mne(path: Path) -> Any:
    """The recording as MNE itself reads it."""
    return MNE_READERS[path.suffix](path, preload=True, verbose="error")


def write_format(name: str, folder: Path, raw: Any) -> Path:
    """A file of a format in a folder, by its name in :data:`WRITERS`."""
    file, write, _ = WRITERS[name]
    folder.mkdir(parents=True, exist_ok=True)
    return write(folder / file, raw)
