"""S3 errors as sentences: which bucket or key, at which endpoint, and what to do."""

import re
from dataclasses import dataclass

from finetune_api.errors import JobError, StorageError, UserError
from finetune_api.exits import ExitClass

TRANSIENT_CODES = frozenset(
    {
        "SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "Throttling",
        "RequestLimitExceeded", "ThrottlingException", "OperationAborted", "500", "502", "503",
        "504", "429", "408",
    }
)  # fmt: skip
DIGEST_CODES = frozenset(
    {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch",
     "InvalidPart", "IncompleteBody"}
)  # fmt: skip
"""The server got other bytes than were sent."""
CREDENTIAL_CODES = frozenset(
    {"InvalidAccessKeyId", "XAdminUserNotFound", "SignatureDoesNotMatch", "InvalidToken",
     "AuthFailure"}
)  # fmt: skip
REGION_CODES = frozenset(
    {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException",
     "301", "400"}
)  # fmt: skip


class DamagedObjectError(StorageError):
    """An object's bytes are not those that its manifest or its store promised."""


class UnreachableError(JobError):
    """The storage has never answered: the address is wrong, or it is away. A pod that ends with
    this is tried again by its Job."""

    exit_class = ExitClass.STORAGE_UNREACHABLE


@dataclass(frozen=True)
class Where:
    """What a call was about, for its error."""

    bucket: str
    key: str
    endpoint: str
    region: str

    @property
    def uri(self) -> str:
        """The object's address."""
        return f"s3://{self.bucket}/{self.key}"


def sentence(code: str, detail: str, where: Where) -> JobError:
    """The error for an S3 error code."""
    at = f"at {where.endpoint}"
    if code == "NoSuchBucket":
        return UserError(
            f"bucket {where.bucket!r} does not exist {at}",
            "create the bucket or correct the uri in the job",
        )
    if code == "InvalidBucketName":
        text = f"{where.bucket!r} cannot be a bucket's name"
        return UserError(text, "correct the uri in the job")
    if code in ("NoSuchKey", "404", "NotFound"):
        return UserError(f"{where.uri} does not exist {at}", "correct the uri in the job")
    if code in CREDENTIAL_CODES:
        return UserError(
            f"the storage {at} refuses the credentials for {where.uri} ({code})",
            "correct the access key and secret in the Secret of spec.storage.secretName",
        )
    if code in ("ExpiredToken", "TokenRefreshRequired"):
        return UserError(
            f"the session token for {where.uri} {at} has expired ({code})",
            "renew the Secret of spec.storage.secretName",
        )
    if code in ("AccessDenied", "403", "Forbidden", "AllAccessDisabled"):
        return UserError(
            f"the credentials may not access {where.uri} {at} ({code})",
            "allow listing, reading and writing below this prefix",
        )
    if code in DIGEST_CODES:
        return DamagedObjectError(
            f"the bytes of {where.uri} were changed on their way to the storage {at} ({code})",
            "the network or a proxy in between damages data: look there",
        )
    if code == "RequestTimeTooSkewed":
        return UserError(
            f"the storage {at} refuses requests for {where.uri}: the clocks differ too much",
            "set the clock of this node or of the storage server",
        )
    if code in REGION_CODES:
        return UserError(
            f"bucket {where.bucket!r} is not in region {where.region!r}, or needs another "
            f"addressing {at} ({code})",
            "correct spec.storage.region, endpoint or addressing",
        )
    return StorageError(
        f"the storage {at} answered {code or 'an error'} for {where.uri}: {detail[:300]}",
        "see the storage server's log; the run continues from its last checkpoint when restarted",
    )


def unreachable(where: Where, detail: str, seconds: float, *, reached: bool) -> JobError:
    """The error for a storage that does not answer: a wrong address if it never did."""
    text = f"the storage at {where.endpoint} did not answer for {seconds:.0f} s ({detail[:200]})"
    if reached:
        return StorageError(text, "bring the storage back; the run continues from its checkpoint")
    return UnreachableError(
        text, "correct spec.storage.endpoint, or make it reachable from the pods"
    )


_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code:? (\d{3})|\b(\d{3}) [A-Z][a-z]+", re.IGNORECASE)


def code_of_text(text: str) -> str:
    """The S3 error code in the text of a bulk client's exception, or its HTTP status."""
    if found := _CODE.search(text):
        return found.group(1)
    if found := _STATUS.search(text):
        return found.group(1) or found.group(2)
    return ""
