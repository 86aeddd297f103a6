"""What was found, as tables for a terminal and for the documentation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Table:
    """A title, its columns and its rows."""

    title: str
    columns: list[str]
    rows: list[list[str]]


def tables(values: Mapping[str, Any]) -> list[Table]:
    """One table for each section that was done, and one for what was not."""
    made = [_TABLES[name](found) for name, found in values["sections"].items()]
    undone = [[name, reason.splitlines()[-1]] for name, reason in values["failed"].items()]
    undone += [[name, "no time was left"] for name in values["skipped"]]
    if values["no_kernels_because"]:
        undone.append(["mamba_ssm", values["no_kernels_because"]])
    return [*made, Table("Not done", ["what", "why"], undone)] if undone else made


def markdown(values: Mapping[str, Any]) -> str:
    """The tables as Markdown, under a line that names the GPU, the software and the date."""
    software = {"torch": values["device"]["torch"], **values["software"]}
    known = ", ".join(f"{name} {version}" for name, version in software.items() if version)
    lines = [f"{values['device']['name']}, {values['date']}: {known}."]
    for table in tables(values):
        lines += ["", f"**{table.title}**", ""]
        lines.append("| " + " | ".join(table.columns) + " |")
        lines.append("| --- |" + " ---: |" * (len(table.columns) - 1))
        lines += ["| " + " | ".join(row) + " |" for row in table.rows]
    return "\n".join(lines) + "\n"


def _figure(value: float | None, form: str = ",.1f") -> str:
    return "" if value is None else format(value, form)


_CEILINGS = {
    "bfloat16_tflop_per_s": "matrix product in bfloat16, TFLOP/s",
    "float32_tflop_per_s": "matrix product in float32, TFLOP/s",
    "copy_tb_per_s": "copy on the device, read and written, TB/s",
    "host_to_device_gb_per_s": "copy to the device, GB/s",
}


def _machine(found: Mapping[str, Any]) -> Table:
    rows = [[_CEILINGS[name], f"{value:,}"] for name, value in found.items()]
    return Table("Ceilings of the device", ["", "figure"], rows)


def _warm_up(found: Mapping[str, Any]) -> Table:
    rows = [
        [
            _network(row),
            row["pass"],
            "out of memory" if row["seconds"] is None else f"{row['seconds']:.0f}",
        ]
        for row in found["rows"]
    ]
    rows.append(["all, side by side", "", f"{found['seconds']:.0f}"])
    return Table("Seconds to a first step", ["network", "pass", "s"], rows)


def _equality(found: Mapping[str, Any]) -> Table:
    rows = [
        [
            f"{row['preset']}, {row['backend']}",
            row["precision"],
            f"{row['length']:,}",
            f"{row['value']:.1e}",
            f"{row['gradient']:.1e} ({row['gradient_of']})",
            f"{row['cancelling']:.1e} ({row['cancelling_of']})",
            "yes" if row["within"] else "NO",
        ]
        for row in found["rows"]
    ]
    columns = ["layer of", "precision", "steps", "values", "gradients", "of sums", "within"]
    return Table("Distance of one layer from float64, relative", columns, rows)


def _losses(found: Mapping[str, Any]) -> Table:
    rows = []
    for preset, curves in found["curves"].items():
        first = curves["torch, float32"]
        for name, curve in curves.items():
            apart = max(abs(ours - theirs) for ours, theirs in zip(curve, first, strict=True))
            middle = curve[len(curve) // 2]
            rows.append(
                [f"{preset}, {name}", *(f"{v:.4f}" for v in (curve[0], middle, curve[-1], apart))]
            )
    columns = ["network", "first", "middle", "last", "largest difference from torch, float32"]
    return Table("Loss on equal batches", columns, rows)


def _rates(found: Mapping[str, Any]) -> Table:
    rows = [
        [
            _network(row),
            str(row["batch"]),
            row["pass"],
            *(
                ["out of memory", "", ""]
                if row["windows_per_s"] is None
                else [
                    f"{row['windows_per_s']:,.0f}",
                    f"{row['share_of_peak']:.1%}",
                    _figure(row["memory_mb"], ",.0f"),
                ]
            ),
        ]
        for row in found["rows"]
    ]
    columns = ["network", "batch", "pass", "windows/s", "of peak", "MB"]
    return Table(f"Steps in {found['precision']}", columns, rows)


def _network(row: Mapping[str, Any]) -> str:
    how = {False: "", True: ", compiled", "cuda_graphs": ", CUDA graphs"}[row["compile"]]
    return f"{row['preset']}, {row['backend']}{how}"


def _prepare(found: Mapping[str, Any]) -> Table:
    rows = [[name.replace("_", " "), f"{value:,}"] for name, value in found.items()]
    return Table("Synthetic corpus, and a training of tiny on the CPU", ["", "figure"], rows)


def _waiting(found: Mapping[str, Any]) -> Table:
    rows = [
        [
            f"{row['preset']}, {row['backend']}",
            str(row["batch"]),
            f"{row['one_batch_windows_per_s']:,.0f}",
            f"{row['training_windows_per_s']:,.0f}",
            f"{row['lost_share']:.1%}",
            f"{row['host_waited_share']:.1%}",
        ]
        for row in found["rows"]
    ]
    columns = [
        "network",
        "batch",
        "one batch again, windows/s",
        "from the store, augmented, windows/s",
        "lost, first steps included",
        "host waited",
    ]
    return Table(f"Trainings of {found['steps']} steps", columns, rows)


def _scoring(found: Mapping[str, Any]) -> Table:
    rows = [
        [
            f"{row['preset']}, {row['backend']}",
            str(row["batch"]),
            f"{row['hours_per_s']:.2f}",
            f"{row['tusz_dev_s']:,.0f}",
        ]
        for row in found["rows"]
    ]
    columns = ["network", "batch", "hours of EEG a second", "435 h of TUSZ's dev, s"]
    return Table(f"Scoring in {found['precision']}", columns, rows)


def _crossing(found: Mapping[str, Any]) -> Table:
    rows = [
        [
            f"{row['trained_on']}, by {row['scored_by']}",
            f"{row['largest_logit_difference']:.1e}",
            f"{row['largest_probability_difference']:.1e}",
            f"{row['threshold']:.4f} ({row['threshold_on_cpu']:.4f})",
            f"{row['events']} ({row['events_on_cpu']})",
            "" if row["events_moved_s"] is None else f"{row['events_moved_s']:g} s",
        ]
        for row in found["rows"]
    ]
    columns = ["trained on", "logits apart", "probabilities", "threshold", "events", "moved"]
    return Table("Scored on the GPU, against the CPU (in parentheses)", columns, rows)


def _resuming(found: Mapping[str, Any]) -> Table:
    deterministic, plain = found["deterministic_windows_per_s"], found["plain_windows_per_s"]
    rows = [
        ["the same model twice", "yes" if found["same_twice"] else "NO"],
        [
            f"killed, gone on with from step {found['resumed_from']}: the same model",
            "yes" if found["same_after_a_kill"] else "NO",
        ],
        ["deterministic, windows/s", f"{deterministic:,.0f}"],
        ["as fast as may be, windows/s", f"{plain:,.0f}"],
    ]
    return Table(
        f"hardware.deterministic, {found['steps']} steps of {found['batch']}", ["", ""], rows
    )


_TABLES: dict[str, Callable[[Mapping[str, Any]], Table]] = {
    "prepare": _prepare,
    "machine": _machine,
    "warm_up": _warm_up,
    "equality": _equality,
    "losses": _losses,
    "rates": _rates,
    "waiting": _waiting,
    "scoring": _scoring,
    "crossing": _crossing,
    "resuming": _resuming,
}
