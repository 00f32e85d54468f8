"""The thin edges: what pods are read as, what is patched, pulled, told and exposed."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import NOW, manifest, report  # isort: skip
from finetune_operator.__main__ import parser, settings_from
from finetune_operator.apply import merge_patch
from finetune_operator.children import pod_view, stranger
from finetune_operator.events import document
from finetune_operator.handlers import Backoffs, kopf_settings
from finetune_operator.health import Health
from finetune_operator.kube import JOBS
from finetune_operator.metrics import JobSeries, Metrics
from finetune_operator.plan.snapshot import FindingKind
from finetune_operator.progress_pull import LIMIT, Puller, Target
from finetune_operator.rights import LEASE_RULES, RULES, manifests
from finetune_operator.status.transitions import Event
from finetune_operator.workqueue import Key

KEY = Key("team", "tickets")
DOCUMENTS = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.text(max_size=2), inner, max_size=4),
)


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386, as the API server does it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def without_nulls(document: Any) -> Any:
    if not isinstance(document, dict):
        return document
    return {name: without_nulls(v) for name, v in document.items() if v is not None}


@settings(max_examples=60)
@given(
    st.dictionaries(st.text(max_size=2), DOCUMENTS), st.dictionaries(st.text(max_size=2), DOCUMENTS)
)
def test_a_patch_leads_from_one_status_to_the_other_and_is_empty_when_they_are_equal(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    before, after = without_nulls(before), without_nulls(after)
    assert merged(before, merge_patch(before, after)) == after
    assert merge_patch(after, after) == {}


def test_a_pod_is_read_as_it_is() -> None:
    view = pod_view(
        {
            "metadata": {
                "name": "p",
                "uid": "u",
                "creationTimestamp": "2027-01-15T08:00:00Z",
                "annotations": {"batch.kubernetes.io/job-completion-index": "3"},
            },
            "spec": {"nodeName": "n", "containers": [{"name": "trainer", "image": "i"}]},
            "status": {
                "phase": "Failed",
                "conditions": [{"type": "DisruptionTarget", "status": "True"}],
                "containerStatuses": [
                    {"name": "sidecar", "state": {"terminated": {"exitCode": 9}}},
                    {
                        "name": "trainer",
                        "state": {
                            "terminated": {"exitCode": 41, "message": "m", "reason": "Error"}
                        },
                    },
                ],
            },
        }
    )
    assert (view.index, view.exit_code, view.termination_message) == (3, 41, "m")
    assert (view.created_at, view.is_disrupted, view.is_ready) == (NOW, True, False)


@pytest.mark.parametrize(
    ("owners", "kind"),
    [
        ([], FindingKind.FOREIGN),
        ([{"kind": "CronJob", "name": "x", "uid": "c", "controller": True}], FindingKind.FOREIGN),
        (
            [{"kind": "FineTuneJob", "name": "tickets", "uid": "old", "controller": True}],
            FindingKind.LEFTOVER,
        ),
    ],
)
def test_strangers_and_our_own_past_are_told_apart(owners: list[Any], kind: FindingKind) -> None:
    found = {"metadata": {"name": "tickets-train", "ownerReferences": owners}}
    assert stranger(JOBS, found, KEY, NOW).kind is kind


def test_the_same_transition_has_the_same_event_name() -> None:
    event = Event("Normal", "DataReady", "48,120 rows", "k")
    first, second = (document(manifest(), event, "host", NOW + i) for i in (0, 60))
    other = document(manifest(), event._replace(key="l"), "host", NOW)
    assert first["metadata"] == second["metadata"]
    assert first["metadata"]["name"] != other["metadata"]["name"]
    assert first["involvedObject"]["uid"] == "uid-job"


def test_back_offs_never_end_and_never_exceed_half_a_minute_by_much() -> None:
    delays = [delay for delay, _ in zip(Backoffs(), range(200), strict=False)]
    assert len(delays) == 200
    assert delays[0] < 1
    assert max(delays) <= 36
    assert min(delays[-10:]) >= 24


def test_kopf_may_write_nothing() -> None:
    options = kopf_settings()
    assert options.posting.enabled is False
    assert options.peering.standalone is True
    assert options.scanning.disabled is True
    assert options.persistence.diffbase_storage.fetch(body={}) is None  # type: ignore[arg-type]
    assert options.queueing.worker_limit is None


@pytest.mark.parametrize("served", [(), ("a", "b")], ids=["cluster", "namespaces"])
def test_the_roles_hold_no_wildcard_no_secret_and_only_the_listed_rules(
    served: tuple[str, ...],
) -> None:
    objects = manifests(namespaces=served)
    text = json.dumps(objects)
    assert "*" not in text
    assert "secrets" not in text
    roles = [
        (m["kind"], m["metadata"].get("namespace"), m["rules"]) for m in objects if "rules" in m
    ]
    lease = ("Role", "finetune-system", list(LEASE_RULES))
    jobs = [("Role", place, list(RULES)) for place in served] or [
        ("ClusterRole", None, list(RULES))
    ]
    assert roles == [lease, *jobs]


def test_flags_become_settings() -> None:
    words = "--namespace a --namespace b --http 127.0.0.1:0 --progress-interval 2 --workers 8"
    read = settings_from(parser().parse_args([*words.split(), "--lease", "system/operator"]))
    assert read.lease == Key("system", "operator")
    assert settings_from(parser().parse_args(["--lease", ""])).lease is None
    with pytest.raises(SystemExit):
        parser().parse_args(["--lease", "operator"])
    assert read.namespaces == ("a", "b")
    assert (read.http_host, read.http_port) == ("127.0.0.1", 0)
    assert (read.progress_interval, read.workers) == (2.0, 8)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def pod_serving(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/progress", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/progress"
    finally:
        await runner.cleanup()


async def pulled(handler: Handler) -> Any:
    news = asyncio.Event()
    puller = Puller(0.05, Metrics(), lambda _: news.set())
    async with pod_serving(handler) as url:
        target = Target("uid", url)
        puller.follow(KEY, target)
        try:
            await asyncio.wait_for(news.wait(), 0.25)
        except TimeoutError:
            return None
        finally:
            report = puller.follow(KEY, target)
            await puller.close()
    return report


async def test_a_report_is_pulled_and_told_once_it_turns() -> None:
    async def progress(_: web.Request) -> web.Response:
        return web.json_response(report(step=7).to_wire())

    found = await pulled(progress)
    assert found is not None
    assert found.step == 7


async def test_an_answer_that_is_too_large_is_no_report() -> None:
    async def progress(_: web.Request) -> web.Response:
        return web.json_response({**report().to_wire(), "padding": "x" * LIMIT})

    assert await pulled(progress) is None


async def test_a_redirect_is_not_followed() -> None:
    async def elsewhere(_: web.Request) -> web.Response:
        return web.json_response(report().to_wire())

    async with pod_serving(elsewhere) as url:

        async def progress(_: web.Request) -> web.Response:
            raise web.HTTPFound(url)

        assert await pulled(progress) is None


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"apiVersion": "2.0"}', '{"stage": 1}'])
async def test_garbage_is_no_report(text: str) -> None:
    async def progress(_: web.Request) -> web.Response:
        return web.Response(text=text)

    assert await pulled(progress) is None


async def test_a_replaced_pod_starts_without_a_report() -> None:
    async def progress(_: web.Request) -> web.Response:
        return web.json_response(report().to_wire())

    puller = Puller(0.02, Metrics(), lambda _: None)
    async with pod_serving(progress) as url:
        puller.follow(KEY, Target("one", url))
        await asyncio.sleep(0.1)
        assert puller.follow(KEY, Target("one", url)) is not None
        assert puller.follow(KEY, Target("two", "http://127.0.0.1:9/progress")) is None
        assert puller.follow(KEY, None) is None
    await puller.close()


class Served:
    """What acts, as a test wants it."""

    is_listed = False
    trouble = ""

    def oldest_age(self) -> float:
        return 0.0

    def problem(self) -> str:
        return self.trouble

    def measure(self) -> None:
        pass


async def test_health_and_metrics() -> None:
    metrics, served = Metrics(), Served()
    health = Health(metrics, served)
    port = await health.start("127.0.0.1", 0)
    metrics.jobs.jobs[KEY] = JobSeries("T", "LoRA", "bert", "Training", {"Training": True})

    async def get(path: str) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}{path}") as answer,
        ):
            return answer.status, await answer.text()

    try:
        assert (await get("/healthz"))[0] == 200
        assert (await get("/readyz"))[0] == 503
        health.is_standby = True
        assert await get("/readyz") == (200, "standby")
        health.is_standby = False
        served.is_listed = True
        assert await get("/readyz") == (200, "ok")
        series = 'finetune_job_condition{job="tickets",namespace="team",type="Training"} 1.0'
        assert series in (await get("/metrics"))[1]
        del metrics.jobs.jobs[KEY]
        assert "tickets" not in (await get("/metrics"))[1]
        served.trouble = "a worker has ended"
        assert await get("/healthz") == (500, "a worker has ended")
    finally:
        await health.close()
