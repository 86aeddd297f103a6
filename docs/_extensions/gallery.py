"""How the examples are ordered and run when the site is built."""

from __future__ import annotations

from typing import Any

#: The examples, from the first steps to the network alone.
EXAMPLES = (
    "folder_to_score.py",
    "index_a_folder.py",
    "shard_and_report.py",
    "read_windows.py",
    "predict_one_edf.py",
    "score_events.py",
    "use_the_network.py",
)


class ExampleOrder:
    """Sorts the files of the gallery in the order of ``EXAMPLES``; another file is an error."""

    def __init__(self, src_dir: str) -> None:
        self.src_dir = src_dir

    def __call__(self, filename: str) -> int:
        return EXAMPLES.index(filename)


def without_progress(_configuration: dict[str, Any], _file: str) -> None:
    """Show no progress in the output of an example: its speed would differ in each build."""
    from brainbrr_core.progress import PlainProgress

    PlainProgress.line = lambda _progress: None
