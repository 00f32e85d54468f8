"""All bad jobs of the book at once in one namespace; each test then reads what became of one."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from localcluster import product
from localcluster.cluster import wait_for
from tests.bad_input.book import Book, seen
from tests.e2e.bad_input import cases
from tests.e2e.bad_input.servers import STRANGER, Servers, running
from tests.e2e.conftest import Site

NAMESPACE = "bad-input"
PATIENCE_SECONDS = 240
PREPARE = {"prepare": {"cpu": "6", "memory": "2Gi"}}
"""Ten prepare pods a node at once: all start within seconds, none starves the others."""


def job_name(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower())[:40].strip("-")


@dataclass
class World:
    """The namespace of the bad jobs, as a user with kubectl sees it."""

    site: Site
    servers: Servers
    before: dict[str, str] = field(default_factory=dict)
    """Objects of both buckets before the jobs, with their ETags."""

    def kubectl(self, *words: str, text: str | None = None, check: bool = True) -> str:
        return self.site.cluster.kubectl("-n", NAMESPACE, *words, text=text, check=check)

    def job(self, title: str, changes: dict[str, Any]) -> dict[str, Any]:
        """A good job on one CPU rank, but for ``changes`` (whole blocks of the specification)."""
        name = job_name(title)
        manifest = self.site.job(name, **cases.dataset())
        manifest["metadata"]["namespace"] = NAMESPACE
        spec = manifest["spec"]
        for block in ("training", "distribution", "checkpointing"):
            del spec[block]
        spec |= {
            "model": {"uri": cases.MODEL},
            "output": {"uri": f"s3://models/bad/{name}/"},
            "resources": {"nodes": 1, "gpusPerNode": 0},
            "storage": {"secretName": cases.SECRET},
            **changes,
        }
        spec["resources"] |= PREPARE
        return manifest

    def apply(self, *manifests: dict[str, Any]) -> None:
        document = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.kubectl("apply", "-f", "-", text=json.dumps(document))

    def status(self, title: str) -> dict[str, Any]:
        text = self.kubectl("get", "ftj", job_name(title), "-o", "json")
        status: dict[str, Any] = json.loads(text).get("status", {})
        return status

    def wait(self, title: str, condition: str, *words: str) -> dict[str, Any]:
        """The status once a condition's status or reason is one of ``words``."""

        def found() -> dict[str, Any] | None:
            status = self.status(title)
            told = {c["type"]: c for c in status.get("conditions", [])}
            said = told.get(condition, {})
            if said.get("status") in words or said.get("reason") in words:
                return status
            ended = told.get("Succeeded", {"status": "Unknown"})
            assert ended["status"] == "Unknown", f"{title}: {ended}"
            return None

        what = f"{title}: {condition} is {' or '.join(words)}"
        status: dict[str, Any] = wait_for(found, what=what, seconds=PATIENCE_SECONDS, interval=0.5)
        return status

    def objects(self) -> dict[str, str]:
        """All objects of both buckets and their ETags."""
        client = self.site.cluster.s3.client()
        return {
            f"{bucket}/{item['Key']}": item["ETag"]
            for bucket in ("models", "datasets")
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
            for item in page.get("Contents", [])
        }

    def told(self, book: Book, title: str) -> str:
        """The run has ended badly: its sentence, told once and kept in the book; nothing of it is
        left running and nothing was left in the bucket."""
        name, status = job_name(title), self.wait(title, "Succeeded", "True", "False")
        state, sentence = seen(status, "Succeeded")
        assert status["display"]["status"] == "Failed", sentence
        messages = [condition["message"] for condition in status["conditions"]]
        assert messages.count(sentence) == 1
        assert sentence in self.kubectl("describe", "ftj", name)
        assert "NotFound" in self.kubectl("get", "job", f"{name}-train", check=False)
        pods = json.loads(
            self.kubectl("get", "pods", "-l", f"finetune.dev/job={name}", "-o", "json")
        )
        assert {pod["status"]["phase"] for pod in pods["items"]} == {"Failed"}
        assert [key for key in self.objects() if key.startswith(f"models/bad/{name}/")] == []
        book.tell(title, state, sentence)
        return sentence


def put(world: World) -> None:
    """Good data and model, and everything that is wrong with others."""
    client = world.site.cluster.s3.client()

    def data(uri: str, content: bytes) -> None:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        client.put_object(Bucket=bucket, Key=key, Body=content)

    data("s3://datasets/bad/good.jsonl", cases.lines(*cases.ROWS))
    for content, change in cases.BAD_DATA.values():
        source = change["dataset"].get("test") or change["dataset"]["train"]
        data(source["uri"], content)
    good = {
        path.name: path.read_bytes()
        for path in world.site.model.iterdir()
        if path.suffix in {".json", ".txt"}
    }
    good |= {
        "config.json": json.dumps(cases.CONFIG).encode(),
        "model.safetensors": cases.NO_WEIGHTS,
    }
    data("s3://datasets/bad/notes/readme.md", b"no data here")
    for folder, changes in cases.BAD_MODELS.values():
        for name, content in (good | changes if changes is not None else {}).items():
            if content is not None:
                data(f"s3://models/bad/{folder}/{name}", content)
    manifest = "s3://models/bad/other-method/checkpoints/a0001/step-00000100/MANIFEST.json"
    data(manifest, json.dumps(cases.CHECKPOINT).encode())
    data("s3://models/bad/owned/run.json", b'{"namespace": "team", "name": "other"}')


def secrets(world: World) -> None:
    s3, authority = world.site.cluster.s3, world.servers.authority.bundle
    key_id, secret = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"
    product.add_credentials(world.site.cluster, NAMESPACE)
    for name, values in {
        "wrong-key-id": {key_id: "no-such-key", secret: s3.secret_key},
        "wrong-secret": {key_id: s3.access_key, secret: "no-such-secret"},
        "no-keys": {"password": "x"},
        "stranger": {key_id: STRANGER.access_key, secret: STRANGER.secret_key},
        "storage-ca": {"ca.crt": authority.read_text()},
        "not-a-certificate": {"ca.crt": "-----BEGIN NOTHING-----"},
    }.items():
        metadata = {"name": name, "namespace": NAMESPACE}
        world.site.cluster.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}
        )


@pytest.fixture(scope="session")
def world(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("bad-input")
    with running(site.cluster.root / "s3", folder) as servers:
        world = World(site, servers)
        site.cluster.kubectl("create", "namespace", NAMESPACE)
        secrets(world)
        put(world)
        world.before = world.objects()
        good = {"suspend": True}  # prepare runs, training need not
        world.apply(
            *(world.job(title, change | {"storage": storage(servers)})
              for group in (cases.WAITING, cases.STORAGE)
              for title, (change, storage) in group.items()),
            *(world.job(title, change) for title, (_, change) in cases.BAD_DATA.items()),
            *(world.job(title, cases.model(folder))
              for title, (folder, _) in cases.BAD_MODELS.items()),
            *(world.job(title, change) for title, change in cases.SETTINGS.items()),
            world.job("private", good | {"storage": cases.at("private", caSecretName="storage-ca")(
                servers)}),
        )  # fmt: skip
        began = time.monotonic()
        yield world
        print(f"bad input: {time.monotonic() - began:.0f} s from the first job")
