"""Writing an inspection to its files."""

from __future__ import annotations

from pathlib import Path

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.atomic import replacing
from brainbrr_core.inspection.inspection import Inspection
from brainbrr_core.inspection.page import page


def write_inspection(seen: Inspection, out: Path, stem: str, clip_sd: float) -> list[Path]:
    """Write ``inspect-<stem>.html`` and ``.png`` to the folder ``out``.

    Where ``out`` is a name that ends in ``.html`` or ``.png``, only that file is written. Raises
    :class:`BrainbrrError` where it cannot be.
    """
    suffix = out.suffix.lower()
    if suffix in (".html", ".png") and not out.is_dir():
        files = [out]
    else:
        files = [out / f"inspect-{stem}.html", out / f"inspect-{stem}.png"]
    for file in files:
        if file.suffix.lower() == ".png":
            # Takes half a second to load, and the page does not need it.
            from brainbrr_core.inspection.picture import picture

            content = picture(seen)
        else:
            content = page(seen, clip_sd).encode("utf-8")
        try:
            with replacing(file) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            raise BrainbrrError(f"{file} cannot be written: {error.strerror}") from None
    return files
