"""``bench --index`` measures commands with nothing to do, each in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from brainbrr_core.benchmark import idle_commands
from brainbrr_core.benchmark.many_recordings import wide_cache
from brainbrr_core.cache.plan import State, plan_profile
from brainbrr_core.cli.app import app
from brainbrr_core.errors import BrainbrrError


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read on Linux only")
def test_each_command_is_measured_where_nothing_is_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = wide_cache(tmp_path, 30)
    plan = plan_profile(configuration)
    assert (plan.count(State.FRESH), len(plan.items), plan.orphans) == (30, 30, ())
    splits = {item.recording.split for item in plan.items}
    assert splits == {"train", "dev", "eval"}
    monkeypatch.setattr(idle_commands, "wide_cache", lambda _folder, _recordings: configuration)
    said: list[str] = []
    measured = idle_commands.run(30, said.append)
    assert measured.recordings == 30
    assert said[1:] == list(measured.commands)
    assert {"reading the index", "a plan", "cache status", "manifest"} <= measured.commands.keys()
    # Python alone takes this much.
    assert all(row.cpu_s > 0.01 and row.peak_mb > 5 for row in measured.commands.values())
    # Torch is loaded for the windows of a training and not to look whether they are there.
    without, with_torch = (
        measured.commands[name].peak_mb
        for name in ("a training's pre-flight", "a training's windows")
    )
    assert without + 50 < with_torch
    assert [row[0] for row in measured.table().rows] == said[1:]
    plan.store.shard_path(plan.items[0].recording.partition_key).unlink()
    with pytest.raises(BrainbrrError, match="a measured command failed"):
        idle_commands.run(30, said.append)


def test_scoring_is_measured_on_made_up_frames() -> None:
    done = CliRunner().invoke(app, ["bench", "scoring", "--recordings", "60", "--json"])
    assert done.exit_code == 0, done.output
    values = json.loads(done.stdout)
    # In proportion to TUSZ's dev: 1,832 recordings, 435.5 h, 1,081 seizures.
    assert values["hours"] == pytest.approx(435.5 * 60 / 1832, abs=0.1)
    assert values["seizures"] == round(1081 * 60 / 1832)
    assert 1000 < values["operating_points"] <= 2900
    assert values["cpu_s"] > 0 and 0.2 < values["f1"] < 1
