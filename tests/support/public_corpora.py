"""Small trees in the layouts of CHB-MIT, the Siena database and SeizeIT1, with their oddities."""

from __future__ import annotations

import zlib
from datetime import datetime
from pathlib import Path

from tests.support.edf_files import patch, write_edf

#: Bipolar labels as CHB-MIT has them.
CHBMIT_LABELS = [
    *("FP1-F7", "F7-T7", "T7-P7", "P7-O1", "FP1-F3", "F3-C3", "C3-P3", "P3-O1"),
    *("FP2-F4", "F4-C4", "C4-P4", "P4-O2", "FP2-F8", "F8-T8", "T8-P8", "P8-O2"),
    *("FZ-CZ", "CZ-PZ", "P7-T7", "T7-FT9", "FT9-FT10", "FT10-T8", "T8-P8"),
]
#: Labels of the Siena database, and inputs that are no EEG.
SIENA_LABELS = [
    *(f"EEG {name}" for name in ("Fp1", "F3", "C3", "P3", "O1", "F7", "T3", "T5", "Fc1", "Fz")),
    *(f"EEG {name}" for name in ("Cz", "Pz", "Fp2", "F4", "C4", "P4", "O2", "F8", "T4", "T6")),
    *("EKG EKG", "SPO2", "1", "2", "MK"),
]


def edf(path: Path, start: datetime, labels: list[str] | None = None, seconds: int = 40) -> Path:
    """An EDF of noise that starts at a date and time; names of files differ in their samples."""
    seed = zlib.crc32(path.name.encode())
    write_edf(path, labels=labels, seconds=seconds, rate=128, seed=seed)
    patch(path, 168, start.strftime("%d.%m.%y").encode(), 8)
    patch(path, 176, start.strftime("%H.%M.%S").encode(), 8)
    return path


def write_chbmit(root: Path) -> Path:
    """Five cases: both forms of times, a night, no clock times, and one person twice."""
    night = datetime(2015, 3, 1, 23, 59, 50)
    summaries = {
        "chb01": """Data Sampling Rate: 128 Hz
*************************

Channels in EDF Files:
**********************
Channel 1: FP1-F7

File Name: chb01_01.edf
File Start Time: 23:59:50
File End Time: 24:00:30
Number of Seizures in File: 0

File Name: chb01_02.edf
File Start Time: 00:00:37
File End Time: 0:01:17
Number of Seizures in File: 1
Seizure Start Time: 10 seconds
Seizure End Time: 22 seconds

Channels changed:
Channel 1: F7-FP1

File Name: chb01_03+.edf
File Start Time: 00:01:20
File End Time: 0:02:00
Number of Seizures in File: 2
Seizure 1 Start Time: 1 seconds
Seizure 1 End Time: 5 seconds
Seizure 2 Start Time: 30 seconds
Seizure 2 End Time: 40 seconds
""",
        "chb21": """File Name: chb21_01.edf
File Start Time: 13:00:00
File End Time: 13:00:40
Number of Seizures in File: 0
""",
        "chb24": """File Name: chb24_01.edf
Number of Seizures in File: 2
Seizure 1 Start Time: 3 seconds
Seizure 1 End Time: 6 seconds
Seizure 2 Start Time: 20 seconds
Seizure 2 End Time: 25 seconds
""",
    }
    names = ("chb01_01", "chb01_02", "chb01_03+", "chb21_01", "chb24_01")
    for name in names:
        edf(root / name[:5] / f"{name}.edf", night, CHBMIT_LABELS)
    for case, text in summaries.items():
        (root / case / f"{case}-summary.txt").write_text(text)
    (root / "SUBJECT-INFO").write_text("Case\tGender\tAge (years)\n\nchb01\tF\t11\n")
    (root / "RECORDS").write_text("".join(f"{name[:5]}/{name}.edf\n" for name in names))
    return root


def write_siena(root: Path) -> Path:
    """Three patients: names in other spellings, a night, one EDF with two seizures."""
    edf(root / "PN00" / "PN00-1.edf", datetime(2016, 1, 1, 19, 39, 33), SIENA_LABELS)
    edf(root / "PN00" / "PN00-2.edf", datetime(2016, 1, 1, 23, 59, 50), SIENA_LABELS)
    edf(root / "PN01" / "PN01-1.edf", datetime(2016, 1, 1, 19, 0, 44), SIENA_LABELS)
    edf(root / "PN06" / "PN06-4.edf", datetime(2016, 1, 1, 11, 16, 9), SIENA_LABELS)
    lists = {
        "PN00": """PN00

Channels in EDF files:
Channel 5: 1      \r

Seizure n 1
File name: PN00-1.edf
Registration start time: 19.39.33
Registration end time:  19.40.13
Seizure start time: 19.39.36
Seizure end time: 19.39.46

Seizure n 2 (in sleep):
File name: PN00-2.edf
Registration start time:  23.59.50
Registration end time:  00.00.30
Seizure start time: 23:59.58
Seizure end time:00.00.09
""",
        "PN01": """File name: PN01.edf
Registration start time: 19.00.44
Registration end time: 19.01.24

Seizure n 1
Start time: 19:00:50
End time: 19:00:55

Seizure n 2
Start time: 19:01:10
End time: 19:01:20
""",
        "PN06": """Seizure n 4
File name: PNO6-4.edf
Registration start time: 11.16.09
Registration end time: 11.16.49
Seizure start time: 11.16.20
Seizure end time: 11.16.30
""",
    }
    for patient, text in lists.items():
        (root / patient / f"Seizures-list-{patient}.txt").write_text(text)
    (root / "subject_info.csv").write_text(
        "patient_id, age_years, gender, seizure, localization\n"
        "PN00,55,Male,IAS,T\nPN01,46,Male,WIAS,T\nPN06,36,Male,FBTC,T\n"
    )
    return root


def write_seizeit(root: Path) -> Path:
    """Two recordings of a patient, one of which has seizures."""
    for number, rows in ((1, ""), (2, "5\t12\tFIA\tHem:L\n20\tNone\tFA\tHem:R\n")):
        path = edf(root / "P_ID31" / f"P_ID31_r{number}.edf", datetime(2017, 1, 1, 8, number))
        head = f" # Source: SeizeIt1\n# Subject: P_ID31\n# Recording: r{number}\n\n"
        path.with_name(f"{path.stem}_a1.tsv").write_text(head + rows)
    return root
