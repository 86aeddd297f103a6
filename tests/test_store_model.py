"""Two processes on one root, and whatever may befall them: nothing is lost, nothing is invented."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_server import FULL, KILL, TERMINATE, TORN, CommandServer, Fault
from examples import examples
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)
from store_model import ABSENT, DANGLING, LOOP, NAMES, Action, Reference, World, figures

STEPS = 10
names = st.sampled_from(NAMES)
COMMANDS = [
    ("index",),
    ("index", "--force"),
    ("cache", "build"),
    ("cache", "build"),
    ("cache", "build"),
    ("cache", "verify"),
    ("cache", "gc", "--yes"),
    ("cache", "gc", "--yes"),
    ("cache", "gc", "--yes", "--force"),
    ("cache", "push"),
    ("cache", "pull"),
    ("cache", "export"),
    ("cache", "import"),
    ("cache", "status"),
    ("manifest",),
]
actions = st.builds(Action, st.sampled_from(COMMANDS), names)
#: Commands have 15 to 150 operations.
points = st.integers(1, 120)
faults = st.one_of(
    st.builds(Fault, st.sampled_from([KILL, KILL, TERMINATE, FULL]), points),
    st.builds(Fault, st.just(TORN), st.integers(0, 800_000)),
)
FOREIGN = [
    "venv",
    "validation",
    "videos",
    "notes",
    "copy",
    "within",
    "quarantine",
    "link",
    "link within",
]


class StoreMachine(RuleBasedStateMachine):
    """One root and its users."""

    def __init__(self, reference: Reference) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=reference.folder))
        self.world = World(self.folder, reference)

    @initialize(built=st.sets(names))
    def begin(self, built: set[str]) -> None:
        for name in sorted(built):
            assert self.world.run(Action(("cache", "build"), name)).status == 0

    @rule(action=actions)
    def run(self, action: Action) -> None:
        self.world.run(action)

    @rule(action=actions, fault=faults)
    def run_with_a_fault(self, action: Action, fault: Fault) -> None:
        self.world.run(action, fault)

    @rule(first=actions, at=points, second=actions, kill=st.booleans())
    def run_two(self, first: Action, at: int, second: Action, kill: bool) -> None:
        self.world.run_two(first, at, second, kill=kill)

    @rule(name=names, fault=st.none() | faults, often=st.integers(0, 3))
    def train(self, name: str, fault: Fault | None, often: int) -> None:
        # The slowest of all.
        if often == 0:
            self.world.run(Action(("manifest",), name))
            self.world.run(Action(("train",), name), fault)

    @rule(number=st.integers(0, 5), what=st.sampled_from([1, 2, 1, 2, ABSENT, DANGLING, LOOP]))
    def change_an_edf(self, number: int, what: int | str) -> None:
        world = self.world
        key = world.reference.keys[number]
        if isinstance(what, int) or sum(isinstance(w, str) for w in world.edf.values()) < 2:
            world.put_edf(key, what)

    @rule(name=names, number=st.integers(0, 5), share=st.floats(0, 1))
    def flip_a_bit(self, name: str, number: int, share: float) -> None:
        self.world.flip(name, number, share)

    @rule(what=st.sampled_from(FOREIGN))
    def put_something_foreign_into_the_root(self, what: str) -> None:
        self.world.put_foreign(what)

    @rule(name=names)
    def begin_to_use(self, name: str) -> None:
        self.world.hold(name)

    @rule(name=names)
    def kill_a_user(self, name: str) -> None:
        self.world.release(name)

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


def run(reference: Reference, sequences: settings) -> None:
    reference.counts.clear()
    kinds = settings(sequences, stateful_step_count=STEPS, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(lambda: StoreMachine(reference), settings=kinds)
    print("\n" + "\n".join(figures(reference.counts)))


def test_whatever_happens_nothing_is_lost_and_nothing_wrong_believed(reference: Reference) -> None:
    run(reference, examples(20))


@pytest.mark.slow
def test_whatever_happens_in_any_order(reference: Reference) -> None:
    run(reference, settings(max_examples=500, derandomize=False, print_blob=True, deadline=None))
