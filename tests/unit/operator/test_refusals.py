"""Texts of Kubernetes that no test of a cluster provokes, and the sentences they become."""

import pytest

from finetune_operator.plan.refusals import explained

PODS = "the pods of Job tickets-train"
SECURITY = (
    'pods "tickets-train-0-x7k2p" is forbidden: violates PodSecurity "restricted:latest": '
    "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)"
)
WEBHOOK = (
    'Error creating: admission webhook "validate.kyverno.svc-fail" denied the request: '
    "resource Pod/team/tickets-train-0-x7k2p was blocked: label cost-centre is required"
)
LIMITS = (
    'pods "tickets-train-0-x7k2p" is forbidden: [maximum cpu usage per Container is 1, but limit '
    "is 4, maximum memory usage per Container is 1Gi, but limit is 2Gi]"
)


@pytest.mark.parametrize(
    ("said", "reason", "sentence"),
    [
        (
            SECURITY,
            "PodSecurity",
            "the pod security standard restricted:latest of the namespace denies the pods of Job "
            "tickets-train: runAsNonRoot != true",
        ),
        (
            WEBHOOK,
            "PolicyDenied",
            "admission webhook validate.kyverno.svc-fail of the cluster denies the pods of Job "
            "tickets-train: resource Pod/team/",
        ),
        (
            LIMITS,
            "LimitRange",
            "a LimitRange of the namespace denies the pods of Job tickets-train: maximum cpu usage "
            "per Container is 1, but limit is 4, maximum memory usage per Container is 1Gi, but "
            "limit is 2Gi; the run goes on by itself",
        ),
        (
            'Error creating: pods "tickets-train-0-x7k2p" is forbidden: nobody likes it',
            "PodsRefused",
            "Kubernetes refuses the pods of Job tickets-train: forbidden: nobody likes it",
        ),
    ],
    ids=["pod security", "webhook", "two limits", "unknown"],
)
def test_a_text_becomes_a_sentence(said: str, reason: str, sentence: str) -> None:
    told = explained(PODS, said, "PodsRefused")
    assert told.reason == reason
    assert told.message.startswith(sentence)
