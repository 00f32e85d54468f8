"""Errors that are a user's to mend: what is wrong, where, and what to do; never a stack trace."""

from finetune_api.exits import ExitClass, Failure


class JobError(Exception):
    """A run cannot go on; carries the class, the sentence and the remedy."""

    exit_class = ExitClass.INTERNAL_ERROR

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def failure(self) -> Failure:
        """The error as it travels, cut to the limits of the document."""
        return Failure(
            exit_class=self.exit_class, message=self.message[:1500], remedy=self.remedy[:500]
        )


class UserError(JobError):
    """The job asks for something that cannot be: configuration, model, credentials, devices."""

    exit_class = ExitClass.USER_ERROR


class DataError(JobError):
    """The dataset cannot be used as it is."""

    exit_class = ExitClass.DATA_ERROR


class OutOfMemoryError(JobError):
    """The smallest plan does not fit."""

    exit_class = ExitClass.OUT_OF_MEMORY


class GateNotMetError(JobError):
    """The tuned model is not better than its base by what was asked for."""

    exit_class = ExitClass.GATE_NOT_MET


class NonFiniteError(JobError):
    """The loss became NaN or infinite."""

    exit_class = ExitClass.NON_FINITE


class StorageError(JobError):
    """The storage could not be reached for longer than the limit."""

    exit_class = ExitClass.STORAGE_LOST
