"""Two processes on one root, and whatever may befall them: nothing is lost, nothing is invented."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from brainbrr_core.cache.unfinished import exclusive_partial
from tests.support.command_server import FULL, KILL, REFUSED, TERMINATE, TORN, CommandServer, Fault
from tests.support.examples import examples
from tests.support.store_model import (
    ABSENT,
    ALTERED,
    DANGLING,
    LOOP,
    NAMES,
    VARIANTS,
    Action,
    Reference,
    World,
    figures,
)

Method = TypeVar("Method", bound=Callable[..., None])
#: How much happens in one sequence, in the usual run and in the long one.
FEW, MANY = 6, 12
OTHER = {NAMES[0]: NAMES[1], NAMES[1]: NAMES[0]}
names = st.sampled_from(NAMES)
COMMANDS = [
    ("index",),
    ("index", "--force"),
    ("cache", "build"),
    ("cache", "build"),
    ("cache", "build"),
    ("cache", "build"),
    ("cache", "verify"),
    ("cache", "verify"),
    ("cache", "gc", "--yes"),
    ("cache", "gc", "--yes"),
    ("cache", "gc", "--yes", "--force"),
    ("cache", "push"),
    ("cache", "push", "--repair"),
    ("cache", "pull"),
    ("cache", "export"),
    ("cache", "import"),
    ("cache", "status"),
    ("manifest",),
]
actions = st.builds(Action, st.sampled_from(COMMANDS), names)
#: Commands have 15 to 150 operations.
points = st.one_of(st.integers(1, 30), st.integers(1, 120))
faults = st.one_of(
    st.builds(Fault, st.sampled_from([KILL, KILL, TERMINATE, FULL, REFUSED]), points),
    st.builds(Fault, st.just(TORN), st.integers(0, 800_000)),
)
#: What lies in the root and is not the store's from the beginning, and what is put there later.
FOREIGN = ["venv", "validation", "videos", "notes", "copy", "link"]
FOREIGN_LATER = ["within", "quarantine", "link within"]


@dataclass(frozen=True)
class Change:
    """Something that happens beside the commands: to an EDF, a shard, the root, or a user."""

    kind: str
    name: str
    number: int
    edf: int
    share: float
    foreign: str

    def happen(self, world: World) -> None:
        match self.kind:
            case "edf":
                world.put_edf(world.reference.keys[self.number], self.edf)
            case "flip":
                world.flip(self.name, self.number, self.share, remote=False)
            case "flip remote":
                world.flip(self.name, self.number, self.share, remote=True)
            case "foreign":
                world.put_foreign(self.foreign)
            case "hold":
                world.hold(self.name)
            case _:
                world.release(self.name)


changes = st.builds(
    Change,
    st.sampled_from(["edf", "edf", "flip", "flip", "flip remote", "foreign", "hold", "release"]),
    names,
    st.integers(0, 5),
    st.sampled_from(VARIANTS),
    st.floats(0, 1),
    st.sampled_from(FOREIGN_LATER),
)


#: What may happen, by the name of a method below, with its arguments.
_steps: list[st.SearchStrategy[tuple[str, dict[str, Any]]]] = []


def _step(**arguments: st.SearchStrategy[Any]) -> Callable[[Method], Method]:
    """A method that is one of the things that may happen, each as likely as any other.

    Rules of their own are not: hypothesis leaves out most of them in each sequence.
    """

    def add(method: Method) -> Method:
        _steps.append(st.tuples(st.just(method.__name__), st.fixed_dictionaries(arguments)))
        return method

    return add


class StoreMachine(RuleBasedStateMachine):
    """One root and its users."""

    def __init__(self, reference: Reference) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=reference.folder))
        self.world = World(self.folder, reference)

    @initialize(built=st.sampled_from([set(NAMES), {NAMES[0]}, set()]))
    def begin(self, built: set[str]) -> None:
        for what in FOREIGN:
            self.world.put_foreign(what)
        if built:
            assert self.world.run(Action(("index",), min(built))).status == 0
        for name in sorted(built):
            self.world.bring(name)

    def change(self, number: int) -> None:
        """Change an EDF, so that there is something to build."""
        key = self.world.reference.keys[number]
        self.world.put_edf(key, 2 if self.world.edf[key] == 1 else 1)

    @_step(action=actions)
    def run(self, action: Action) -> None:
        self.world.run(action)

    @_step(action=actions, fault=faults)
    def run_with_a_fault(self, action: Action, fault: Fault) -> None:
        self.world.run(action, fault)

    @_step(first=actions, at=points, second=actions, kill=st.booleans())
    def run_two(self, first: Action, at: int, second: Action, kill: bool) -> None:
        self.world.run_two(first, at, second, kill=kill)

    @_step(befalls=changes, then=actions, fault=st.none() | faults)
    def run_after_a_change(self, befalls: Change, then: Action, fault: Fault | None) -> None:
        befalls.happen(self.world)
        self.world.run(then, fault)

    @_step(befalls=changes, first=actions, at=points, second=actions, kill=st.booleans())
    def run_two_after_a_change(
        self, befalls: Change, first: Action, at: int, second: Action, kill: bool
    ) -> None:
        befalls.happen(self.world)
        self.world.run_two(first, at, second, kill=kill)

    @_step(number=st.integers(0, 5), name=names, fault=faults)
    def build_with_a_fault(self, number: int, name: str, fault: Fault) -> None:
        self.change(number)
        self.world.run(Action(("cache", "build"), name), fault)

    @_step(
        number=st.integers(0, 5),
        name=names,
        at=points,
        second=st.sampled_from(COMMANDS),
        kill=st.booleans(),
    )
    def run_another_beside_a_build(
        self, number: int, name: str, at: int, second: tuple[str, ...], kill: bool
    ) -> None:
        self.change(number)
        self.world.run_two(Action(("cache", "build"), name), at, Action(second, name), kill=kill)

    @_step(name=names, first=st.sampled_from(COMMANDS), at=points, kill=st.booleans())
    def collect_garbage_beside_another(
        self, name: str, first: tuple[str, ...], at: int, kill: bool
    ) -> None:
        collect = Action(("cache", "gc", "--yes"), OTHER[name])
        self.world.run_two(Action(first, name), at, collect, kill=kill)

    @_step(name=names, fault=st.none() | faults)
    def collect_garbage_while_a_version_is_used(self, name: str, fault: Fault | None) -> None:
        self.world.hold(name)
        self.world.run(Action(("cache", "gc", "--yes"), OTHER[name]), fault)

    @_step(
        number=st.integers(0, 5),
        what=st.sampled_from([ABSENT, DANGLING, LOOP]),
        then=st.sampled_from([("index",), ("index", "--force"), ("cache", "build")]),
        name=names,
    )
    def lose_an_edf(self, number: int, what: str, then: tuple[str, ...], name: str) -> None:
        if self.world.lacking() < 2:
            self.world.put_edf(self.world.reference.keys[number], what)
        self.world.run(Action(then, name))

    @_step(
        name=names,
        number=st.integers(0, 5),
        share=st.floats(0, 1),
        copies=st.sampled_from([("push", "pull"), ("export", "import"), ("push", "push")]),
        late=st.booleans(),
    )
    def copy_what_is_damaged(
        self, name: str, number: int, share: float, copies: tuple[str, str], late: bool
    ) -> None:
        # Before it is copied, or the copy itself.
        if not late:
            self.world.flip(name, number, share, remote=False)
        self.world.run(Action(("cache", copies[0]), name))
        if late:
            self.world.flip(name, number, share, remote=True)
        self.world.run(Action(("cache", copies[1]), name))

    @_step(
        name=names,
        number=st.integers(0, 5),
        how=st.sampled_from(ALTERED),
        share=st.floats(0, 1),
    )
    def pull_what_is_altered(self, name: str, number: int, how: str, share: float) -> None:
        self.world.pull_altered(name, number, how, share)

    @_step(name=names, at=points, lost=st.booleans(), number=st.integers(0, 5))
    def build_beside_another_builder(self, name: str, at: int, lost: bool, number: int) -> None:
        if lost:
            self.world.lose_shards(name)
        else:
            self.change(number)
        self.world.build_at_once(name, at)

    @_step(name=names, fault=st.none() | faults, seldom=st.integers(0, 3))
    def train(self, name: str, fault: Fault | None, seldom: int) -> None:
        # The slowest of all.
        if seldom == 3:
            self.world.run(Action(("manifest",), name))
            self.world.run(Action(("train",), name), fault)
            self.world.run(Action(("cache", "gc", "--yes"), OTHER[name]))

    @rule(step=st.deferred(lambda: st.one_of(_steps)))
    def happens(self, step: tuple[str, dict[str, Any]]) -> None:
        name, arguments = step
        getattr(self, name)(**arguments)

    def teardown(self) -> None:
        try:
            self.world.finish()
        finally:
            for name in NAMES:
                self.world.release(name)
            shutil.rmtree(self.folder)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reference]:
    folder = tmp_path_factory.mktemp("store")
    with CommandServer(folder) as server:
        yield Reference(folder, server)


def run(
    reference: Reference, sequences: settings, steps: int, capsys: pytest.CaptureFixture[str]
) -> None:
    reference.counts.clear()
    kinds = settings(sequences, stateful_step_count=steps, suppress_health_check=list(HealthCheck))
    # Hypothesis calls what makes a machine, which need not be its class.
    machine: Any = partial(StoreMachine, reference)
    run_state_machine_as_test(machine, settings=kinds)
    # Also without -s: a long run is worth nothing whose figures nobody sees.
    with capsys.disabled():
        print("\n" + "\n".join(figures(reference.counts)))


def test_whatever_happens_nothing_is_lost_and_nothing_wrong_believed(
    reference: Reference, capsys: pytest.CaptureFixture[str]
) -> None:
    run(reference, examples(20), FEW, capsys)


@pytest.mark.slow
def test_whatever_happens_in_any_order(
    reference: Reference, capsys: pytest.CaptureFixture[str]
) -> None:
    sequences = settings(max_examples=500, derandomize=False, print_blob=True, deadline=None)
    run(reference, sequences, MANY, capsys)


def test_faults_befall_commands(reference: Reference, tmp_path: Path) -> None:
    world = World(tmp_path, reference)
    build = Action(("cache", "build"), NAMES[0])

    def ended(fault: Fault | None) -> int:
        return world.run(build, fault).status

    assert ended(Fault(KILL, 3)) == -signal.SIGKILL
    assert ended(Fault(TORN, 1000)) == -signal.SIGXFSZ
    assert ended(Fault(TERMINATE, 3)) == 128 + signal.SIGTERM
    assert ended(Fault(FULL, 1)) == 2
    assert ended(Fault(REFUSED, 1)) == 2
    # Past its last operation nothing befalls it.
    assert ended(Fault(KILL, 10_000)) == 0
    assert len(world.shards()) == 6


def test_a_command_that_would_wait_for_another_stops(reference: Reference, tmp_path: Path) -> None:
    world = World(tmp_path, reference)
    build = Action(("cache", "build"), NAMES[0])
    with exclusive_partial(world.store(NAMES[0]).shard_path(reference.keys[0])):
        command = world.start(build)
        world.server.wait(command)
        assert command.ended is None
    os.kill(command.pid, signal.SIGCONT)
    world.server.wait(command)
    assert command.ended is not None
    assert command.ended.status == 0
    assert len(world.shards()) == 6


@pytest.mark.parametrize("how", ALTERED)
def test_altered_remote_objects_are_not_pulled(
    reference: Reference, tmp_path: Path, how: str
) -> None:
    world = World(tmp_path, reference)
    assert world.run(Action(("index",), NAMES[0])).status == 0
    world.bring(NAMES[0])
    refused = world.counts["altered objects refused"]
    world.pull_altered(NAMES[0], 2, how, 0.5)
    assert world.counts["altered objects refused"] == refused + 1
    # The five others are there, and the altered one is once it is pushed again.
    assert len(world.shards(world.elsewhere)) == 5
    assert world.run(Action(("cache", "push", "--repair"), NAMES[0])).status == 0
    assert world.run(Action(("cache", "pull"), NAMES[0])).status == 0
    assert len(world.shards(world.elsewhere)) == 6


@pytest.mark.parametrize("at", [58, 98, 120])
def test_two_builders_of_the_same_recordings_both_succeed(
    reference: Reference, tmp_path: Path, at: int
) -> None:
    world = World(tmp_path, reference)
    assert world.run(Action(("index",), NAMES[0])).status == 0
    waited = world.counts["commands that waited for another"]
    # The first stops while it writes a shard: it waits for nothing else for so long.
    world.build_at_once(NAMES[0], at)
    assert len(world.shards()) == 6
    assert world.counts["commands that waited for another"] == waited + 1
