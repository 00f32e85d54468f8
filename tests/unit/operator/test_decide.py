"""Every state of a job: what is done next, and what is said."""

from dataclasses import replace
from typing import Any

import pytest
from builders import (
    NOW,
    a_job,
    ended,
    failure,
    manifest,
    message,
    pod,
    prepare_child,
    prepare_result,
    prepared,
    preparing,
    report,
    running,
    running_picture,
    seen,
    step,
    train_child,
)

from finetune_api.exits import ExitClass, Failure
from finetune_api.job import Storage
from finetune_api.progress import Attempt, Checkpoint
from finetune_api.status import ConditionType, FineTuneJobStatus
from finetune_operator.plan.actions import (
    CreatePrepareJob,
    CreateService,
    CreateTrainJob,
    DeleteJob,
)
from finetune_operator.plan.blocked import needs_events
from finetune_operator.plan.snapshot import Finding, FindingKind, Warning
from finetune_operator.plan.validate import read_job, read_status
from finetune_operator.status.conditions import find

JOB = a_job()
SUSPENDED = a_job(suspend=True)
LARGER = a_job(resources={"nodes": 4, "gpusPerNode": 1})
OLD = NOW - 600


def finding(kind: FindingKind, name: str = "Job team/tickets-train") -> Finding:
    return Finding(kind, name, "was not made by this job", NOW)


PREPARE_DONE = {
    "prepare": prepare_child(JOB, is_complete=True, finished_at=NOW - 1),
    "prepare_pods": (ended(text=message(prepare_result(JOB))),),
}
DATA_ERROR = failure(ExitClass.DATA_ERROR, "row 7 has no label", "remove it")
STORAGE_AWAY = failure(ExitClass.STORAGE_UNREACHABLE, "no storage at x", "mend it")
NO_NODE = "0/3 nodes are available: insufficient nvidia.com/gpu (3)"
QUOTA = 'pods "x" is forbidden: exceeded quota: gpus, requested: 2, used: 4, limited: 4'
SECRET = 'MountVolume.SetUp failed: secret "s3-credentials" not found'


def case(
    sentence: str,
    *,
    job: Any = JOB,
    status: FineTuneJobStatus,
    picture: Any,
    actions: list[type] = [],  # noqa: B006
    word: str,
    condition: tuple[str, str, str] | None = None,
    says: str = "",
) -> Any:
    return pytest.param(job, status, picture, actions, word, condition, says, id=sentence)


@pytest.mark.parametrize(
    ("job", "status", "picture", "actions", "word", "condition", "says"),
    [
        case(
            "a new job gets its prepare Job",
            status=FineTuneJobStatus(),
            picture=seen(),
            actions=[CreatePrepareJob],
            word="Preparing",
            condition=("DataReady", "Unknown", "Preparing"),
        ),
        case(
            "a new suspended job prepares too, and is suspended",
            job=SUSPENDED,
            status=FineTuneJobStatus(),
            picture=seen(),
            actions=[CreatePrepareJob],
            word="Suspended",
            condition=("Suspended", "True", "SuspendedByUser"),
        ),
        case(
            "a running prepare Job is left alone",
            status=preparing(JOB),
            picture=seen(prepare=prepare_child(JOB), prepare_pods=(pod(),)),
            word="Preparing",
        ),
        case(
            "prepare's result goes into the status, and nothing is created in that pass",
            status=preparing(JOB),
            picture=seen(**PREPARE_DONE),
            word="Starting",
            condition=("DataReady", "True", "Prepared"),
            says="48,120 rows (212 dropped: 190 duplicates, 22 empty), 31.4 M tokens, p95 812",
        ),
        case(
            "a message that is not there yet is waited for",
            status=preparing(JOB),
            picture=seen(prepare=PREPARE_DONE["prepare"]),
            word="Preparing",
        ),
        case(
            "a message that went with its pod makes prepare run again",
            status=preparing(JOB),
            picture=seen(prepare=prepare_child(JOB, is_complete=True, finished_at=OLD)),
            actions=[DeleteJob],
            word="Preparing",
            condition=("DataReady", "Unknown", "PreparingAgain"),
        ),
        case(
            "a garbled message ends the job with a sentence",
            status=preparing(JOB),
            picture=seen(prepare=PREPARE_DONE["prepare"], prepare_pods=(ended(text="{"),)),
            word="Failed",
            condition=("Succeeded", "False", "InternalError"),
            says="its result cannot be read: it is not JSON",
        ),
        case(
            "prepare of other resources is deleted",
            status=preparing(JOB),
            job=LARGER,
            picture=seen(**PREPARE_DONE),
            actions=[DeleteJob],
            word="Preparing",
            condition=("DataReady", "Unknown", "PreparingAgain"),
        ),
        case(
            "a prepare Job that is being deleted is waited for",
            status=preparing(JOB),
            picture=seen(prepare=prepare_child(JOB, is_deleting=True)),
            word="Preparing",
        ),
        case(
            "a data error ends the job in the pod's words",
            status=preparing(JOB),
            picture=seen(
                prepare=prepare_child(JOB, is_failed=True, finished_at=NOW),
                prepare_pods=(ended(code=41, text=DATA_ERROR),),
            ),
            word="Failed",
            condition=("Succeeded", "False", "DataError"),
            says="row 7 has no label; remove it; then delete this job and apply it again",
        ),
        case(
            "a storage that is away is told while the Job starts prepare again",
            status=preparing(JOB),
            picture=seen(
                prepare=prepare_child(JOB), prepare_pods=(ended(code=62, text=STORAGE_AWAY),)
            ),
            word="Preparing",
            condition=("DataReady", "False", "StorageUnreachable"),
            says="no storage at x; mend it (try 1 of 4; the next starts by itself)",
        ),
        case(
            "a storage that stays away ends the job",
            status=preparing(JOB),
            picture=seen(
                prepare=prepare_child(JOB, is_failed=True, finished_at=NOW),
                prepare_pods=(ended(code=62, text=STORAGE_AWAY),),
            ),
            word="Failed",
            condition=("Succeeded", "False", "StorageUnreachable"),
            says="no storage at x; mend it; then delete this job and apply it again",
        ),
        case(
            "a foreign Job under prepare's name is left alone and told",
            status=FineTuneJobStatus(),
            picture=seen(findings={"prepare": finding(FindingKind.FOREIGN)}),
            word="Preparing",
            condition=("DataReady", "False", "ChildConflict"),
            says="was not made by this job; it is left alone",
        ),
        case(
            "a refused creation is tried again and told",
            status=preparing(JOB),
            picture=seen(findings={"prepare": finding(FindingKind.REFUSED)}),
            actions=[CreatePrepareJob],
            word="Preparing",
            condition=("DataReady", "False", "CreateRejected"),
        ),
        case(
            "a pulled image that does not exist is named",
            status=preparing(JOB),
            picture=seen(
                prepare=prepare_child(JOB, created_at=OLD),
                prepare_pods=(
                    pod(
                        is_ready=False,
                        waiting_reason="ErrImagePull",
                        waiting_message="not found",
                        image="site/trainer:1",
                    ),
                ),
            ),
            word="Preparing",
            condition=("DataReady", "False", "ImagePullFailed"),
            says="image site/trainer:1 of pod tickets-train-0-abc cannot be pulled: not found",
        ),
        case(
            "a missing Secret is named",
            status=preparing(JOB),
            picture=seen(
                prepare=prepare_child(JOB, created_at=OLD),
                prepare_pods=(pod(is_ready=False, waiting_reason="ContainerCreating"),),
                warnings=(Warning("tickets-train-0-abc", "FailedMount", SECRET),),
            ),
            word="Preparing",
            condition=("DataReady", "False", "MissingSecret"),
            says="Secret s3-credentials does not exist in this namespace",
        ),
        case(
            "a prepare pod that an edit made wrong is made anew",
            job=a_job(scheduling={"serviceAccountName": "other"}),
            status=preparing(JOB),
            picture=seen(prepare=prepare_child(JOB, generation=0)),
            actions=[DeleteJob],
            word="Preparing",
            condition=("DataReady", "Unknown", "PreparingAgain"),
        ),
        case(
            "a prepare pod that an upgrade hashes differently goes on",
            status=preparing(JOB),
            picture=seen(prepare=prepare_child(JOB, generation=1, launch_hash="old")),
            word="Preparing",
            condition=("DataReady", "Unknown", "Preparing"),
        ),
        case(
            "a prepared job gets Service and train Job, in this order",
            status=prepared(JOB),
            picture=seen(**PREPARE_DONE),
            actions=[CreateService, CreateTrainJob],
            word="Starting",
            condition=("PodsReady", "False", "Starting"),
        ),
        case(
            "only what is missing is created",
            status=prepared(JOB),
            picture=seen(has_service=True),
            actions=[CreateTrainJob],
            word="Starting",
        ),
        case(
            "a prepared but suspended job gets no train Job",
            job=SUSPENDED,
            status=prepared(SUSPENDED),
            picture=seen(),
            word="Suspended",
        ),
        case(
            "a foreign train Job blocks, and no Service is made beside it",
            status=prepared(JOB),
            picture=seen(findings={"train": finding(FindingKind.FOREIGN)}),
            word="Starting",
            condition=("PodsReady", "False", "ChildConflict"),
            says="Job team/tickets-train exists",
        ),
        case(
            "a leftover of a deleted job of this name is waited for",
            status=prepared(JOB),
            picture=seen(findings={"train": finding(FindingKind.LEFTOVER)}),
            word="Starting",
            condition=("PodsReady", "False", "WaitingForCleanup"),
        ),
        case(
            "a gang that has just been started is not called incomplete",
            status=prepared(JOB),
            picture=seen(train=train_child(JOB), has_service=True, train_pods=(pod(0),)),
            word="Starting",
            condition=("PodsReady", "False", "Starting"),
        ),
        case(
            "a gang that stays incomplete says who is missing",
            status=prepared(JOB),
            picture=seen(
                train=train_child(JOB, created_at=OLD), has_service=True, train_pods=(pod(0),)
            ),
            word="Starting",
            condition=("PodsReady", "False", "GangIncomplete"),
            says="1 of 2 pods ready; waiting for train-1",
        ),
        case(
            "the scheduler's own words are told",
            status=prepared(JOB),
            picture=seen(
                train=train_child(JOB, created_at=OLD),
                has_service=True,
                train_pods=(pod(0), pod(1, is_ready=False, node="", unschedulable=NO_NODE)),
            ),
            word="Starting",
            condition=("PodsReady", "False", "Unschedulable"),
            says=f"1 of 2 pods ready; pod tickets-train-1-abc finds no node: {NO_NODE}; ",
        ),
        case(
            "a quota is told",
            status=prepared(JOB),
            picture=seen(
                train=train_child(JOB, created_at=OLD),
                has_service=True,
                warnings=(Warning("tickets-train", "FailedCreate", QUOTA),),
            ),
            word="Starting",
            condition=("PodsReady", "False", "QuotaExceeded"),
            says="requested: 2, used: 4, limited: 4",
        ),
        case(
            "a complete gang trains",
            status=prepared(JOB),
            picture=running_picture(JOB),
            word="Training",
            condition=("Training", "True", "Progressing"),
            says="step 1240 of 2000, loss 1.043, 8,410 tokens/s, last report 6s ago",
        ),
        case(
            "seeing nothing changes nothing",
            status=running(JOB),
            picture=replace(running_picture(JOB), progress=None),
            word="Training",
            condition=("Training", "True", "Progressing"),
        ),
        case(
            "a report of an attempt before the known one changes nothing",
            status=running(JOB, attempt=2, attempts=[{"number": 2, "start": "x"}]),
            picture=running_picture(JOB, attempt=1, step=3),
            word="Training",
            says="step 1240 of 2000",
            condition=("Training", "True", "Progressing"),
        ),
        case(
            "ranks that do not move are shown as stalled",
            status=running(JOB),
            picture=running_picture(JOB, heartbeatAgeSeconds=900),
            word="Stalled",
            condition=("Training", "False", "Stalled"),
            says="no rank has moved for 10m at step 1240",
        ),
        case(
            "a node that falls silent is named before Kubernetes gives its pod up",
            status=running(JOB),
            picture=seen(
                train=train_child(JOB, created_at=OLD),
                has_service=True,
                train_pods=(pod(0), pod(1, is_ready=False, is_started=True, unready_since=NOW - 3)),
                warnings=(Warning("tickets-train-1-abc", "NodeNotReady", "", NOW - 3),),
            ),
            word="Restarting",
            condition=("PodsReady", "False", "PodLost"),
            says="1 of 2 pods ready; node node-1 of pod tickets-train-1-abc does not answer",
        ),
        case(
            "a node that had fallen silent before is not blamed for a pod that is not ready now",
            status=running(JOB),
            picture=seen(
                train=train_child(JOB, created_at=OLD),
                has_service=True,
                train_pods=(pod(0), pod(1, is_ready=False, is_started=True, unready_since=NOW - 3)),
                warnings=(Warning("tickets-train-1-abc", "NodeNotReady", "", NOW - 300),),
            ),
            word="Restarting",
            condition=("PodsReady", "False", "PodLost"),
            says="1 of 2 pods ready; train-1 on node-1 is not ready",
        ),
        case(
            "a pod on a silent node is said to be lost, and what brings another one",
            status=running(JOB),
            picture=seen(
                train=train_child(JOB, created_at=OLD),
                has_service=True,
                train_pods=(
                    pod(0),
                    pod(1, is_ready=False, is_started=True, is_deleting=True, is_given_up=True),
                ),
            ),
            word="Restarting",
            condition=("PodsReady", "False", "PodLost"),
            says="train-1 was lost on node-1 (its node does not answer); another pod takes its "
            "place once node-1 is back or removed (kubectl delete node node-1)",
        ),
        case(
            "a gang is let go when its namespace is being deleted",
            status=running(JOB),
            picture=replace(running_picture(JOB), namespace_is_dying=True),
            actions=[DeleteJob],
            word="Training",
        ),
        case(
            "a lost pod is named with its node and exit code, and nothing is restarted",
            status=running(JOB),
            picture=seen(
                train=train_child(JOB, created_at=OLD),
                has_service=True,
                train_pods=(pod(0), ended(1, code=137)),
            ),
            word="Restarting",
            condition=("PodsReady", "False", "PodLost"),
            says="1 of 2 pods ready; train-1 was lost on node-1 (exit code 137)",
        ),
        case(
            "pods that leave because index 0 has ended are not lost",
            status=running(JOB),
            picture=seen(
                train=train_child(JOB), has_service=True, train_pods=(ended(0, code=42), pod(1))
            ),
            word="Training",
            condition=("PodsReady", "True", "AllReady"),
        ),
        case(
            "a missing Service is made again beside a running gang",
            status=running(JOB),
            picture=replace(running_picture(JOB), has_service=False),
            actions=[CreateService],
            word="Training",
        ),
        case(
            "suspend deletes the train Job",
            job=SUSPENDED,
            status=running(JOB),
            picture=running_picture(JOB),
            actions=[DeleteJob],
            word="Training",
            condition=("Suspended", "False", "Suspending"),
        ),
        case(
            "a train Job that is leaving is waited for",
            job=SUSPENDED,
            status=running(JOB),
            picture=replace(running_picture(JOB), train=train_child(JOB, is_deleting=True)),
            word="Training",
            condition=("Suspended", "False", "Suspending"),
        ),
        case(
            "suspended means that the train Job is gone",
            job=SUSPENDED,
            status=running(JOB),
            picture=seen(has_service=True),
            word="Suspended",
            condition=("Suspended", "True", "SuspendedByUser"),
        ),
        case(
            "resumed while the old train Job is leaving: its name must be free first",
            status=running(JOB),
            picture=replace(running_picture(JOB), train=train_child(JOB, is_deleting=True)),
            word="Starting",
            condition=("PodsReady", "False", "Replacing"),
        ),
        case(
            "resume makes the train Job anew",
            status=step(SUSPENDED, running(JOB), seen(has_service=True)).status,
            picture=seen(has_service=True),
            actions=[CreateTrainJob],
            word="Starting",
            condition=("Suspended", "False", "NotSuspended"),
        ),
        case(
            "edited resources prepare again and release the old gang",
            job=LARGER,
            status=running(JOB),
            picture=running_picture(JOB),
            actions=[DeleteJob, DeleteJob],
            word="Preparing",
        ),
        case(
            "an edit between a suspend and a resume that was not seen makes the train Job anew",
            job=a_job(scheduling={"nodeSelector": {"zone": "b"}}),
            status=running(JOB),
            picture=running_picture(JOB),
            actions=[DeleteJob],
            word="Training",
        ),
        case(
            "resources edited there and back are prepared already, and said to be",
            job=SUSPENDED,
            status=step(
                a_job(suspend=True, resources={"nodes": 4, "gpusPerNode": 1}),
                prepared(SUSPENDED),
                seen(),
            ).status,
            picture=seen(),
            word="Suspended",
            condition=("DataReady", "True", "Prepared"),
        ),
        case(
            "an upgrade that hashes an unchanged job differently disturbs nothing",
            status=FineTuneJobStatus.model_validate(
                running(JOB).model_dump() | {"prepared": prepare_result(LARGER).prepared}
            ),
            picture=replace(
                running_picture(JOB),
                train=train_child(JOB, generation=1, inputs_hash="old", launch_hash="old"),
            ),
            word="Training",
        ),
        case(
            "a lost status never kills a running gang: prepare only runs again",
            status=FineTuneJobStatus(),
            picture=replace(running_picture(JOB), prepare=None),
            actions=[CreatePrepareJob],
            word="Preparing",
        ),
        case(
            "a failure inside a condensed report is the run's, with its numbers",
            status=running(JOB),
            picture=seen(
                train=train_child(JOB, is_failed=True, finished_at=NOW),
                train_pods=(
                    ended(
                        0,
                        code=43,
                        text=message(
                            report(
                                stage="train",
                                step=1300,
                                failure={"class": "NonFinite", "message": "loss is nan"},
                            )
                        ),
                    ),
                ),
            ),
            word="Failed",
            condition=("Succeeded", "False", "NonFinite"),
            says="loss is nan",
        ),
        case(
            "index 0's last words end the job well",
            status=running(JOB),
            picture=seen(
                train=train_child(JOB, is_complete=True, finished_at=NOW),
                train_pods=(
                    ended(
                        text=message(
                            report(
                                stage="done", step=2000, artifacts={"adapter": "s3://m/adapter/"}
                            )
                        )
                    ),
                    ended(1, code=50),
                ),
            ),
            word="Succeeded",
            condition=("Succeeded", "True", "Completed"),
            says="2000 steps trained; results in s3://m/adapter/",
        ),
        case(
            "a run that was finished before tells its results again",
            status=running(JOB),
            picture=seen(
                train=train_child(JOB, is_complete=True, finished_at=NOW),
                train_pods=(
                    ended(
                        text=message(
                            report(stage="done", step=2000, finishedAt="2027-01-14T07:00:00Z")
                        )
                    ),
                ),
            ),
            word="Succeeded",
            condition=("Succeeded", "True", "Completed"),
            says="2000 steps trained; finished at 2027-01-14T07:00:00Z already, nothing was done",
        ),
        case(
            "last words that are a moment late are waited for",
            status=running(JOB),
            picture=seen(train=train_child(JOB, is_complete=True, finished_at=NOW)),
            word="Training",
        ),
        case(
            "lost last words do not hide that the run succeeded",
            status=running(JOB),
            picture=seen(train=train_child(JOB, is_complete=True, finished_at=OLD)),
            word="Succeeded",
            condition=("Succeeded", "True", "Completed"),
            says="2000 steps trained",
        ),
        case(
            "the first rank's failure is the run's",
            status=running(JOB),
            picture=seen(
                train=train_child(JOB, is_failed=True, finished_at=NOW),
                train_pods=(
                    ended(0, code=42, text=failure(ExitClass.OUT_OF_MEMORY, "needed 88.7 GiB")),
                    ended(1, code=137),
                ),
            ),
            word="Failed",
            condition=("Succeeded", "False", "OutOfMemory"),
            says="needed 88.7 GiB",
        ),
        case(
            "a failure whose message is lost is told by its exit code",
            status=running(JOB),
            picture=seen(
                train=train_child(JOB, is_failed=True, finished_at=NOW),
                train_pods=(ended(0, code=45, text="garbled"),),
            ),
            word="Failed",
            condition=("Succeeded", "False", "GateNotMet"),
        ),
        case(
            "a killed container says how much memory it had",
            status=running(JOB),
            picture=seen(
                train=train_child(JOB, is_failed=True, finished_at=NOW),
                train_pods=(ended(0, code=137, exit_reason="OOMKilled"),),
            ),
            word="Failed",
            condition=("Succeeded", "False", "OutOfMemory"),
            says="more than its 16Gi of memory",
        ),
        case(
            "a blown fuse is told in the Job's words when no pod is left",
            status=running(JOB),
            picture=seen(
                train=train_child(
                    JOB,
                    is_failed=True,
                    finished_at=OLD,
                    reason="MaxFailedIndexesExceeded",
                    message="Job has exceeded the specified maximal number of failed indexes",
                )
            ),
            word="Failed",
            condition=("Succeeded", "False", "RetriesExhausted"),
            says="maximal number of failed indexes",
        ),
        case(
            "a job that is being deleted is left to garbage collection",
            status=running(JOB),
            picture=seen(is_deleting=True),
            word="Training",
        ),
    ],
)
def test_decision(
    job: Any,
    status: FineTuneJobStatus,
    picture: Any,
    actions: list[type],
    word: str,
    condition: tuple[str, str, str] | None,
    says: str,
) -> None:
    decision = step(job, status, picture)
    assert [type(action) for action in decision.actions] == actions
    assert decision.status.display is not None
    assert decision.status.display.status == word
    if condition is not None:
        kind, value, reason = condition
        found = find(decision.status.conditions, ConditionType(kind))
        assert found is not None
        assert (found.status, found.reason) == (value, reason)
        assert says in found.message


def test_an_invalid_job_gets_nothing_and_hears_all_its_problems() -> None:
    broken = manifest(method={}, training={"epochs": 1, "maxSteps": 2})
    job, problems = read_job(broken, Storage())
    assert job is None
    decision = step(None, FineTuneJobStatus(), seen(), problems=problems)
    found = find(decision.status.conditions, ConditionType.VALIDATED)
    assert decision.actions == ()
    assert found is not None
    assert found.reason == "Invalid"
    assert "spec.method: set exactly one of full, freeze" in found.message
    assert "spec.training: set at most one of epochs, maxSteps" in found.message


def test_a_field_from_the_future_does_not_make_a_job_invalid() -> None:
    job, _ = read_job(manifest(somethingNew={"x": 1}), Storage())
    assert job is not None


def test_a_part_of_the_status_that_cannot_be_read_is_absent_and_the_rest_stays() -> None:
    status = read_status({"status": {"prepared": {"cpu": 3}, "observedGeneration": 4}})
    assert status.prepared is None
    assert status.observed_generation == 4


def test_a_job_made_anew_avoids_nodes_whose_hardware_failed() -> None:
    faults = [
        {"number": 1, "start": "x", "reason": "HardwareFault", "node": "node-b"},
        {"number": 2, "start": "x", "reason": "PodLost", "node": "node-a"},
    ]
    suspended = step(SUSPENDED, running(JOB, attempt=2, attempts=faults), seen(has_service=True))
    (action,) = step(JOB, suspended.status, seen(has_service=True)).actions
    assert isinstance(action, CreateTrainJob)
    assert action.avoid == {"node-b"}


def test_terminal_is_never_left() -> None:
    pods = (ended(code=41, text=DATA_ERROR),)
    failed = step(
        JOB,
        preparing(JOB),
        seen(prepare=prepare_child(JOB, is_failed=True), prepare_pods=pods),
    ).status
    later = step(JOB, failed, seen(generation=5, **PREPARE_DONE))
    assert later.actions == ()
    assert later.status.conditions == failed.conditions
    assert later.status.observed_generation == 5


def test_events_are_read_only_about_children_that_stand_still_without_saying_why() -> None:
    child = train_child(JOB, created_at=OLD)
    starts = pod(1, is_ready=False, is_started=True)
    silent = pod(1, is_ready=False, uid="silent")
    unscheduled = pod(1, is_ready=False, node="")
    assert needs_events(child, (pod(0, is_started=True), starts)) == ["uid-pod-1"]
    assert needs_events(child, (pod(0, is_started=True), silent)) == ["silent"]
    assert needs_events(child, (pod(0, is_started=True), pod(1))) == []
    assert needs_events(child, (pod(0, is_started=True), unscheduled)) == []
    assert needs_events(child, (pod(0, is_started=True),)) == ["uid-train"]
    assert needs_events(replace(child, is_complete=True), ()) == []


def test_what_pods_saved_when_they_were_suspended_is_known_before_they_are_gone() -> None:
    saved = Checkpoint(step=722, uri="s3://o/c/", bytes=1, saved_at="2026-11-22T11:04:18Z")
    last_words = message(report(checkpoint=saved, step=722))
    leaving = seen(
        train=train_child(JOB, is_deleting=True), train_pods=(ended(0, code=50, text=last_words),)
    )
    status = step(SUSPENDED, running(JOB), leaving).status
    gone = step(SUSPENDED, status, seen()).status
    suspended = find(gone.conditions, ConditionType.SUSPENDED)
    assert gone.checkpoint == saved
    assert suspended is not None
    assert suspended.message.endswith("it resumes from step 722")


def test_a_failed_runs_report_tells_failure_and_attempts() -> None:
    told = Failure(exit_class=ExitClass.RETRIES_EXHAUSTED, message="4 of 4 attempts failed")
    attempts = [Attempt(number=n, start="2026-11-22T11:04:18Z") for n in (1, 2, 3, 4)]
    last_words = message(report(failure=told, attempts=attempts))
    picture = seen(
        train=train_child(JOB, is_failed=True, finished_at=NOW),
        train_pods=(ended(0, code=44, text=last_words),),
    )
    status = step(JOB, running(JOB), picture).status
    succeeded = find(status.conditions, ConditionType.SUCCEEDED)
    assert succeeded is not None
    assert (succeeded.reason, succeeded.message) == ("RetriesExhausted", "4 of 4 attempts failed")
    assert [attempt.number for attempt in status.attempts] == [1, 2, 3, 4]


def test_a_job_whose_configuration_fits_no_environment_hears_which_block_is_too_long() -> None:
    modules = [f"{'🙂' * 250}{number:03d}" for number in range(60)]
    _, (problem,) = read_job(manifest(method={"lora": {"targetModules": modules}}), Storage())
    assert "of them in spec.method; at most 98,304 fit into a pod's environment" in problem
