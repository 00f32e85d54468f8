"""Work in a process of its own, whose memory is given back when it ends.

The process is a copy of this one, so that nothing is imported twice. Threads are not copied: work
uses nothing that has started some before.
"""

import gc
import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from finetune_api.errors import OutOfMemoryError

Result = TypeVar("Result")


def apart(work: Callable[[], Result], what: str) -> Result:
    """What ``work`` returns; what it raises is raised here.

    OutOfMemoryError when its process was killed; ``what`` names the work in the sentence.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(work, sender))
    process.start()
    sender.close()
    try:
        result, error = receiver.recv()
    except EOFError:
        process.join()
        raise OutOfMemoryError(
            f"{what} was killed (exit code {process.exitcode}), most likely for want of memory",
            "set a larger resources.prepare.memory",
        ) from None
    finally:
        process.kill()
        process.join()
        receiver.close()
    if error is not None:
        raise error
    return result  # type: ignore[no-any-return]


def _work(work: Callable[[], Any], sender: Connection) -> None:
    # A collection would copy every page of what was imported.
    gc.freeze()
    try:
        outcome = work(), None
    except BaseException as error:
        outcome = None, error
    sender.send(outcome)
