"""A pull against a plain parallel copy of the same objects from the same server on loopback.

    python -m tests.benchmark.measure_transfer [SHARDS] [BLOCKS OF A SHARD] [ROUNDS]

Prints one JSON line: MB/s of both, their ratio, and the seconds of a pull with nothing to do. The
plain copy is s3fs's own ``get`` of every object to files, with as many requests in flight; it
verifies nothing. What is pulled is on the disk when it appears, so the plain copy is timed twice:
to the page cache, and until every file is on the disk.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import s3fs

from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Overrides, load
from brainbrr_core.files.atomic import flush
from brainbrr_core.remote.s3 import S3Remote
from brainbrr_core.transfer.parallel import TRANSFERS
from tests.support.machines import URL, empty_bucket, machine, pull_from, push_to, write_shards
from tests.support.services import HANGS_S, answers, wait_until


def main() -> None:
    shards, blocks, rounds = ([*map(int, sys.argv[1:]), 7364, 1, 3][i] for i in range(3))
    if len(sys.argv) == 3:
        rounds = 3
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLEEXAMPLE00",
        "AWS_SECRET_ACCESS_KEY": "not-a-real-secret-0123456789",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:5599",
    }
    server = subprocess.Popen(
        [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", "5599"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until("the S3 server answers", lambda: answers(5599), seconds=HANGS_S)
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(Path(folder), shards, blocks, rounds)))
    finally:
        server.terminate()
        server.wait()


def measure(folder: Path, shards: int, blocks: int, rounds: int) -> dict[str, object]:
    """The figures, from alternating rounds."""
    settings = load(Overrides(config="full:cpu", cache_root=str(folder / "x")), {})
    source = machine(settings, folder / "source")
    write_shards(source, shards, blocks)
    empty_bucket()
    pushed = push_to(source, force=True)
    remote, files = S3Remote(URL), s3fs.S3FileSystem()
    prefix = f"{remote.bucket}/{remote.key(Store.of(source).version)}/objects"
    objects = files.find(prefix)
    plain, synced, pulled, idle = [], [], [], []
    for number in range(rounds):
        target = folder / f"plain{number}"
        began = time.perf_counter()
        names = [str(target / name[len(prefix) + 1 :]) for name in objects]
        files.get(objects, names, batch_size=TRANSFERS)
        plain.append(pushed.bytes / (time.perf_counter() - began) / 1e6)
        with ThreadPoolExecutor(TRANSFERS) as pool:
            list(pool.map(flush, map(Path, names)))
        synced.append(pushed.bytes / (time.perf_counter() - began) / 1e6)
        shutil.rmtree(target)
        other = machine(settings, folder / f"other{number}")
        began = time.perf_counter()
        outcome = pull_from(other)
        pulled.append(outcome.bytes / (time.perf_counter() - began) / 1e6)
        assert outcome.moved == shards
        began = time.perf_counter()
        assert pull_from(other).skipped == shards
        idle.append(time.perf_counter() - began)
        shutil.rmtree(other.cache_root)
    return {
        "shards": shards,
        "MB": round(pushed.bytes / 1e6),
        "push MB/s": round(pushed.rate / 1e6, 1),
        "plain copy MB/s": [round(value, 1) for value in plain],
        "plain copy, on the disk, MB/s": [round(value, 1) for value in synced],
        "pull MB/s": [round(value, 1) for value in pulled],
        "pull to plain copy": round(statistics.median(pulled) / statistics.median(plain), 3),
        "pull to plain copy on the disk": round(
            statistics.median(pulled) / statistics.median(synced), 3
        ),
        "nothing to do, s": [round(value, 2) for value in idle],
    }


if __name__ == "__main__":
    main()
