"""A store, the corpus that it is of, and what must hold of both whatever befalls their users.

The store is judged from outside: by bytes of shards that a clean build made beforehand, by names
and bytes of files that are not its own, and by what commands print. Only what the store itself
believes (its plan, its index, a catalog) is asked of the program.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
from blake3 import blake3

from brainbrr_core.cache.plan import State, plan_profile
from brainbrr_core.cache.store import MARKER, QUARANTINE, Store
from brainbrr_core.configuration import Configuration, Overrides, load
from brainbrr_core.constants import SPLITS
from brainbrr_core.corpus.index_file import index_path, read_index
from brainbrr_core.synthesis import write_corpus
from brainbrr_core.transfer.catalog import NAME, parse_catalog
from tests.support.command_server import (
    FULL,
    KILL,
    REFUSED,
    STOP,
    TERMINATE,
    TORN,
    Command,
    CommandServer,
    Ended,
    Fault,
)

#: Two configurations of one cache root, each with a version of its own.
PLAIN, NOTCHED = "plain", "notched"
NAMES = (PLAIN, NOTCHED)
VARIANTS = (1, 2)
ABSENT, DANGLING, LOOP = "absent", "dangling", "loop"
#: How an object of the remote place is altered.
FLIPPED, ANOTHERS, SHORTER = ALTERED = ("flipped", "another's", "shorter")
CONFIGURATION = """\
profile: small
hardware: {{batch_size: 4}}
training: {{steps: 3, warmup_steps: 1}}
data_dir: {folder}/tusz
cache_root: {folder}/cache
runs_dir: {folder}/runs
"""
EXTRA = {PLAIN: "", NOTCHED: "preprocessing: {notch_hz: 50}\n"}
#: Exit statuses of a command that Ctrl+C and SIGTERM ended.
STOPPED = {128 + signal.SIGINT, 128 + signal.SIGTERM}


def configured(folder: Path, name: str) -> dict[str, str]:
    """Write a configuration of a folder; the environment that names it."""
    path = folder / f"{name}.yaml"
    path.write_text(CONFIGURATION.format(folder=folder) + EXTRA[name], encoding="utf-8")
    return {"BRAINBRR_CONFIG": f"smoke:cpu:{path}"}


def digest(path: Path) -> str:
    return blake3(path.read_bytes()).hexdigest()


class Reference:
    """A corpus of six recordings in two variants each, and the shards that a clean build makes."""

    def __init__(self, folder: Path, server: CommandServer) -> None:
        self.server = server
        self.folder = folder
        #: EDFs by recording and variant, files beside them by recording.
        self.edfs: dict[tuple[str, int], Path] = {}
        self.beside: list[Path] = []
        #: The hash of the right shard, and what a right shard's hash says.
        self.right: dict[tuple[str, str, int], str] = {}
        self.meaning: dict[str, tuple[str, str, int]] = {}
        #: The hash of an EDF by recording and variant.
        self.source: dict[tuple[str, int], str] = {}
        #: The hash of a trained model by the name of its run.
        self.models: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self._versions: dict[str, str] = {}
        for variant in VARIANTS:
            self._build(folder / f"variant{variant}", variant)
        environment = configured(folder / "variant1", PLAIN)
        assert server.within(["manifest"], environment) == 0
        assert server.within(["train"], environment) == 0

    @cached_property
    def keys(self) -> list[str]:
        return sorted({key for key, _ in self.edfs})

    def store(self, name: str) -> Store:
        """Where a clean build of the first variant lies."""
        settings = settings_of(self.folder / "variant1", name)
        return Store.derived(settings.cache_root, settings.preprocessing)

    def version(self, name: str) -> str:
        return self._versions[name]

    def _build(self, folder: Path, variant: int) -> None:
        folder.mkdir()
        top = folder / "tusz" / "edf"
        write_corpus(folder / "tusz", recordings=6, hours=0.12, seed=5, workers=1)
        for edf in sorted(top.rglob("*.edf")):
            key = edf.relative_to(top).with_suffix("").as_posix()
            content = bytearray(edf.read_bytes())
            content[len(content) // 2] ^= variant - 1
            edf.write_bytes(content)
            self.edfs[key, variant] = edf
            self.source[key, variant] = digest(edf)
        self.beside = [path for path in top.rglob("*.csv*") if path.is_file()]
        for name in NAMES:
            environment = configured(folder, name)
            assert self.server.within(["cache", "build", "--workers", "1"], environment) == 0
            settings = settings_of(folder, name)
            store = Store.derived(settings.cache_root, settings.preprocessing)
            self._versions[name] = store.version
            for key, edf_variant in self.edfs:
                if edf_variant == variant:
                    hash_ = digest(store.shard_path(key))
                    self.right[name, key, variant] = hash_
                    self.meaning[hash_] = (name, key, variant)


def settings_of(folder: Path, name: str) -> Configuration:
    return load(Overrides(config=f"smoke:cpu:{folder / name}.yaml"), environment={})


@dataclass(frozen=True)
class Action:
    """A command, and the configuration that it is given."""

    words: tuple[str, ...]
    name: str

    @property
    def kind(self) -> str:
        return self.words[1] if self.words[0] == "cache" else self.words[0]

    @property
    def forced(self) -> bool:
        return "--force" in self.words


@dataclass(frozen=True)
class _File:
    """What a file that is not the store's must stay."""

    link: str | None
    content: bytes | None


class World:
    """One corpus and its store, another machine's store, a remote place, runs, an archive."""

    def __init__(self, folder: Path, reference: Reference) -> None:
        self.folder, self.reference, self.server = folder, reference, reference.server
        self.counts = reference.counts
        self.root, self.elsewhere = folder / "cache", folder / "elsewhere"
        self.corpus, self.runs = folder / "tusz", folder / "runs"
        self.remote, self.archive = folder / "remote", folder / "copy.tar.zst"
        self.environments = {name: configured(folder, name) for name in NAMES}
        self.settings = {name: settings_of(folder, name) for name in NAMES}
        self.edf: dict[str, int | str] = {}
        self.flipped: dict[Path, str] = {}
        self.foreign: dict[Path, _File] = {}
        self.holders: dict[str, Command] = {}
        self._hashes: dict[tuple[Path, int, int, int], str] = {}
        for path in reference.beside:
            target = folder / path.relative_to(reference.folder / f"variant{VARIANTS[-1]}")
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
        for key in reference.keys:
            self.put_edf(key, 1)
        outside = folder / "outside"
        (outside / "train").mkdir(parents=True)
        for name in ("a.arrow", "train/b.arrow", "records.jsonl", MARKER):
            (outside / name).write_text(f"mine: {name}", encoding="utf-8")
            self._keep(outside / name)

    def store(self, name: str, root: Path | None = None) -> Store:
        return Store(root or self.root, self.reference.version(name))

    # What happens to the corpus and to the root, beside the store.

    def put_edf(self, key: str, what: int | str) -> None:
        """Make the EDF of a recording this variant, absent, or not readable."""
        path = self.corpus / "edf" / f"{key}.edf"
        fresh = path.with_suffix(".new")
        match what:
            case int():
                os.link(self.reference.edfs[key, what], fresh)
            case "dangling":
                fresh.symlink_to(self.folder / "nowhere")
            case "loop":
                fresh.symlink_to(path.name)
        if what == ABSENT:
            path.unlink(missing_ok=True)
        else:
            # A rename onto another link to the same file does nothing.
            path.unlink(missing_ok=True)
            fresh.rename(path)
        if key in self.edf:
            state = "changed" if isinstance(what, int) else what
            self.counts[f"EDFs {state}"] += 1
        self.edf[key] = what

    def lacking(self) -> int:
        """How many EDFs are gone or cannot be read."""
        return sum(isinstance(what, str) for what in self.edf.values())

    def flip(self, name: str, number: int, share: float, *, remote: bool) -> None:
        """Flip a bit of the payload of a whole shard, as a disk does: its times stay.

        With ``remote``, of one that was pushed.
        """
        whole = [
            path
            for path, hash_ in sorted(self._pushed() if remote else self.shards(self.root).items())
            if self.reference.meaning.get(hash_, ("",))[0] == name
        ]
        if not whole:
            return
        path = whole[number % len(whole)]
        status = path.stat()
        # The middle of a shard is samples of the recording; its ends are framing and padding.
        place = int(status.st_size * (0.2 + 0.4 * share))
        with path.open("r+b") as file:
            file.seek(place)
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ 1]))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        self.flipped[path] = digest(path)
        self.counts["bytes flipped"] += 1

    def alter(self, name: str, number: int, how: str, share: float) -> str | None:
        """Alter an object of the remote place that a pull would ask for; the key of its shard.

        It has a bit flipped, is another shard, or is shorter. None where there is none.
        """
        blobs = self._asked_for(name)
        if not blobs:
            return None
        key = sorted(blobs)[number % len(blobs)]
        path = blobs[key]
        if how == FLIPPED:
            content = bytearray(path.read_bytes())
            # The middle of a shard is samples of the recording; its ends are framing and padding.
            content[int(len(content) * (0.2 + 0.4 * share))] ^= 1
        elif how == ANOTHERS:
            content = bytearray(blobs[max(blobs) if key != max(blobs) else min(blobs)].read_bytes())
        else:
            content = bytearray(path.read_bytes())
            del content[int(len(content) * share) :]
        if digest(path) == blake3(content).hexdigest():
            return None
        path.write_bytes(content)
        self.flipped[path] = digest(path)
        return key

    def _asked_for(self, name: str) -> dict[str, Path]:
        """Whole objects of the remote place that are of EDFs as the pushed index knows them."""
        version = self.reference.version(name)
        path = self.remote / version / NAME
        if not path.is_file() or not index_path(self.root).is_file():
            return {}
        catalog = parse_catalog(path.read_bytes(), version, str(path))
        hashes = {r.partition_key: r.content_hash for r in read_index(self.root)}
        return {
            key: path.parent / blob.name
            for key, blob in catalog.shards.items()
            if digest(path.parent / blob.name) == blob.hash
            and self.reference.source[key, self.reference.meaning[blob.hash][2]] == hashes.get(key)
        }

    def lose_shards(self, name: str) -> None:
        """Remove all shards of a version, as a user may who wants them made again."""
        for split in SPLITS:
            shutil.rmtree(self.store(name).folder / split, ignore_errors=True)

    def _pushed(self) -> list[tuple[Path, str]]:
        """Objects of the remote place, each with the hash of its bytes."""
        paths = self.remote.glob("*/objects/*/*")
        return [(path, self._hash(path)) for path in paths if not path.name.startswith(".")]

    def put_foreign(self, what: str) -> None:
        """Put something of somebody else's into the root, or into a version."""
        version = self.reference.version(NOTCHED)
        files = {
            "venv": ["venv/bin/python", "venv/lib/records.jsonl"],
            "validation": [f"validation/{MARKER}", "validation/train/x.arrow"],
            "videos": ["videos/clip.mp4", "videos/.part.arrow.partial"],
            "notes": ["v1-notes.txt"],
            "copy": [f"{version}-copy/train/y.arrow", f"{version}-copy/{MARKER}"],
            "within": [f"{version}/notes.txt"],
            "quarantine": [f"{QUARANTINE}/read me.txt"],
        }
        if what == "link":
            self._link(self.root / "v2-link")
        elif what == "link within":
            self._link(self.root / QUARANTINE / "link")
        else:
            for name in files[what]:
                path = self.root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"mine: {name}", encoding="utf-8")
                self._keep(path)

    def _link(self, path: Path) -> None:
        if not path.is_symlink():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(self.folder / "outside")
            self._keep(path)

    def _keep(self, path: Path) -> None:
        self.foreign[path] = _look(path)

    def hold(self, name: str) -> None:
        """Start a process that holds a lease on a version, and does nothing else."""
        if name in self.holders or not self.store(name).marker.is_file():
            return
        command = self.server.start(["hold"], self.environments[name], self.folder)
        self.server.wait(command)
        assert command.ended is None, command.ended
        self.holders[name] = command

    def release(self, name: str) -> None:
        """Kill the process that holds a lease."""
        command = self.holders.pop(name, None)
        if command is not None:
            os.kill(command.pid, signal.SIGKILL)
            self._end(command)

    def bring(self, name: str) -> None:
        """Copy a version that was built from the same corpus into the root, as users do."""
        source = self.reference.store(name).folder
        shutil.copytree(source, self.store(name).folder, dirs_exist_ok=True)

    # Commands.

    def words(self, action: Action) -> list[str]:
        kind = action.kind
        words = list(action.words)
        if kind == "build":
            words += ["--workers", "1"]
        elif kind in ("push", "pull"):
            words += [str(self.remote), "--transfers", "1"]
        elif kind in ("export", "import"):
            words += [str(self.archive)]
        if kind in ("pull", "import"):
            words += ["--cache-root", str(self.elsewhere)]
        return words

    def start(self, action: Action, fault: Fault | None = None) -> Command:
        self.counts[f"command {action.kind}"] += 1
        environment = self.environments[action.name]
        return self.server.start(self.words(action), environment, self.folder, fault)

    def run(self, action: Action, fault: Fault | None = None) -> Ended:
        """Run one command alone, and check all that must hold afterwards."""
        before, losable = self.shards(), self.losable(action)
        indexed, known = self._index_bytes(), self._known_hashes()
        command = self.start(action, fault)
        self._end(command)
        ended = self._judged(action, command, fault)
        self.check(before, losable)
        self._check_index(action, ended, indexed)
        self._check_known(known)
        if ended.status == 0 and action.kind == "build":
            self._check_built(action.name)
        if fault is None and action.kind == "verify":
            self._check_verified(action.name, ended, before)
        return ended

    def run_two(self, first: Action, at: int, second: Action, *, kill: bool) -> tuple[Ended, Ended]:
        """Stop one command at its ``at``-th operation, run another, then go on, or kill the first.

        Where the second waits for the first, the first goes on before. What became of both.
        """
        before, losable = self.shards(), self.losable(first)
        one = self.start(first, Fault(STOP, at))
        self.server.wait(one)
        if one.ended is not None:
            ended = self._judged(first, one, None)
            self.check(before, losable)
            return ended, self.run(second)
        between = self.shards()
        may_go = losable | self.losable(second)
        other = self.start(second)
        self.server.wait(other)
        made: dict[Path, str] = {}
        if other.ended is not None:
            self.counts["commands run while another stood still"] += 1
            after = self.shards()
            made = {path: hash_ for path, hash_ in after.items() if between.get(path) != hash_}
            self._judged(second, other, None)
        else:
            self.counts["commands that waited for another"] += 1
        if kill:
            os.kill(one.pid, signal.SIGKILL)
        waiting = [command for command in (one, other) if command.ended is None]
        while waiting:
            # One that waits for the other stops again at most once for each lock.
            for command in waiting:
                os.kill(command.pid, signal.SIGCONT)
            self.server.wait(*waiting)
            waiting = [command for command in waiting if command.ended is None]
        self._judged(first, one, Fault(KILL, at) if kill else None)
        if other.ended is not None and "judged" not in vars(other):
            self._judged(second, other, None)
        self.check(before, may_go)
        now = self.shards()
        for path in made:
            assert path in now, f"{path} was made meanwhile and is lost"
        assert one.ended is not None
        assert other.ended is not None
        return one.ended, other.ended

    def build_at_once(self, name: str, at: int) -> None:
        """Two builders of the same recordings, the first of which stops at an operation meanwhile.

        Neither gets in the other's way: both succeed, and every shard is there and right.
        """
        build = Action(("cache", "build"), name)
        for ended in self.run_two(build, at, build, kill=False):
            assert ended.status == 0 or self.lacking(), f"beside another builder: {ended}"
        if not self.lacking():
            self._check_built(name)
        self.counts["builders at once"] += 1

    def pull_altered(self, name: str, number: int, how: str, share: float) -> None:
        """Pull to a machine that has nothing, from a place in which an object is not as pushed."""
        self.run(Action(("cache", "push"), name))
        shutil.rmtree(self.elsewhere, ignore_errors=True)
        altered = self.alter(name, number, how, share)
        ended = self.run(Action(("cache", "pull"), name))
        if altered is not None:
            there = self.store(name, self.elsewhere).shard_path(altered)
            assert not there.exists(), f"{altered} was pulled, though it is not as pushed ({how})"
            # With another index than it was pushed with, it is not asked for.
            assert ended.status == 1 or self.lacking(), ended
            self.counts["altered objects refused"] += 1

    def _end(self, command: Command) -> None:
        """Wait for a command that runs alone."""
        while command.ended is None:
            self.server.wait(command)
            if command.ended is None:
                os.kill(command.pid, signal.SIGCONT)

    def _judged(self, action: Action, command: Command, fault: Fault | None) -> Ended:
        """What every command owes, whatever befell it."""
        ended = command.ended
        assert ended is not None
        vars(command)["judged"] = True
        what = f"{action} {fault}: {ended}"
        lines = [line for line in ended.stderr.splitlines() if line.startswith("brainbrr:")]
        assert "Traceback" not in ended.stdout + ended.stderr, what
        assert len(lines) <= 1, what
        if ended.was_killed:
            assert fault is not None and fault.kind in (KILL, TORN), what
            self.counts["kills survived"] += 1
        elif ended.status in STOPPED:
            assert fault is not None and fault.kind == TERMINATE, what
            assert lines and lines[0].startswith("brainbrr: stopped"), what
            self.counts["SIGTERM survived"] += 1
        else:
            assert ended.status in (0, 1, 2), what
            assert ended.status != 2 or len(lines) == 1, what
            if ended.status and fault is not None and fault.kind in (FULL, REFUSED):
                self.counts[f"commands that ended with a line: {fault.kind}"] += 1
        # It was the first of its session: nothing of that may be left.
        with suppress(ProcessLookupError):
            os.killpg(command.pid, 0)
            raise AssertionError(f"processes are left behind: {what}")
        return ended

    # What must hold.

    def shards(self, *roots: Path) -> dict[Path, str]:
        """Every shard of every version, with the hash of its bytes."""
        return {
            path: self._hash(path)
            for root in roots or (self.root, self.elsewhere)
            for name in NAMES
            for path in sorted(self.store(name, root).folder.rglob("*.arrow"))
            if not path.name.startswith(".")
        }

    def _hash(self, path: Path) -> str:
        status = path.stat()
        state = (path, status.st_ino, status.st_size, status.st_ctime_ns)
        if state not in self._hashes:
            self._hashes[state] = digest(path)
        return self._hashes[state]

    def leased(self) -> set[str]:
        """Names of configurations whose version somebody uses now."""
        return set(self.holders) | {name for name in NAMES if self._has_living_lease(name)}

    def held(self) -> set[str]:
        """Names of configurations whose version somebody uses or a run was trained on."""
        used = self.leased()
        for path in self.runs.glob("*/started.json"):
            version = json.loads(path.read_text(encoding="utf-8"))["preprocessing_version"]
            used |= {name for name in NAMES if self.reference.version(name) == version}
        return used

    def _has_living_lease(self, name: str) -> bool:
        for path in (self.store(name).folder / ".leases").glob("*.json"):
            with suppress(ValueError, KeyError, FileNotFoundError, ProcessLookupError):
                os.kill(json.loads(path.read_text(encoding="utf-8"))["pid"], 0)
                return True
        return False

    def losable(self, action: Action) -> set[Path]:
        """Shards that a command may remove: those that nobody uses, when it is ``gc``.

        Of the version that is built these are the orphans, also where a run was trained on it: what
        is no longer in the corpus can be removed.
        """
        if action.kind != "gc" or "--yes" not in action.words:
            return set()
        held = self.held() - ({action.name} - self.leased())
        shards = {name: self.store(name).folder for name in NAMES if name not in held}
        indexed = self._indexed_keys()
        return {
            path
            for path in self.shards(self.root)
            for name, folder in shards.items()
            if path.is_relative_to(folder)
            and (name != action.name or self._key(path, folder) not in indexed)
        }

    def _key(self, path: Path, folder: Path) -> str:
        return path.relative_to(folder).as_posix().removesuffix(".arrow")

    def _indexed_keys(self) -> set[str]:
        if not index_path(self.root).is_file():
            return set()
        return {r.partition_key for r in read_index(self.root) if r.signal_reason is None}

    def _known_hashes(self) -> dict[str, str]:
        """Hashes that the index has of EDFs that cannot be read now."""
        if not index_path(self.root).is_file():
            return {}
        return {
            r.partition_key: r.content_hash
            for r in read_index(self.root)
            if self.edf.get(r.partition_key) in (DANGLING, LOOP)
        }

    def _check_known(self, before: Mapping[str, str]) -> None:
        """What is known of an EDF that cannot be read now stays."""
        after = self._known_hashes()
        assert {key: after.get(key) for key in before} == before

    def _index_bytes(self) -> bytes | None:
        path = index_path(self.root)
        return path.read_bytes() if path.is_file() else None

    def check(self, before: Mapping[Path, str], losable: Iterable[Path] = ()) -> None:
        """Nothing is lost, nothing wrong is believed, nothing of somebody else's is touched."""
        now = self.shards()
        there = now | dict(self._pushed())
        self.flipped = {p: hash_ for p, hash_ in self.flipped.items() if there.get(p) == hash_}
        for path, hash_ in now.items():
            self.counts["shards compared"] += 1
            if path not in self.flipped:
                assert self._is_right(path, hash_), f"{path} has bytes that no build makes"
        whole = {path for path, hash_ in before.items() if hash_ in self.reference.meaning}
        for path in whole - set(losable):
            assert path in now, f"{path} was whole and is lost"
        for path in (self.root / QUARANTINE).rglob("*.arrow"):
            if path.is_file():
                assert digest(path) not in self.reference.meaning, f"{path} is whole"
        for root in (self.root, self.elsewhere):
            for name in NAMES:
                self._check_believed(root, name)
        self._check_remote()
        self._check_archive()
        self._check_models()
        for path, kept in self.foreign.items():
            assert _look(path) == kept, f"{path} is not the store's and was touched"

    def _is_right(self, path: Path, hash_: str) -> bool:
        """Whether a shard's bytes are those of its recording and version, of either variant."""
        if hash_ not in self.reference.meaning:
            return False
        name, key, _ = self.reference.meaning[hash_]
        return any(
            path == self.store(name, root).shard_path(key) for root in (self.root, self.elsewhere)
        )

    def _check_believed(self, root: Path, name: str) -> None:
        """What the plan calls fresh has the bytes of the EDF that the index knows."""
        if not index_path(root).is_file():
            return
        settings = self.settings[name].model_copy(update={"cache_root": root})
        for item in plan_profile(settings).items:
            key = item.recording.partition_key
            path = self.store(name, root).shard_path(key)
            if item.state is not State.FRESH or path in self.flipped:
                continue
            name_, key_, variant = self.reference.meaning[self._hash(path)]
            assert (name_, key_) == (name, key)
            source = self.reference.source[key, variant]
            assert source == item.recording.content_hash, f"{path} is not of the indexed EDF"
            if root == self.root and isinstance(self.edf[key], int):
                assert self.edf[key] == variant, f"{path} is called fresh and is not of the EDF"

    def _check_remote(self) -> None:
        for path, hash_ in self._pushed():
            if path not in self.flipped:
                assert hash_ == path.name, f"{path} has other bytes than its name says"
        for name in NAMES:
            version = self.reference.version(name)
            path = self.remote / version / NAME
            if path.is_file():
                catalog = parse_catalog(path.read_bytes(), version, str(path))
                for key, blob in catalog.shards.items():
                    assert (path.parent / blob.name).is_file()
                    assert self.reference.meaning[blob.hash][:2] == (name, key)

    def _check_archive(self) -> None:
        if not self.archive.is_file():
            return
        state = self._hash(self.archive)
        if state in self.reference.meaning:
            return
        with (
            pa.CompressedInputStream(pa.OSFile(str(self.archive)), "zstd") as stream,
            tarfile.open(fileobj=stream, mode="r|") as archive,
        ):
            for member in archive:
                content = archive.extractfile(member)
                assert content is not None
                if member.name.endswith(".arrow"):
                    hash_ = blake3(content.read()).hexdigest()
                    assert hash_ in self.reference.meaning, f"{member.name} in {self.archive}"
                    self.counts["shards compared"] += 1

    def _check_models(self) -> None:
        """A run of one name was trained on the same windows, so it gives the same model."""
        for path in self.runs.glob("*/run.json"):
            model = str(json.loads(path.read_text(encoding="utf-8"))["model_blake3"])
            known = self.reference.models.setdefault(path.parent.name, model)
            assert model == known, f"{path.parent} was trained on other windows"

    def _check_index(self, action: Action, ended: Ended, before: bytes | None) -> None:
        """After an index that succeeded, it is of the corpus; one refused changes nothing."""
        if action.kind not in ("index", "build"):
            return
        if ended.status != 0:
            if ended.status == 2 and before is not None and "nothing was changed" in ended.stderr:
                assert self._index_bytes() == before
            return
        hashes = {r.partition_key: r.content_hash for r in read_index(self.root)}
        for key, what in self.edf.items():
            if isinstance(what, int):
                assert hashes[key] == self.reference.source[key, what]
            elif what == ABSENT:
                assert key not in hashes

    def _check_built(self, name: str) -> None:
        """After a build that succeeded, every readable recording has the shard of its EDF."""
        for key, what in self.edf.items():
            path = self.store(name).shard_path(key)
            if isinstance(what, int) and path not in self.flipped:
                assert self._hash(path) == self.reference.right[name, key, what], str(path)

    def _check_verified(self, name: str, ended: Ended, before: Mapping[Path, str]) -> None:
        """``verify`` moves the damaged shards, all of them and no other."""
        folder = self.store(name).folder
        if not any(path.is_relative_to(folder) for path in before):
            return
        damaged = [
            path
            for path, hash_ in before.items()
            if path.is_relative_to(folder) and hash_ not in self.reference.meaning
        ]
        assert (ended.status == 1) == bool(damaged), ended
        assert not [path for path in damaged if path.exists()]
        self.counts["damaged shards found"] += len(damaged)

    def finish(self) -> None:
        """On an idle root, all becomes whole."""
        for name in NAMES:
            self.release(name)
        for key, what in self.edf.items():
            if isinstance(what, str):
                self.put_edf(key, 1)
        assert self.run(Action(("index", "--force"), PLAIN)).status == 0
        for name in NAMES:
            if self.store(name).folder.is_dir():
                self.run(Action(("cache", "verify"), name))
        assert not [path for path in self.flipped if path.is_relative_to(self.root)]
        ended = self.run(Action(("cache", "build"), PLAIN))
        assert ended.status == 0, ended
        # One whose recording needed no build any more is left to gc.
        # It names what somebody else put into a folder that it would remove, with status 1.
        assert self.run(Action(("cache", "gc", "--yes", "--force"), PLAIN)).status != 2
        plan = plan_profile(self.settings[PLAIN])
        assert not plan.unfit
        assert not plan.orphans
        assert not [*self.store(PLAIN).folder.rglob("*.partial")]
        self.counts["sequences"] += 1


def _look(path: Path) -> _File:
    try:
        link = str(path.readlink())
    except OSError:
        link = None
    try:
        content = path.read_bytes()
    except OSError:
        content = None
    return _File(link, content)


def figures(counts: Mapping[str, int]) -> Iterator[str]:
    """Lines for people; an invariant that breaks ends the test, so what is not here is 0."""
    for what in sorted(counts):
        yield f"{counts[what]:>8,}  {what}"
    yield f"{0:>8,}  bytes lost, and wrong bytes believed"
