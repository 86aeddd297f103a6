"""Draws the pictures of the documentation: ``python docs/_extensions/pictures.py`` writes them.

They are SVG, written to docs/_static. A test compares those that are drawn from the program's rules
with what is committed, so that they cannot become outdated.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

from brainbrr_core.annotation import Event
from brainbrr_core.scoring import RecordingEvents, szcore

STATIC = Path(__file__).resolve().parents[1] / "_static"
INK, GRAY, LIGHT, LINE = "#1f2430", "#5b6472", "#eef1f5", "#c3cad5"
RED, PALE_RED, BLUE, GREEN = "#c0392b", "#f3c9c4", "#2563a8", "#2e7d4f"
FONT = "font-family=\"system-ui, 'Segoe UI', Helvetica, Arial, sans-serif\""


def picture(width: int, height: int, title: str, elements: list[str]) -> str:
    """A whole SVG, with a title for screen readers and a white ground for dark pages."""
    ground = f'<rect width="{width}" height="{height}" rx="8" fill="white"/>'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {FONT} '
            'role="img">',
            f"<title>{escape(title)}</title>",
            ground,
            *elements,
            "</svg>\n",
        ]
    )


def text(
    x: float, y: float, words: str, *, size: int = 13, color: str = INK, anchor: str = "start",
    weight: str = "normal",
) -> str:  # fmt: skip
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{color}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{escape(words)}</text>'
    )


def box(x: float, y: float, width: float, height: float, *, fill: str, line: str = "none") -> str:
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="3" fill="{fill}" '
        f'stroke="{line}"/>'
    )


def arrow(x: float, y: float, to_x: float, to_y: float, *, color: str = GRAY) -> str:
    """A straight arrow, to the right or downwards."""
    head = (
        f"{to_x:g},{to_y:g} {to_x - 8:g},{to_y - 4:g} {to_x - 8:g},{to_y + 4:g}"
        if y == to_y
        else f"{to_x:g},{to_y:g} {to_x - 4:g},{to_y - 8:g} {to_x + 4:g},{to_y - 8:g}"
    )
    return (
        f'<line x1="{x:g}" y1="{y:g}" x2="{to_x:g}" y2="{to_y:g}" stroke="{color}" '
        f'stroke-width="1.5"/><polygon points="{head}" fill="{color}"/>'
    )


def labeled(x: float, y: float, width: float, name: str, *lines: str, height: float = 74) -> str:
    """A box with a name and what it is."""
    return "\n".join(
        [
            box(x, y, width, height, fill=LIGHT, line=LINE),
            text(x + 12, y + 23, name, size=13, weight="bold"),
            *(
                text(x + 12, y + 43 + 17 * n, line, size=12, color=GRAY)
                for n, line in enumerate(lines)
            ),
        ]
    )


NOTES = (
    "A fingerprint is a hash of the EDF's content and of every setting that shapes the samples.",
    "Window length, stride, labels and profile are not part of it: changing them rebuilds nothing.",
)


def cache() -> str:
    """From the corpus to a training, and what lies in the cache root."""
    elements = [
        labeled(20, 20, 150, "corpus", "EDFs, annotations", "never written to"),
        labeled(210, 20, 170, "index.parquet", "content hash, events,", "usable, or why not"),
        labeled(420, 20, 190, "plan", "expected fingerprint", "= stored fingerprint?"),
        arrow(170, 57, 208, 57),
        arrow(380, 57, 418, 57),
        text(626, 46, "same: fresh, nothing is done", size=12, color=GREEN),
        text(626, 66, "different or absent: build it", size=12, color=RED),
        text(20, 140, "<cache root>/", size=13, weight="bold"),
    ]
    versions = [
        ("v2_256hz_10-20_3fa9c2d10b7e", "the current settings", BLUE, 4),
        ("v2_256hz_10-20_81c04e7720aa", "notch_hz: 50", GRAY, 4),
    ]
    for number, (name, what, color, count) in enumerate(versions):
        y = 155 + 118 * number
        elements += [
            box(20, y, 510, 104, fill="white", line=color),
            text(34, y + 22, f"{name}/", size=13, color=color, weight="bold"),
            text(516, y + 22, what, size=12, color=color, anchor="end"),
        ]
        for shard in range(count):
            x = 34 + 96 * shard
            elements += [
                box(x, y + 34, 86, 36, fill=LIGHT, line=LINE),
                text(x + 43, y + 50, "shard", size=12, anchor="middle"),
                text(x + 43, y + 64, "fingerprint", size=10, color=GRAY, anchor="middle"),
            ]
        elements += [
            text(430, y + 57, "one for each", size=11, color=GRAY),
            text(430, y + 71, "recording", size=11, color=GRAY),
            text(
                34, y + 92, "manifests/  smoke, dev and full select from the same shards", size=12
            ),
        ]
    elements += [
        arrow(515, 94, 515, 153),
        text(525, 128, "build: only what is missing, stale or corrupt", size=12, color=GRAY),
        labeled(620, 160, 200, "manifest", "windows and labels of a", "profile; no signal is read"),
        arrow(530, 197, 618, 197),
        labeled(620, 278, 200, "training", "reads shards and manifest,", "never an EDF"),
        arrow(720, 234, 720, 276),
        text(20, 412, NOTES[0], size=12, color=GRAY),
        text(20, 430, NOTES[1], size=12, color=GRAY),
    ]
    return picture(840, 448, "How the cache decides what to build", elements)


@dataclass(frozen=True)
class Case:
    """One example of the event rule."""

    words: str
    reference: tuple[Event, ...]
    hypothesis: tuple[Event, ...]


CASES = (
    Case("overlaps the seizure", (Event(120, 160),), (Event(140, 190),)),
    Case("up to 30 s early", (Event(120, 160),), (Event(95, 110),)),
    Case("up to 60 s late", (Event(120, 160),), (Event(200, 230),)),
    Case("beyond the tolerance", (Event(120, 160),), (Event(240, 270),)),
    Case("two, less than 90 s apart: one", (Event(120, 160),), (Event(130, 140), Event(210, 235))),
    Case("longer than 300 s: cut into pieces", (Event(120, 160),), (Event(60, 560),)),
)  # fmt: skip
DURATION_S, BEFORE_S, AFTER_S = 600, 30, 60


def event_rule() -> str:
    """SzCORE's event rule, with the counts that the program gives for each case."""
    left, scale, row = 250, 0.72, 58
    elements = [
        box(left, 14, 16, 10, fill=RED), text(left + 22, 23, "annotated seizure", size=12),
        box(left + 150, 14, 16, 10, fill=PALE_RED),
        text(left + 172, 23, "tolerance: 30 s before, 60 s after", size=12),
        box(left + 390, 14, 16, 10, fill=BLUE), text(left + 412, 23, "detection", size=12),
    ]  # fmt: skip
    for number, case in enumerate(CASES):
        y = 42 + row * number
        counts = szcore.score_recording(
            RecordingEvents("p", DURATION_S, case.reference, case.hypothesis)
        ).event
        verdict = (
            f"{counts.detected:.0f} of {counts.reference:.0f} detected, {counts.false:.0f} false"
        )
        right = counts.detected == counts.reference and not counts.false
        elements += [
            text(16, y + 18, case.words, size=13),
            text(16, y + 36, verdict, size=13, color=GREEN if right else RED, weight="bold"),
        ]
        for event in case.reference:
            start, stop = event.start - BEFORE_S, event.stop + AFTER_S
            elements += [
                box(left + scale * start, y, scale * (stop - start), 18, fill=PALE_RED),
                box(left + scale * event.start, y, scale * event.duration, 18, fill=RED),
            ]
        elements += [
            box(left + scale * event.start, y + 22, scale * event.duration, 14, fill=BLUE)
            for event in case.hypothesis
        ]
    bottom = 42 + row * len(CASES)
    elements += [
        text(left + scale * second, bottom + 6, f"{second} s", size=11, color=GRAY, anchor="middle")
        for second in range(0, DURATION_S + 1, 100)
    ]
    return picture(720, bottom + 18, "SzCORE's event rule by example", elements)


def overview() -> str:
    """The graph, and some seconds of a synthetic recording with its annotated seizure."""
    assets = (
        ("raw_edf", "one version", "per EDF"),
        ("raw_edf_index", "usable,", "or why not"),
        ("windowed_cache", "one verified shard", "per recording"),
        ("cache_manifest", "one row", "per window"),
        ("trained_model", "a Bi-Mamba-2", "network"),
        ("eval_report", "event scores,", "HTML report"),
    )
    step, width = 158, 138
    elements = []
    for number, (name, *lines) in enumerate(assets):
        x = 16 + step * number
        elements.append(labeled(x, 16, width, name, *lines))
        if number:
            elements.append(arrow(x - step + width, 53, x - 2, 53))
    return picture(960, 336, "From EDF files to event scores", [*elements, *_strip(128, 195)])


def _strip(top: float, height: float) -> list[str]:
    """Channels around the beginning of a synthetic seizure, drawn from ``top``."""
    import numpy as np

    from brainbrr_core.cache.build import build
    from brainbrr_core.cache.plan import plan_corpus
    from brainbrr_core.cache.shard import Shard
    from brainbrr_core.configuration import Overrides, load
    from brainbrr_core.constants import CHANNELS, RATE
    from brainbrr_core.signal.quantization import SCALE
    from brainbrr_core.synthesis import write_corpus

    left, right, seconds, rate = 60, 944, 20, 32
    names = ("Fp1", "F7", "T3", "T5", "C3", "Cz", "C4", "O2")
    with TemporaryDirectory() as folder:
        data = Path(folder) / "tusz"
        write_corpus(data, recordings=8, hours=0.3, seed=1, workers=1)
        overrides = Overrides(config="smoke:cpu", data_dir=str(data), cache_root=f"{folder}/cache")
        settings = load(overrides, environment={})
        plan = plan_corpus(settings, log=print)
        build(plan, settings.preprocessing, workers=1)
        item = next(
            item
            for item in plan.items
            if item.recording.events and item.recording.events[0].start > seconds
        )
        shard = Shard(plan.store.shard_path(item.recording.partition_key))
        blocks = list(shard.blocks(0, shard.header.blocks))
    first = item.recording.events[0].start - seconds / 3
    window = slice(round(first * RATE), round((first + seconds) * RATE))
    signal = np.concatenate(blocks, axis=1)[:, window] * SCALE
    begin = left + (right - left) / 3
    spacing = height / len(names)
    elements = [
        box(begin, top - 4, right - begin, height + 8, fill="#f8dedb"),
        text(begin, top - 10, "annotated seizure", size=12, color=RED, weight="bold"),
    ]
    for number, name in enumerate(names):
        y = top + spacing * (number + 0.5)
        samples = signal[CHANNELS.index(name)]
        at = np.arange(0, len(samples), RATE / rate).astype(int)
        x = left + (right - left) * at / len(samples)
        heights = y - np.clip(samples[at], -6, 6) * spacing / 7
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, heights, strict=True))
        elements += [
            text(left - 8, y + 4, name, size=11, color=GRAY, anchor="end"),
            f'<polyline points="{points}" fill="none" stroke="{INK}" stroke-width="0.8"/>',
        ]
    return elements


def main() -> None:
    for draw in (cache, event_rule, overview):
        name = draw.__name__.replace("_", "-")
        (STATIC / f"{name}.svg").write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
