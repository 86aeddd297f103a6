"""Writing an inspection to an HTML file and a PNG."""

from __future__ import annotations

from pathlib import Path

from brainbrr_core.errors import cannot_write
from brainbrr_core.files.atomic import replacing
from brainbrr_core.inspection.inspection import Inspection
from brainbrr_core.inspection.page import page


def write_inspection(inspection: Inspection, out: Path, stem: str, clip_sd: float) -> list[Path]:
    """Write ``inspect-<stem>.html`` and ``inspect-<stem>.png`` to the folder ``out``.

    If ``out`` ends in ``.html`` or ``.png``, only that file is written. ``clip_sd`` is where the
    signal chain clips, in standard deviations. Returns the paths. Raises :class:`BrainbrrError`
    where a file cannot be written.
    """
    suffix = out.suffix.lower()
    if suffix in (".html", ".png") and not out.is_dir():
        files = [out]
    else:
        files = [out / f"inspect-{stem}.html", out / f"inspect-{stem}.png"]
    for file in files:
        if file.suffix.lower() == ".png":
            # Loading matplotlib takes half a second, and the page does not need it.
            from brainbrr_core.inspection.picture import picture

            content = picture(inspection)
        else:
            content = page(inspection, clip_sd).encode("utf-8")
        try:
            with replacing(file) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            raise cannot_write(file, error) from None
    return files
