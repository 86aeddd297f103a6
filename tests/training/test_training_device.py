"""What a training asks of its device: not to be waited for, and to skip what is not finite."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from brainbrr_core.configuration import Configuration, Hardware, Training
from brainbrr_core.data import Batch
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model.ssd import running_sum_by_doubling
from brainbrr_core.runs import weights as weight_files
from brainbrr_core.training import checkpoint as files
from brainbrr_core.training import determinism
from brainbrr_core.training.determinism import fixed_arithmetic, prepare_environment
from brainbrr_core.training.distributed import ALONE, World
from brainbrr_core.training.loop import FitSummary, StepReport
from brainbrr_core.training.metrics import STEPS, MetricsLog
from brainbrr_core.training.optimizer import BETAS, SkippingAdamW, make_optimizer, parameter_groups
from brainbrr_core.training.state import TrainingState
from brainbrr_core.training.validation import BY_EVENTS, Validation
from tests.support.toy_training import (
    FRACTION,
    ignore,
    masked_batch,
    same_weights,
    spoiled_batch,
    toy_batch,
    toy_batches,
    toy_network,
    toy_settings,
    train,
)

#: What makes the host wait for a GPU: operators, and methods that run none on a CPU.
WAITING = {
    "aten::_local_scalar_dense",
    "aten::is_nonzero",
    "aten::item",
    "aten::nonzero",
    "aten::masked_select",
    "aten::repeat_interleave",
    "aten::_unique2",
}
READING = ("tolist", "cpu", "numpy")
#: Their kernels for a CPU read numbers that lie there anyway; those for CUDA are others, and
#: ``test_gpu.py`` has CUDA itself look.
READING_KERNELS = {"aten::_fused_adamw_", "aten::std"}


@contextmanager
def host_reads() -> Iterator[list[str]]:
    """What the host reads of tensors inside the block; complete after it."""
    reads: list[str] = []

    def noted(name: str) -> Callable[..., Any]:
        method = getattr(torch.Tensor, name)

        def read(tensor: Tensor, *arguments: object) -> object:
            reads.append(name)
            return method(tensor, *arguments)

        return read

    with pytest.MonkeyPatch.context() as patch:
        for name in READING:
            patch.setattr(torch.Tensor, name, noted(name))
        with torch.autograd.profiler.profile() as profile:
            yield reads
    events = profile.function_events or ()
    reads += [event.name for event in events if event.name in WAITING and not within_kernel(event)]


def within_kernel(event: Any) -> bool:
    """Whether an operator was called by a kernel for a CPU."""
    parent = event.cpu_parent
    return parent is not None and (parent.name in READING_KERNELS or within_kernel(parent))


def new_state(
    directory: Path,
    settings: Training | None = None,
    hardware: Hardware | None = None,
    world: World = ALONE,
    network: nn.Module | None = None,
    log: Callable[[str], None] = print,
) -> TrainingState:
    return TrainingState(
        network or toy_network(),
        settings or toy_settings(50),
        hardware or Hardware(batch_size=4),
        torch.device("cpu"),
        directory,
        FRACTION,
        world,
        {},
        log,
    )


def weighted(step: int) -> Batch:
    batch = masked_batch(step)
    return replace(batch, weights=torch.ones_like(batch.labels))


# --- nothing waits


@pytest.mark.parametrize(
    ("settings", "hardware", "make"),
    [
        (toy_settings(50), Hardware(batch_size=4), toy_batch),
        (toy_settings(50), Hardware(batch_size=4, precision="bfloat16"), toy_batch),
        (toy_settings(50), Hardware(batch_size=4, accumulate=2), masked_batch),
        (toy_settings(50, loss="focal", label_smoothing=0.1), Hardware(batch_size=4), weighted),
        (toy_settings(50, skipped_steps_limit=3), Hardware(batch_size=4), spoiled_batch),
        pytest.param(
            toy_settings(50),
            Hardware(batch_size=4, compile=True),
            toy_batch,
            marks=[
                pytest.mark.slow,
                # torch's own compiler calls what torch has deprecated.
                pytest.mark.filterwarnings("ignore::DeprecationWarning"),
            ],
        ),
    ],
    ids=["float32", "bfloat16", "accumulated", "focal", "not finite", "compiled"],
)
def test_no_step_reads_the_device_and_all_are_fetched_at_once(
    tmp_path: Path, settings: Training, hardware: Hardware, make: Callable[[int], Batch]
) -> None:
    state = new_state(tmp_path, settings, hardware)
    batches = [make(step) for step in range(6)]
    # What happens once: states of the optimizer, and the compiler's work.
    state.step(0, batches[0])
    state.fetch()
    with host_reads() as reads:
        for step in range(1, 6):
            state.step(step, batches[step])
    assert reads == []
    assert state.queued == 5
    with host_reads() as reads:
        steps = state.fetch()
    assert reads == ["tolist"]
    assert [step.number for step in steps] == [2, 3, 4, 5, 6]
    assert [step.names for step in steps] == [batch.names for batch in batches[1:]]


@pytest.mark.filterwarnings("ignore:Grad strides do not match")
def test_nor_does_a_step_of_several_processes(tmp_path: Path) -> None:
    """A group of one that takes itself for one of two: what is sent is the same."""
    dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    try:
        state = new_state(tmp_path, hardware=Hardware(batch_size=8), world=World(0, 2, 0))
        batches = [toy_batch(step) for step in range(3)]
        state.step(0, batches[0])
        state.fetch()
        with host_reads() as reads:
            for step in (1, 2):
                state.step(step, batches[step])
    finally:
        dist.destroy_process_group()
    assert reads == []
    assert all(step.finite for step in state.fetch())


def test_reads_are_seen_where_there_are_some() -> None:
    values = torch.arange(3.0)
    with host_reads() as reads:
        values.sum().item()
        bool((values > 1).any())
        float(values[0])
        values.tolist()
        values[values > 1]
        values.cpu()
    assert reads.count("aten::item") == 3
    assert {"tolist", "cpu", "aten::nonzero", "aten::is_nonzero"} <= set(reads)


# --- many steps at a time


def figures(report: StepReport) -> tuple[float, ...]:
    return (report.step, report.loss, report.gradient_norm, report.spread, report.learning_rate)


class Events:
    """What a training does, in order: draws batches, validates, writes and reports steps."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []
        self.reports: list[StepReport] = []

    def batches(self, first: int) -> Iterator[Batch]:
        for batch, step in zip(toy_batches(first), range(first + 1, 100), strict=False):
            self.seen.append(("draw", step))
            yield batch

    def validate(self, _network: nn.Module, step: int) -> Validation:
        self.seen.append(("validate", step))
        return Validation(step, BY_EVENTS, 0.5, 0.5, 5.0, 0.5, 0.5, 0.5, 0.5, 10.0)

    def step(self, report: StepReport) -> None:
        self.seen.append(("journal", report.step))

    def settle(self) -> None:
        self.seen.append(("settle", 0))

    def on_step(self, report: StepReport) -> None:
        self.seen.append(("report", report.step))
        self.reports.append(report)

    def numbers(self, kind: str) -> list[int]:
        return [number for what, number in self.seen if what == kind]

    def train(
        self, directory: Path, settings: Training, every: int | None
    ) -> tuple[nn.Module, FitSummary]:
        hardware = Hardware(batch_size=4, report_every=every)
        return train(
            directory,
            settings,
            self.on_step,
            hardware,
            batches=self.batches,
            validate=self.validate,
            journal=self,
        )


def test_each_step_is_reported_however_rarely_the_device_is_asked(tmp_path: Path) -> None:
    settings = toy_settings(16, checkpoint_every=7, validate_every=10)
    each, rare = Events(), Events()
    straight, _ = each.train(tmp_path / "each", settings, None)
    network, summary = rare.train(tmp_path / "rare", settings, 4)
    assert same_weights(straight, network)
    assert [figures(r) for r in rare.reports] == [figures(r) for r in each.reports]
    assert summary.last_loss == each.reports[-1].loss
    assert rare.numbers("journal") == rare.numbers("report") == list(range(1, 17))
    # Every fourth, and before each checkpoint and validation.
    asked = [
        number
        for (what, number), (after, _) in zip(rare.seen, rare.seen[1:], strict=False)
        if what == "draw" and after != "draw"
    ]
    assert asked == [4, 7, 10, 14, 16]
    for step in (7, 10, 14, 16):
        settled = rare.seen.index(("settle", 0), rare.seen.index(("journal", step)))
        assert settled < rare.seen.index(("report", step))
    assert each.numbers("draw") == each.numbers("report")
    names = [tmp_path / folder / files.CHECKPOINT_NAME for folder in ("each", "rare")]
    assert names[0].read_bytes() == names[1].read_bytes()


def test_what_stands_in_a_report_adds_up(tmp_path: Path) -> None:
    events = Events()
    events.train(tmp_path, toy_settings(9, validate_every=5), 4)
    elapsed = [report.elapsed_s for report in events.reports]
    assert elapsed == sorted(elapsed)
    # Fetched together, steps took equally long.
    assert elapsed[1] == pytest.approx(2 * elapsed[0])
    assert elapsed[3] == pytest.approx(4 * elapsed[0])
    for report in events.reports[:4]:
        assert report.windows_per_s == pytest.approx(4 * report.step / report.elapsed_s)
        assert 0 <= report.data_wait_share <= 1


def test_a_killed_training_loses_no_step_that_a_checkpoint_covers(tmp_path: Path) -> None:
    settings = toy_settings(12, checkpoint_every=5)
    straight, _ = train(tmp_path / "straight", settings)

    class Ended(Exception):
        pass

    class Cut(Events):
        def on_step(self, report: StepReport) -> None:
            super().on_step(report)
            if report.step == 6:
                raise Ended

    cut, rest = Cut(), Events()
    with pytest.raises(Ended):
        cut.train(tmp_path / "cut", settings, 4)
    network, summary = rest.train(tmp_path / "cut", settings, 4)
    assert summary.resumed_from == 5
    assert rest.numbers("report") == list(range(6, 13))
    assert network.state_dict().keys() == straight.state_dict().keys()
    whole = Events()
    uncut, _ = whole.train(tmp_path / "uncut", settings, 4)
    assert same_weights(uncut, network)


# --- the optimizer


def gradients(network: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def everything(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Copies of all weights and of all that the optimizer remembers."""
    tensors = {**network.state_dict(), **files.optimizer_tensors(network, optimizer)}
    return {name: value.clone() for name, value in tensors.items()}


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(value, second[name]) for name, value in first.items()
    )


def test_a_step_that_is_told_so_changes_nothing_at_all() -> None:
    network = toy_network()
    optimizer = make_optimizer(network, Training(weight_decay=0.1))
    gradients(network, 0)
    optimizer.step()
    before = everything(network, optimizer)
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, math.nan)
    optimizer.found_inf = torch.ones(())
    optimizer.step()
    assert equal(everything(network, optimizer), before)
    gradients(network, 1)
    optimizer.found_inf = torch.zeros(())
    optimizer.step()
    after = everything(network, optimizer)
    assert {int(v) for name, v in after.items() if name.endswith("/step")} == {2}
    assert not equal(after, before)


def test_the_optimizer_gives_the_same_bits_on_any_number_of_threads() -> None:
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        # No multiple of what a thread or a register takes.
        network = nn.Linear(1237, 531)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.fill_(0.01)
        optimizer = make_optimizer(network, Training())
        for step in range(3):
            gradients(network, step)
            optimizer.step()
        found.append(everything(network, optimizer))
    assert equal(found[0], found[1])
    assert equal(found[0], found[2])


def test_a_checkpoint_of_the_optimizer_before_is_gone_on_with() -> None:
    """Its counts of steps were kept on the host."""
    network, settings = toy_network(), Training(learning_rate=1e-3)
    groups = parameter_groups(network, settings.weight_decay)
    before = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=BETAS, foreach=False)
    for step in range(2):
        gradients(network, step)
        before.step()
    kept = {name: v.clone() for name, v in files.optimizer_tensors(network, before).items()}
    other = toy_network(5)
    other.load_state_dict(network.state_dict())
    optimizer = make_optimizer(other, settings)
    files.restore_optimizer(other, optimizer, kept)
    assert isinstance(optimizer, SkippingAdamW)
    assert equal(files.optimizer_tensors(other, optimizer), kept)
    for net, of in ((network, before), (other, optimizer)):
        gradients(net, 2)
        of.step()
    pairs = zip(network.parameters(), other.parameters(), strict=True)
    assert max(float((a - b).detach().abs().max()) for a, b in pairs) < 1e-6
    assert not same_weights(other, toy_network())


# --- steps that are not finite


def spoiled(first: int) -> Iterator[Batch]:
    for step in range(first, 50):
        yield spoiled_batch(step)


def test_a_step_that_is_not_finite_is_as_if_it_were_not(tmp_path: Path) -> None:
    settings = toy_settings(50, skipped_steps_limit=1)
    state, other = new_state(tmp_path, settings), new_state(tmp_path, settings)
    for step in range(6):
        state.step(step, spoiled_batch(step))
        if step != 3:
            other.step(step, toy_batch(step))
    assert equal(
        everything(state.network, state.optimizer), everything(other.network, other.optimizer)
    )
    steps = state.fetch()
    assert [step.finite for step in steps] == [True] * 3 + [False] + [True] * 2
    assert math.isnan(steps[3].loss)


@pytest.mark.parametrize("every", [1, 4])
def test_a_skipped_step_is_counted_named_and_written_down(tmp_path: Path, every: int) -> None:
    settings = toy_settings(8, checkpoint_every=5, skipped_steps_limit=2)
    hardware = Hardware(batch_size=4, report_every=every)
    configuration = Configuration(cache_root=tmp_path, runs_dir=tmp_path, dagster_home=tmp_path)
    said: list[str] = []
    reports: list[StepReport] = []
    with MetricsLog(tmp_path, configuration, ALONE, 1) as log:
        network, summary = train(
            tmp_path,
            settings,
            reports.append,
            hardware,
            batches=spoiled,
            journal=log,
            log=said.append,
        )
    assert all(bool(value.isfinite().all()) for value in network.state_dict().values())
    (line,) = said
    assert line.startswith("step 4 is skipped (1 so far, at most 2): its loss is nan")
    assert "recording-3-0 at 0 s" in line
    assert (summary.steps, summary.skipped_steps) == (8, (4,))
    assert summary.last_loss == reports[-1].loss
    assert summary.skips().startswith("1 of 8 steps were skipped")
    assert [report.step for report in reports] == list(range(1, 9))
    assert {report.step: report.skipped for report in reports if report.skipped} == {
        4: toy_batch(3).names
    }
    assert reports[3].note().startswith("skipped, ")

    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is no JSON")

    lines = (tmp_path / STEPS).read_text().splitlines()
    rows = [json.loads(line, parse_constant=refuse) for line in lines]
    assert [row["step"] for row in rows] == list(range(1, 9))
    assert rows[3]["loss"] is None
    assert rows[3]["skipped"] == list(toy_batch(3).names)
    assert rows[4]["skipped"] == []
    checkpoint = files.read_checkpoint(tmp_path / files.CHECKPOINT_NAME)
    assert checkpoint.progress["skipped_steps"] == [4]


def twice_spoiled(first: int) -> Iterator[Batch]:
    for batch, step in zip(spoiled(first), range(first, 50), strict=False):
        if step == 6:
            batch.signals[0, 0, 0] = math.inf
        yield batch


@pytest.mark.parametrize("every", [1, 5])
def test_one_skipped_step_too_many_ends_the_training_and_is_saved_as_it_was(
    tmp_path: Path, every: int
) -> None:
    """However late that is seen: weights and batch are those that the step began with."""
    hardware = Hardware(batch_size=4, report_every=every)
    settings = toy_settings(12, checkpoint_every=6, skipped_steps_limit=1)
    straight, whole = train(
        tmp_path / "straight",
        settings.model_copy(update={"skipped_steps_limit": 2}),
        hardware=hardware,
        batches=twice_spoiled,
    )
    assert whole.skipped_steps == (4, 7)
    folder = tmp_path / "ended"
    for resumed_from in (0, 6):
        reports: list[StepReport] = []
        with pytest.raises(BrainbrrError, match=r"the loss of step 7 is not finite.*recording-6-0"):
            train(folder, settings, reports.append, hardware, batches=twice_spoiled)
        assert [report.step for report in reports] == list(range(resumed_from + 1, 7))
    tensors, header = weight_files.load_tensors(folder / "nonfinite-step-7.safetensors")
    assert (header["step"], header["names"]) == (7, list(toy_batch(6).names))
    signals = toy_batch(6).signals
    signals[0, 0, 0] = math.inf
    assert torch.equal(tensors["signals"], signals)
    # Those after step 6, which the checkpoint has.
    for name, value in files.read_checkpoint(folder / files.CHECKPOINT_NAME).network.items():
        assert torch.equal(tensors[f"network/{name}"], value)
    # With leave to skip one more, it goes on from there and past it.
    more = settings.model_copy(update={"skipped_steps_limit": 2})
    network, summary = train(folder, more, hardware=hardware, batches=twice_spoiled)
    assert (summary.resumed_from, summary.skipped_steps) == (6, (4, 7))
    assert same_weights(network, straight)
    with pytest.raises(BrainbrrError, match=r"skipped 2 steps .*skipped_steps_limit is 1"):
        train(folder, settings, hardware=hardware, batches=twice_spoiled)


@pytest.mark.parametrize(
    ("precision", "limit", "skips"),
    [("float32", None, 0), ("bfloat16", None, 20), ("float32", 3, 3), ("bfloat16", 0, 0)],
)
def test_how_many_steps_may_be_skipped(
    tmp_path: Path, precision: Any, limit: int | None, skips: int
) -> None:
    settings = toy_settings(50, skipped_steps_limit=limit)
    hardware = Hardware(batch_size=4, precision=precision)
    assert new_state(tmp_path, settings, hardware).skipped_steps_limit == skips


@pytest.mark.parametrize("every", [1, 4])
def test_weights_that_are_not_finite_end_the_training(tmp_path: Path, every: int) -> None:
    """No step skipped mends them, so none is waited for; and no checkpoint has them."""
    network = toy_network()

    def spoil(report: StepReport) -> None:
        if report.step == 5:
            with torch.no_grad():
                network.get_parameter("down.0.0.weight")[0, 0, 0] = math.inf

    settings = toy_settings(20, checkpoint_every=5, skipped_steps_limit=20)
    hardware = Hardware(batch_size=4, report_every=every)
    with pytest.raises(BrainbrrError, match=r"down\.0\.0\.weight is not finite after step 6"):
        train(tmp_path, settings, spoil, hardware, network)
    kept = files.read_checkpoint(tmp_path / files.CHECKPOINT_NAME)
    assert kept.step == 5
    assert all(bool(value.isfinite().all()) for value in kept.network.values())
    _, summary = train(tmp_path, settings, ignore, hardware, toy_network(3))
    assert (summary.resumed_from, summary.skipped_steps) == (5, ())


# --- the average, and the same bits


def test_the_average_is_taken_as_one_by_one(tmp_path: Path) -> None:
    state = new_state(tmp_path)
    expected = {name: value.clone() for name, value in state.ema.items()}
    for step in range(4):
        state.step(step, toy_batch(step))
        for name, value in state.network.state_dict().items():
            expected[name].lerp_(value, 1.0 - (1 + step) / (10 + step))
    assert equal(state.ema, expected)


GPU = Hardware(device="cuda", deterministic=True)


def test_the_environment_is_set_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    environment: dict[str, str] = {}
    monkeypatch.setattr(determinism.os, "environ", environment)
    prepare_environment(Hardware(device="cuda"))
    prepare_environment(Hardware(device="cpu", deterministic=True))
    assert environment == {}
    prepare_environment(GPU)
    wanted = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "MAMBA_DETERMINISTIC": "1"}
    assert environment == wanted
    # Set in time, it does not matter who has read it since.
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setitem(determinism.sys.modules, "mamba_ssm", ModuleType("mamba_ssm"))
    prepare_environment(GPU)
    environment["CUBLAS_WORKSPACE_CONFIG"] = ":16:8"
    prepare_environment(GPU)
    assert environment["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
    for name, value in wanted.items():
        environment.update(wanted)
        del environment[name]
        with pytest.raises(BrainbrrError, match=f"run `export {name}={value}`") as caught:
            prepare_environment(GPU)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("device", "deterministic", "fixed"),
    [("cpu", False, True), ("cpu", True, True), ("cuda", False, False), ("cuda", True, True)],
)
def test_what_torch_is_told(device: str, deterministic: bool, fixed: bool) -> None:
    cudnn = torch.backends.cudnn

    def told() -> tuple[bool, bool, bool, bool]:
        algorithms = torch.are_deterministic_algorithms_enabled()
        return algorithms, cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32

    before = told()
    hardware = Hardware(device="cuda", deterministic=deterministic)
    with fixed_arithmetic(hardware, torch.device(device)):
        assert told() == ((True, True, False, False) if fixed else (*before[:3], False))
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.get_float32_matmul_precision() == "highest"
    assert told() == before


def test_new_memory_is_not_filled_for_the_sake_of_the_same_bits() -> None:
    before = torch.utils.deterministic.fill_uninitialized_memory
    with (
        fixed_arithmetic(Hardware(), torch.device("cpu")),
        torch.profiler.profile() as profile,
    ):
        torch.empty(8)
    assert torch.utils.deterministic.fill_uninitialized_memory == before
    operations = {event.key for event in profile.key_averages()}
    assert "aten::empty" in operations
    assert "aten::fill_" not in operations


@pytest.mark.parametrize(
    ("hardware", "remedies"),
    [
        (Hardware(batch_size=4), ["raise hardware.accumulate (now 1)", "recompute_activations"]),
        (Hardware(batch_size=4, accumulate=4, recompute_activations=True), []),
    ],
)
def test_memory_that_is_too_small_for_a_step_is_one_line(
    tmp_path: Path, hardware: Hardware, remedies: list[str]
) -> None:
    class Large(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, _signals: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nSee docs")

    with pytest.raises(BrainbrrError) as caught:
        train(tmp_path, toy_settings(2), hardware=hardware, network=Large())
    message = str(caught.value)
    assert f"a training step of 4 windows, {4 // hardware.accumulate} at once" in message
    assert "Tried to allocate 9 GiB" in message
    assert "lower hardware.batch_size (now 4)" in message
    assert "`brainbrr doctor --batch`" in message
    assert "\n" not in message
    for remedy in ("raise hardware.accumulate (now 1)", "recompute_activations"):
        assert (remedy in message) == (remedy in remedies)


@pytest.mark.parametrize("length", [1, 2, 7, 64])
def test_a_running_sum_by_additions_alone(length: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = -torch.rand(3, 5, length, generator=generator)
    exact = x.double().cumsum(-1)
    # Six additions at most, each right to half a unit of the last of 24 bits.
    wrong = (running_sum_by_doubling(x).double() - exact).abs()
    assert bool((wrong <= 6 * 2.0**-24 * exact.abs()).all())
    leaf = x.double().requires_grad_()
    assert torch.autograd.gradcheck(running_sum_by_doubling, leaf)
