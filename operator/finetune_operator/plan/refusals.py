"""What Kubernetes says when it refuses an object, in our words: why, whose numbers, what to do.

Its texts name pods that never existed and change with every try; the sentence does not.
"""

import re
from collections.abc import Callable
from typing import NamedTuple


class Blocker(NamedTuple):
    """What holds the run back."""

    reason: str
    message: str


class _Known(NamedTuple):
    pattern: re.Pattern[str]
    reason: str
    sentence: Callable[[str, re.Match[str]], str]


AGAIN = "the run goes on by itself"


def _quota(what: str, said: re.Match[str]) -> str:
    return (
        f"quota {said['quota']} of the namespace leaves no room for {what} ({said['numbers']}); "
        f"{AGAIN} once others end or the quota is raised"
    )


def _unset(what: str, said: re.Match[str]) -> str:
    return (
        f"quota {said['quota']} of the namespace refuses {what}, which leave out {said['fields']}; "
        f"{AGAIN} once a LimitRange of the namespace sets a default"
    )


def _priority_class(what: str, said: re.Match[str]) -> str:
    return (
        f"PriorityClass {said['name']} does not exist, so Kubernetes refuses {what}; {AGAIN} once "
        "it is created; spec.scheduling.priorityClassName can change while the job is suspended"
    )


def _account(what: str, said: re.Match[str]) -> str:
    return (
        f"ServiceAccount {said['name']} does not exist in this namespace, so Kubernetes refuses "
        f"{what}; {AGAIN} once it is created; spec.scheduling.serviceAccountName can change while "
        "the job is suspended"
    )


def _policy(what: str, said: re.Match[str]) -> str:
    return (
        f"{said['kind']} {said['name']} of the cluster denies {what}: {said['words']}; "
        f"{AGAIN} once it allows them: ask whoever keeps it"
    )


def _security(what: str, said: re.Match[str]) -> str:
    return (
        f"the pod security standard {said['level']} of the namespace denies {what}: "
        f"{said['words']}; {AGAIN} once the namespace allows them"
    )


def _limit_range(what: str, said: re.Match[str]) -> str:
    return (
        f"a LimitRange of the namespace denies {what}: {said['words']}; {AGAIN} once it allows "
        "them; spec.resources can change while the job is suspended"
    )


def _dying(what: str, said: re.Match[str]) -> str:
    return f"the namespace is being deleted and admits nothing new: it refuses {what}"


KNOWN = tuple(
    _Known(re.compile(pattern, re.DOTALL), reason, sentence)
    for pattern, reason, sentence in (
        (r"because it is being terminated", "NamespaceTerminating", _dying),
        (r"exceeded quota: (?P<quota>[^,]+), (?P<numbers>.+)", "QuotaExceeded", _quota),
        (r"failed quota: (?P<quota>[^:]+): must specify (?P<fields>.+)", "QuotaExceeded", _unset),
        (
            r"no PriorityClass with name (?P<name>\S+) was found",
            "MissingPriorityClass",
            _priority_class,
        ),
        (
            r"error looking up service account [^/]+/(?P<name>[^:]+): .* not found",
            "MissingServiceAccount",
            _account,
        ),
        (
            r"(?P<kind>ValidatingAdmissionPolicy) '(?P<name>[^']+)'.* denied request: "
            r"(?P<words>.+)",
            "PolicyDenied",
            _policy,
        ),
        (
            r'(?P<kind>admission webhook) "(?P<name>[^"]+)" denied the request: (?P<words>.+)',
            "PolicyDenied",
            _policy,
        ),
        (r'violates PodSecurity "(?P<level>[^"]+)": (?P<words>.+)', "PodSecurity", _security),
        (
            r"is forbidden: \[?(?P<words>(?:maximum|minimum|\S+ max limit to request ratio) "
            r".+?)\]?$",
            "LimitRange",
            _limit_range,
        ),
    )
)
NAMES_OF_TRIES = re.compile(r'^Error creating: |\bpods? "[^"]*" (is|are) ')


def explained(what: str, said: str, otherwise: str) -> Blocker:
    """Why ``what`` is refused. ``otherwise`` is the reason when the text is not a known one."""
    for known in KNOWN:
        found = known.pattern.search(said)
        if found is not None:
            return Blocker(known.reason, known.sentence(what, found))
    return Blocker(otherwise, f"Kubernetes refuses {what}: {NAMES_OF_TRIES.sub('', said)}")
