"""Whatever happens in whatever order: what must never be wrong. A toy cluster obeys the actions."""

from dataclasses import replace

from builders import (
    NOW,
    SETTINGS,
    a_job,
    ended,
    message,
    pod,
    prepare_child,
    prepare_result,
    report,
    train_child,
)
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from finetune_api.job import FineTuneJob
from finetune_api.status import ConditionType, FineTuneJobStatus
from finetune_operator.plan.actions import (
    CreatePrepareJob,
    CreateService,
    CreateTrainJob,
    Decision,
    DeleteJob,
)
from finetune_operator.plan.decide import decide
from finetune_operator.plan.snapshot import ChildJob, Observed, PodView
from finetune_operator.status.conditions import find, holds
from finetune_operator.status.display import is_over
from finetune_operator.status.transitions import events


class Run(RuleBasedStateMachine):
    """A job, its children and its status; each rule is something that may happen."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.nodes = 2
        self.suspend = False
        self.generation = 1
        self.status = FineTuneJobStatus()
        self.prepare: ChildJob | None = None
        self.train: ChildJob | None = None
        self.service = False
        self.prepare_pods: tuple[PodView, ...] = ()
        self.train_pods: tuple[PodView, ...] = ()
        self.attempt = 1
        self.is_blind = False
        self.has_ended = False
        self.last = Decision(self.status)

    @property
    def job(self) -> FineTuneJob:
        return a_job(resources={"nodes": self.nodes, "gpusPerNode": 1}, suspend=self.suspend)

    def picture(self) -> Observed:
        is_up = bool(self.train_pods) and not self.is_blind
        return Observed(
            generation=self.generation,
            prepare=self.prepare,
            train=self.train,
            has_service=self.service,
            prepare_pods=self.prepare_pods,
            train_pods=self.train_pods,
            progress=report(
                attempt=self.attempt,
                attempts=[{"number": n + 1, "start": "x"} for n in range(self.attempt)],
            )
            if is_up
            else None,
        )

    @rule()
    def reconcile(self) -> None:
        job, before = self.job, self.status
        self.last = decide(job, (), before, self.picture(), SETTINGS, self.now)
        for action in self.last.actions:
            match action:
                case CreatePrepareJob():
                    assert self.prepare is None
                    self.prepare = prepare_child(job, created_at=self.now)
                case CreateService():
                    self.service = True
                case CreateTrainJob(prepared):
                    assert self.train is None, "S1: at most one train Job"
                    assert before.prepared == prepared, "the result is persisted before"
                    assert not self.suspend
                    self.train = train_child(job, created_at=self.now)
                case DeleteJob(name=name):
                    if name.endswith("train"):
                        assert self.train is not None
                        self.train = replace(self.train, is_deleting=True)
                    else:
                        self.prepare, self.prepare_pods = None, ()
        self.check(before, self.last.status)
        self.status = self.last.status
        if not self.last.actions and self.last.wake_after != 0:
            again = decide(job, (), self.status, self.picture(), SETTINGS, self.now)
            assert again.status == self.status, "S8: a pass repeated writes nothing"

    def check(self, before: FineTuneJobStatus, after: FineTuneJobStatus) -> None:
        if is_over(before.conditions):
            assert self.last.actions == ()
            assert after.conditions == before.conditions, "S5: terminal is never left"
        numbers = [max([0, *(a.number for a in s.attempts)]) for s in (before, after)]
        assert numbers[0] <= numbers[1], "S4: the attempt never decreases"
        assert (before.observed_generation or 0) <= (after.observed_generation or 0)
        assert (after.observed_generation or 0) <= self.generation, "S6"
        for condition in after.conditions:
            old = find(before.conditions, ConditionType(condition.type))
            if old is not None and old.status == condition.status:
                assert condition.last_transition_time == old.last_transition_time, "S7"
        if before == after:
            assert events(before, after) == [], "S9: no event without a transition"

    @rule(seconds=st.integers(1, 120))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def user_toggles_suspend(self) -> None:
        self.suspend = not self.suspend
        self.generation += 1

    @precondition(lambda self: self.suspend)
    @rule(nodes=st.integers(1, 3))
    def user_edits_resources(self, nodes: int) -> None:
        self.generation += nodes != self.nodes
        self.nodes = nodes

    @precondition(lambda self: self.prepare is not None and not self.prepare.is_finished)
    @rule(is_lost=st.booleans())
    def prepare_completes(self, is_lost: bool) -> None:
        assert self.prepare is not None
        made_for = a_job(resources={"nodes": self.nodes, "gpusPerNode": 1})
        result = prepare_result(made_for, inputsHash=self.prepare.inputs_hash)
        self.prepare = replace(self.prepare, is_complete=True, finished_at=self.now)
        self.prepare_pods = () if is_lost else (ended(text=message(result)),)

    @precondition(lambda self: self.train is not None and not self.train.is_deleting)
    @rule(ready=st.integers(0, 3))
    def pods_come_up(self, ready: int) -> None:
        assert self.train is not None
        if not self.train.is_finished:
            self.train_pods = tuple(pod(i, is_ready=i < ready) for i in range(self.train.wanted))

    @precondition(lambda self: bool(self.train_pods))
    @rule(code=st.sampled_from([50, 60, 137]))
    def a_pod_is_lost(self, code: int) -> None:
        self.train_pods = (*self.train_pods[:-1], ended(len(self.train_pods) - 1, code=code))
        self.attempt += 1

    @rule()
    def the_network_breaks_or_mends(self) -> None:
        self.is_blind = not self.is_blind

    @precondition(lambda self: self.train is not None and self.train.is_deleting)
    @rule()
    def the_train_job_is_gone(self) -> None:
        self.train, self.train_pods = None, ()

    @precondition(lambda self: self.train is not None and not self.train.is_deleting)
    @rule(well=st.booleans())
    def the_train_job_ends(self, well: bool) -> None:
        assert self.train is not None
        if self.suspend or self.train.is_finished:
            return
        last = ended(0, code=0 if well else 44, text=message(report(stage="done")))
        self.train = replace(self.train, is_complete=well, is_failed=not well, finished_at=self.now)
        self.train_pods = (last,)

    @rule()
    def a_third_party_deletes_the_children(self) -> None:
        if self.train is not None and not self.train.is_finished:
            self.train = replace(self.train, is_deleting=True)
        self.service = False

    @invariant()
    def suspended_means_that_no_gpu_is_held(self) -> None:
        if holds(self.status.conditions, ConditionType.SUSPENDED):
            assert self.train is None or not self.suspend

    def teardown(self) -> None:
        """Once nothing happens any more, the world comes to rest where the job wants it."""
        self.is_blind = False
        for _ in range(20):
            self.reconcile()
            self.now += 30
            if self.prepare is not None and not self.prepare.is_finished:
                self.prepare_completes(is_lost=False)
            if self.train is not None and self.train.is_deleting:
                self.the_train_job_is_gone()
        if is_over(self.status.conditions):
            return
        assert holds(self.status.conditions, ConditionType.DATA_READY)
        assert holds(self.status.conditions, ConditionType.SUSPENDED) == self.suspend
        assert (self.train is None) == self.suspend, "L1: what is wanted is what is there"
        assert self.suspend or self.service


# Not shrunk: it takes minutes, and the story of a failure is short enough to read.
TestRun = Run.TestCase
TestRun.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    print_blob=True,
    report_multiple_bugs=False,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
