"""What ``brainbrr --help`` loads: a command line that is asked for help answers at once."""

from __future__ import annotations

import subprocess
import sys

#: Beside the command line itself: what starts a process and names its errors.
LIGHT = ("brainbrr_core.cli", "brainbrr_core.errors", "brainbrr_core.machine")
HEAVY = {"dagster", "matplotlib", "mne", "numba", "numpy", "pandas", "pyarrow", "pydantic", "scipy"}
HEAVY |= {"torch", "yaml"}


def test_help_loads_neither_libraries_nor_what_commands_call() -> None:
    program = (
        "import sys\n"
        "sys.argv = ['brainbrr', '--help']\n"
        "from brainbrr_core.cli.app import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "print(*sorted(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "cache" in done.stdout
    loaded = done.stderr.split()
    own = [name for name in loaded if name.startswith("brainbrr_core.")]
    assert own
    assert [name for name in own if not name.startswith(LIGHT)] == []
    assert {name.partition(".")[0] for name in loaded} & HEAVY == set()
