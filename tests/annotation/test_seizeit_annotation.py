"""The annotation of a recording of SeizeIT1."""

from __future__ import annotations

import pytest

from brainbrr_core.annotation import UNKNOWN, Event, on_signal, seizeit
from brainbrr_core.annotation.parsed import ParsedAnnotation

WHERE = "P_ID31_r2_a1.tsv"
HEAD = """ # Source: SeizeIt1
# Annotators: Neurologist
# Subject: P_ID31
# Recording: r2
# Seizure Type: "FIAS"=Focal Impaire Awareness, "FA"= Focal Awareness

"""


def of(*rows: str, head: str = HEAD, where: str = WHERE) -> ParsedAnnotation:
    return on_signal(seizeit.parse(head + "\n".join(rows) + "\n", where), 9000.0)


def test_every_row_is_a_seizure_with_a_type() -> None:
    annotation = of(
        "781\t807\tFIA\tHem:L, Orig:Temp, bhe: 0", "900\t931.5\tFA\tx", "7145\t7175\tF-BTC\t"
    )
    assert annotation.events == (
        Event(781, 807, "cpsz"),
        Event(900, 931.5, "spsz"),
        Event(7145, 7175, "fnsz"),
    )
    assert (annotation.findings, annotation.usable) == ((), True)


def test_a_file_without_rows_has_no_seizure() -> None:
    assert (of().events, of().findings, of().usable) == ((), (), True)


def test_a_seizure_without_a_stop_is_unknown_until_the_next() -> None:
    annotation = of("100\tNone\tFIA\tx", "400\t450\tFIA\tx")
    assert annotation.events == (Event(100, 400, UNKNOWN), Event(400, 450, "cpsz"))
    assert [finding.code for finding in annotation.findings] == ["event_without_end"]
    assert annotation.usable


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("100\t90\tFIA\tx", "stop_before_start"),
        ("100\tlater\tFIA\tx", "malformed_row"),
        ("-1\t90\tFIA\tx", "malformed_row"),
        ("100 90 FIA", "malformed_row"),
        ("100\t190\tcough\tx", "unknown_label"),
    ],
)
def test_what_is_not_understood_excludes(row: str, code: str) -> None:
    annotation = of(row)
    assert code in [finding.code for finding in annotation.findings]
    assert not annotation.usable


def test_the_file_must_name_its_recording() -> None:
    for head, where, code in (
        ("", WHERE, "missing_header"),
        (HEAD, "P_ID31_r3_a1.tsv", "names_another_recording"),
        (HEAD, "P_ID32_r2_a1.tsv", "names_another_recording"),
    ):
        annotation = of("781\t807\tFIA\tx", head=head, where=where)
        assert [finding.code for finding in annotation.findings] == [code]
        assert not annotation.usable
