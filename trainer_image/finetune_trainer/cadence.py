"""How often a checkpoint is saved by time: what saving costs against what an interruption loses.

Young's rule: the two are least in sum when the time between checkpoints is the root of twice the
cost of one × the time between interruptions. Pure.
"""

import math
from collections.abc import Callable

SAVE_RATE = 300 * 10**6
"""Bytes a second that a pod's disk is assumed to take: half of what was measured on one disk."""
FIXED_SECONDS = 1.0
"""Of a save beside its bytes: ranks meet, files are made."""
POD_LIFE_SECONDS = 24 * 3600.0
"""Between two losses of one pod: on nodes that can be taken away. The more pods, the sooner one of
them is lost."""
LEAST, MOST = 60.0, 3600.0
MINUTE = 60.0


def checkpoint_seconds(
    saved: int,
    *,
    pods: int,
    upload_rate: float,
    minutes: int | None,
    by_steps: bool,
    tell: Callable[[str], None],
) -> float | None:
    """Seconds between checkpoints of ``saved`` bytes over all pods; None where the job counts steps
    alone. ``minutes``: what the job says. It is told why."""
    if by_steps:
        return None
    if minutes is not None:
        return minutes * MINUTE
    cost = FIXED_SECONDS + saved / pods / SAVE_RATE
    life = POD_LIFE_SECONDS / pods
    upload = saved / pods / upload_rate
    seconds = max(min(max(math.sqrt(2 * cost * life), LEAST), MOST), upload)
    tell(
        f"a checkpoint after {seconds / MINUTE:.0f} min as well: saving takes {cost:.0f} s, "
        f"uploading {upload:.0f} s, one of {pods} pods is assumed lost in {life / 3600:.1f} h"
    )
    return round(seconds, 1)
