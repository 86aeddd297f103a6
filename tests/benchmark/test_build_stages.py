"""What ``brainbrr bench`` says about the stages of a build."""

from __future__ import annotations

import os

from brainbrr_core.benchmark.build_stages import StageTimes, stage_table, stage_times
from brainbrr_core.cache import shard
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.configuration import Configuration
from brainbrr_core.signal import recurrence
from brainbrr_core.signal.resampling import BlockResampler


def test_the_stages_of_each_rate_add_up_and_shards_are_built(settings: Configuration) -> None:
    before = (os.fsync, shard.batch_checksum, recurrence.filter_in_place, BlockResampler.apply)
    plan = plan_corpus(settings)
    times = stage_times(plan, settings.preprocessing)
    rates = {float(item.recording.rate) for item in plan.items}
    assert [run.rate_hz for run in times] == sorted(rates)
    for run in times:
        names = set(StageTimes.model_fields) - {"rate_hz", "all", "elapsed"}
        stages: dict[str, float] = {name: getattr(run, name) for name in names}
        assert all(milliseconds >= 0 for milliseconds in stages.values())
        # Rounded to tenths, each.
        assert abs(sum(stages.values()) - run.all) < 1
        for name in ("hash", "read", "decode", "filter", "quantize", "checksum", "write"):
            assert stages[name] > 0
        if run.rate_hz != 256:
            assert run.resample > 5
    assert plan_corpus(settings).to_build == []
    # Nothing is timed afterwards.
    after = (os.fsync, shard.batch_checksum, recurrence.filter_in_place, BlockResampler.apply)
    assert after == before


def test_the_table_has_a_column_for_each_rate() -> None:
    names = [name for name in StageTimes.model_fields if name != "rate_hz"]
    figures = {name: float(n) for n, name in enumerate(names)}
    rates = [StageTimes.model_validate({"rate_hz": rate, **figures}) for rate in (250, 512.5)]
    table = stage_table(rates)
    assert table.columns == ["stage", "250 Hz", "512.5 Hz"]
    assert table.rows == [[name, str(n), str(n)] for n, name in enumerate(names)]
