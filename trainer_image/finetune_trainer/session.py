"""What all stages of a rank share, and how they leave together when one pod has to."""

from dataclasses import dataclass

from finetune_api.jobconfig import JobConfig
from finetune_api.progress import Plan
from finetune_trainer.config import Places
from finetune_trainer.distributed import Gang, bf16_works
from finetune_trainer.model.quantized import Storage
from finetune_trainer.telemetry.channel import Channel


class Stopped(Exception):  # noqa: N818  (an outcome, not an error)
    """A stop request arrived during a long pass; all ranks leave together."""


@dataclass(frozen=True)
class Session:
    """One rank of one run."""

    job: JobConfig
    plan: Plan
    places: Places
    gang: Gang
    channel: Channel

    @property
    def autocast(self) -> bool:
        """Compute in bfloat16 where the plan wants it and the device can."""
        return self.plan.precision == "bf16" and bf16_works(self.gang.device)

    @property
    def storage(self) -> Storage | None:
        """How the base is stored, when it is quantised."""
        qlora = self.job.spec.method.qlora
        return Storage(qlora.quantization, self.autocast, self.gang.device) if qlora else None

    def leave_if_asked(self) -> None:
        """Stopped, on all ranks together, when one pod has been asked to stop. Between batches of
        long passes."""
        if self.gang.any(self.places.stop_request.exists()):
            raise Stopped

    def beat(self) -> None:
        """This rank moves, at the step it has reached."""
        self.channel.heartbeat(self.channel.step)
