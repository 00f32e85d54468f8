"""A run that goes well, from the first join to final.json."""

import hashlib
import re
from collections.abc import Callable

import psutil

from finetune_api.progress import ProgressReport
from tests.component.gang.gang import GangRun, wait_for


def expected_weights(steps: int = 12) -> str:
    """The hash chain of an uninterrupted run."""
    state = "start"
    for step in range(1, steps + 1):
        state = hashlib.sha256(f"{state}/{step}".encode()).hexdigest()
    return state


def test_two_pods_over_s3(s3_gang: Callable[..., GangRun]) -> None:
    run = s3_gang(pods=2)
    run.start_all()
    run.at_step(5, durable=4)
    supervisor = psutil.Process(run.processes[0].pid)
    resident = supervisor.memory_info().rss
    metrics = run.get("/metrics")
    assert run.wait() == 0, run.logs()

    assert run.weights() == expected_weights()
    final = run.read("final.json")
    assert final is not None
    assert final["step"] == 12
    report = ProgressReport.read(run.read("report/report.json") or {})
    assert report.stage == "done"
    assert [p.step for p in report.series] == list(range(1, 13))
    assert report.artifacts.adapter == run.output + "adapter/"
    assert [a["class"] for a in run.attempts()] == ["Completed"]
    assert report.evaluation[0].tuned == "0.9"
    assert report.forgetting[0].tuned == "0.4"
    assert (run.read("report/report.json") or {})["rowsWon"] == {
        "evaluation": {"wins": 5, "ties": 3, "losses": 1}
    }
    assert re.search(
        r'finetune_training_durable_step\{job="demo",namespace="team".*\} 4\.0', metrics
    )
    assert resident < 60 * 2**20, resident

    # The peer keeps its place until the Job tells it: a finished index is never made again.
    assert run.processes[1].poll() is None
    assert run.rank_pids(1) == []
    run.terminate(1)
    assert run.wait(1) == 0
    assert (run.folder / "termination-0").stat().st_size <= 4000


def test_checkpoints_have_manifests_of_all_pods(gang: Callable[..., GangRun]) -> None:
    run = gang(pods=2)
    run.start_all()
    assert run.wait() == 0, run.logs()
    manifest = run.read("checkpoints/a0001/step-00000008/MANIFEST.json")
    assert manifest is not None
    paths = [f["path"] for f in manifest["files"]]
    assert paths == ["rng_state_0.pth", "rng_state_1.pth", "trainer_state.json"]
    assert manifest["worldSize"] == 2
    assert manifest["strategy"] == "DDP"


def test_a_new_index_0_that_finds_final_leaves_with_success(gang: Callable[..., GangRun]) -> None:
    run = gang(pods=1, steps=2)
    run.start_all()
    assert run.wait() == 0, run.logs()
    run.start(0, fresh=True)
    assert run.wait(seconds=10) == 0
    assert run.rank_pids(0) == []
    assert len(run.attempts()) == 1
    told, final = run.termination(), run.read("final.json") or {}
    assert told["finishedAt"] == final["finishedAt"]
    assert (told["stage"], told["step"], told["totalSteps"]) == ("done", 2, 2)
    assert told["evaluation"][0]["tuned"] == "0.9"
    assert told["artifacts"]["adapter"] == f"{run.output}adapter/"
    said = f"this run finished at {final['finishedAt']}: nothing to do"
    assert said in (run.folder / "pod-0.log").read_text()


def test_save_on_request_is_idempotent(gang: Callable[..., GangRun]) -> None:
    import urllib.error
    import urllib.request

    run = gang(pods=2, steps=30, every=100)
    run.start_all()
    run.at_step(2)

    def post(token: str, index: int) -> int:
        url = f"http://{run.addresses[index]}:9300/save?request=now"
        headers = {"Authorization": f"Bearer {token}"}
        request = urllib.request.Request(url, method="POST", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    assert post("wrong", 0) == 403
    assert post("gang-token", 1) == 202
    wait_for(lambda: run.progress().get("checkpoint"), "a durable checkpoint")
    assert post("gang-token", 0) == 202
    assert run.wait() == 0, run.logs()
    steps = [i for i in run.store.list(run.output + "checkpoints/") if "MANIFEST" in i.uri]
    assert len(steps) == 1
