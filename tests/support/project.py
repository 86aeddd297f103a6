"""Where this checkout lies, and what is beside it."""

from pathlib import Path

#: The folder of pyproject.toml.
ROOT = Path(__file__).resolve().parents[2]
#: Real recordings, which only some checkouts have beside them.
REAL = ROOT.parent / "shared" / "real"
