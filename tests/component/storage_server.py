"""The real S3 server of the local cluster alone, without a control plane."""

import itertools
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localcluster import s3
from localcluster.build import CLUSTER_PROGRAMS, build
from localcluster.processes import free_ports, start, stop, wait_until

_numbers = itertools.count(1)


@contextmanager
def s3_server(folder: Path) -> Iterator[s3.S3]:
    """Start it over a folder; ended by its own record."""
    build(*CLUSTER_PROGRAMS)
    port = free_ports(1)[0]
    server = s3.S3(f"http://127.0.0.1:{port}")
    record = start(s3.command(folder, port), log=folder / "s3.log")
    try:
        wait_until(
            lambda: _answers(server), what="the S3 server", seconds=20, records={"s3": record}
        )
        yield server
    finally:
        stop([record])


def _answers(server: s3.S3) -> bool:
    try:
        server.client().list_buckets()
    except Exception:
        return False
    return True


def new_bucket(server: s3.S3) -> str:
    """An empty bucket of a test's own."""
    name = f"test-{uuid.uuid4().hex[:10]}-{next(_numbers)}"
    server.make_bucket(name)
    return name
