"""The first failing rank's message is told, never a peer's echo."""

import pytest

from finetune_api.exits import ExitClass, Failure
from finetune_trainer.gang.failures import Seen, cause, of_event, of_exit, patience
from finetune_trainer.gang.ledger import Trace
from finetune_trainer.gang.members import Member, straggler


def seen(
    at: float, message: str, *, told: bool = True, code: int = 1,
    kind: ExitClass = ExitClass.RANK_FAILED,
) -> Seen:  # fmt: skip
    """A failure."""
    return Seen(at, Failure(exit_class=kind, message=message), told, pod=0, exit_code=code)


ECHOES = [
    "RuntimeError: [../gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:3",
    "torch.distributed.DistBackendError: NCCL error: remote process exited or there was a network",
    "ConnectionResetError: [Errno 104] Connection reset by peer",
    "RuntimeError: Broken pipe",
    "DistStoreError: Socket Timeout",
]


@pytest.mark.parametrize("echo", ECHOES)
def test_an_echo_that_comes_first_is_not_the_cause(echo: str) -> None:
    told = cause([seen(1.0, echo), seen(1.4, "ValueError: bad label")])
    assert told.failure.message == "ValueError: bad label"
    killed = Seen(2.0, of_exit(3, -9, 7, []), told=False, pod=1, exit_code=-9)
    assert cause([seen(1.0, echo), killed]).failure.message == "rank 3 was killed by SIGKILL"


def test_of_two_causes_the_first_is_told() -> None:
    assert cause([seen(2.0, "second"), seen(1.0, "first")]).failure.message == "first"


def test_a_stated_class_outweighs_a_crash() -> None:
    stated = seen(2.0, "label 'x' is unknown", kind=ExitClass.DATA_ERROR)
    assert cause([seen(1.0, "KeyError: 'x'"), stated]) is stated


def test_an_exit_without_a_word_is_told_with_the_logs_last_line() -> None:
    failure = of_exit(2, 7, 5, ["Traceback", "OSError: disk full", "  "])
    assert failure.message == "rank 2 exited with code 7 without saying why"
    assert "OSError: disk full" in failure.remedy


def test_an_event_of_an_unknown_class_is_a_failed_rank() -> None:
    failure = of_event(1, {"class": "Strange", "message": "x" * 9999}, 4)
    assert failure.exit_class is ExitClass.RANK_FAILED
    assert len(failure.message) == 1500
    assert failure.step == 4


def test_how_long_to_wait_for_the_cause() -> None:
    echo, crash = seen(1.0, ECHOES[0]), seen(1.0, "ValueError: bad label")
    killed = Seen(1.0, of_exit(3, -9, 7, []), told=False, pod=1, exit_code=-9)
    waits = [patience(s, 1.5, 5.0) for s in ([echo], [echo, crash], [echo, crash, killed])]
    assert waits == [6.5, 1.5, 0.3]


START = Trace(1, 0.0, 0)


def test_the_straggler_is_named_and_not_the_ranks_that_wait_for_it() -> None:
    waiting = Member(0, None, "a", "n", START, ranks={"0": (6, 9.0, True), "1": (6, 9.1, True)})  # type: ignore[arg-type]
    hanging = Member(1, None, "b", "n", START, ranks={"2": (5, 8.9, False), "3": (6, 9.0, True)})  # type: ignore[arg-type]
    assert straggler([waiting, hanging]) == (hanging, 2)
    assert straggler([hanging, waiting]) == (hanging, 2)
    quiet = Member(0, None, "a", "n", START, ranks={"0": (6, 3.0, False)})  # type: ignore[arg-type]
    assert straggler([quiet]) is None
