"""Whether a job can be worked on. All problems at once, path first; never just the first one."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from finetune_api import jobconfig
from finetune_api.defaults import with_site_storage
from finetune_api.job import FineTuneJob, Storage
from finetune_api.status import ConditionType, FineTuneJobStatus
from finetune_operator.plan.actions import Verdict
from finetune_operator.status.conditions import Opinion


def read_job(
    manifest: Mapping[str, Any], site: Storage
) -> tuple[FineTuneJob | None, tuple[str, ...]]:
    """The job with the site's storage filled in, or what is wrong with it. Unknown fields are
    ignored: an older operator must survive a newer object, and typing errors are told by kubectl
    and the command line."""
    try:
        written = FineTuneJob.from_manifest(dict(manifest), strict=False)
    except ValidationError as error:
        return None, tuple(_sentence(details) for details in error.errors())
    job = with_site_storage(written, site)
    size = len(jobconfig.build(job).to_env().encode())
    if size > jobconfig.JOBCONFIG_LIMIT:
        return None, (_too_long(job, size),)
    return job, ()


def _too_long(job: FineTuneJob, size: int) -> str:
    blocks = {name: len(json.dumps(block)) for name, block in job.spec.to_wire().items()}
    longest = max(blocks, key=blocks.__getitem__)
    return (
        f"spec: has {size:,} bytes as JSON, {blocks[longest]:,} of them in spec.{longest}; "
        f"at most {jobconfig.JOBCONFIG_LIMIT:,} fit into a pod's environment: "
        "delete this job and create a shorter one"
    )


def read_status(manifest: Mapping[str, Any]) -> FineTuneJobStatus:
    """The status that is written; a part that cannot be read counts as absent, not as a crash."""
    raw = manifest.get("status") or {}
    try:
        return FineTuneJobStatus.model_validate(raw, extra="ignore")
    except ValidationError as error:
        broken = {str(details["loc"][0]) for details in error.errors() if details["loc"]}
        if not isinstance(raw, Mapping):
            return FineTuneJobStatus()
        rest = {field: value for field, value in raw.items() if field not in broken}
        return FineTuneJobStatus.model_validate(rest, extra="ignore")


def refused(problems: tuple[str, ...]) -> Verdict:
    """Nothing is made for a job that breaks a rule."""
    message = "; ".join(problems)
    return Verdict(conditions={ConditionType.VALIDATED: Opinion("False", "Invalid", message)})


def accepted() -> Verdict:
    """The specification is good."""
    opinion = Opinion("True", "Accepted", "the specification is valid")
    return Verdict(conditions={ConditionType.VALIDATED: opinion})


def _sentence(details: Any) -> str:
    path = ".".join(to_camel(part) if isinstance(part, str) else str(part)
                    for part in details["loc"])  # fmt: skip
    message = str(details["msg"]).removeprefix("Value error, ")
    return f"{path}: {message}" if path else message
