"""Defaults that are resolved when the plan is made, and where each comes from."""

from finetune_api.job import FineTuneJob, Storage
from finetune_api.learning import Objective
from finetune_api.method import Method

EPOCHS = 3.0
GLOBAL_BATCH = 32
BETA = 0.1
HELD_OUT_FRACTION = 0.05
REGION = "us-east-1"
CHECKPOINTS_PER_RUN = 10
PREPARE_TRIES = 4
"""Pods of prepare that may fail for other reasons than the user's, before the run is over."""
MIN_GRACE_SECONDS = 60
ZERO_STAGE = 2
"""Shards what grows with the ranks at no cost in messages; 3 sends the weights with each pass."""


LEARNING_RATES = {
    "full": 2e-5, "freeze": 2e-5, "headOnly": 1e-3, "lora": 2e-4, "qlora": 2e-4, "ia3": 5e-3,
    "promptTuning": 5e-3, "prefixTuning": 5e-3, "pTuning": 1e-3, "peft": 1e-3,
}  # fmt: skip
"""Peak learning rate by method: the fewer weights are trained, and the further they start from what
they are to be, the larger the step."""


SHIFT_SHARE = 0.05
"""Of a method's rate, where an objective only shifts what the base already knows: a large step
spoils it."""
SHIFTING = (Objective.DPO, Objective.KTO, Objective.GRPO)


def learning_rate(method: Method, objective: Objective | None = None) -> float:
    """Peak learning rate of a method for an objective."""
    share = SHIFT_SHARE if objective in SHIFTING else 1.0
    return LEARNING_RATES[method.kind] * share


def lora_alpha(rank: int) -> int:
    """Scale of the LoRA update when none is given: an update of twice the adapter's output."""
    return 2 * rank


def with_site_storage(job: FineTuneJob, site: Storage) -> FineTuneJob:
    """The job with what its ``storage`` leaves out filled from the site's settings."""
    given = job.spec.storage
    storage = given.model_copy(
        update={
            "secret_name": given.secret_name or site.secret_name,
            "ca_secret_name": given.ca_secret_name or site.ca_secret_name,
            "endpoint": given.endpoint or site.endpoint,
            "region": given.region or site.region or REGION,
        }
    )
    return job.model_copy(update={"spec": job.spec.model_copy(update={"storage": storage})})
