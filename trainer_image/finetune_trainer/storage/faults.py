"""S3 errors as sentences: which bucket or key, at which endpoint, and what to do."""

import html
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

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
     "301", "307", "308"}
)  # fmt: skip


class DamagedObjectError(StorageError):
    """An object's bytes are not those that its manifest or its store promised."""


class PlaceError(UserError):
    """Something is wrong with one address; others of the job may be wrong as well."""


class RefusedError(UserError):
    """The storage refuses what it is shown: a user's mistake before a run, and within one mostly
    credentials that have ended, which a renewed Secret mends."""


class ForbiddenError(PlaceError, RefusedError):
    """The storage refuses one address."""


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
    secret: str = ""
    """Name of the credentials' Secret, if there is one."""

    @property
    def credentials(self) -> str:
        """Where the credentials came from."""
        return secret_words(self.secret) if self.secret else "the pod's own identity"

    @property
    def uri(self) -> str:
        """The object's address."""
        return f"s3://{self.bucket}/{self.key}"


def secret_words(name: str) -> str:
    """The credentials' Secret as sentences call it."""
    return f"Secret {name!r} (spec.storage.secretName)"


def sentence(code: str, detail: str, where: Where) -> JobError:
    """The error for an S3 error code."""
    at = f"at {where.endpoint}"
    if code == "NoSuchBucket":
        return PlaceError(
            f"bucket {where.bucket!r} does not exist {at}",
            "create the bucket or correct the uri in the job",
        )
    if code == "InvalidBucketName":
        text = f"{where.bucket!r} cannot be a bucket's name"
        return PlaceError(text, "correct the uri in the job")
    if code in ("NoSuchKey", "404", "NotFound"):
        return PlaceError(f"{where.uri} does not exist {at}", "correct the uri in the job")
    if code in CREDENTIAL_CODES:
        return RefusedError(
            f"the storage {at} refuses the credentials for {where.uri} ({code})",
            f"correct access key and secret key in {where.credentials}",
        )
    if code in ("ExpiredToken", "TokenRefreshRequired"):
        return RefusedError(
            f"the session token for {where.uri} {at} has expired ({code})",
            f"renew it in {where.credentials}",
        )
    if code in ("AccessDenied", "403", "Forbidden", "AllAccessDisabled"):
        return ForbiddenError(
            f"the credentials of {where.credentials} may not access {where.uri} {at} ({code})",
            "allow them to list and read models and datasets, and to write below output.uri",
        )
    if code in DIGEST_CODES:
        return DamagedObjectError(
            f"the bytes of {where.uri} were changed on their way to the storage {at} ({code})",
            "the network or a proxy in between damages data: look there",
        )
    if code == "RequestTimeTooSkewed":
        return RefusedError(
            f"the storage {at} refuses requests for {where.uri}: its clock and the clock of the "
            f"pod's node differ too much ({code})",
            "set the clock of the node or of the storage server",
        )
    if code in REGION_CODES:
        return _elsewhere(code, detail, where)
    return StorageError(
        f"the storage {at} answered {code or 'an error'} for {where.uri}: {detail[:300]}",
        "see the storage server's log; the run continues from its last checkpoint when restarted",
    )


def _elsewhere(code: str, detail: str, where: Where) -> UserError:
    """Another region or address serves the bucket; some servers say which."""
    text = (
        f"the storage at {where.endpoint} does not serve bucket {where.bucket!r} for region "
        f"{where.region!r} under this address ({code})"
    )
    found = _EXPECTED.search(html.unescape(detail))
    if found:
        region = found[1] or found[2]
        return UserError(
            f"{text}; it expects region {region!r}", f"set spec.storage.region to {region}"
        )
    return UserError(text, "correct spec.storage.endpoint, region or addressing")


def not_s3(where: Where, answered: str) -> RefusedError:
    """The error for a server that answers, but not as S3 does."""
    return RefusedError(
        f"the server at {where.endpoint} is no S3 storage: asked for {where.uri}, it answered "
        f"with {answered}",
        "correct spec.storage.endpoint: the address of the S3 API, not of a web console or proxy",
    )


def unreachable(where: Where, why: str, seconds: float, *, proven: bool) -> JobError:
    """The error for a storage that does not answer. ``proven``: it has worked for this job."""
    text = f"the storage at {where.endpoint} was not reached for {seconds:.0f} s: {why}"
    if proven:
        return StorageError(text, "bring the storage back; the run continues from its checkpoint")
    return UnreachableError(
        text, "bring the storage back, or correct spec.storage.endpoint if it is wrong"
    )


def silence(error: Exception, where: Where) -> str:
    """Why a connection failed, in words, from a client's exception."""
    text = " ".join(str(getattr(error, "kwargs", {}).get("error", error)).split())
    host = urlsplit(where.endpoint).hostname
    reasons = (
        (r"resolve|Name or service not known|dns error", f"the host name {host} is not known"),
        (r"refused", "nothing listens at this address"),
        (r"ConnectTimeout|[Cc]onnect timeout", "no connection was made in time"),
        (r"Read ?timeout|[Rr]ead timed out", "it did not answer in time"),
        (
            r"closed before we received|reset by peer",
            "it closes the connection without an answer, as a server does that wants https://",
        ),
    )
    return next((why for pattern, why in reasons if re.search(pattern, text)), "no connection")


def untrusted(error: Exception, where: Where) -> UserError:
    """The error for a server whose TLS certificate cannot be accepted, or that speaks no TLS."""
    text = " ".join(str(error).split())
    at = f"the storage at {where.endpoint}"
    if re.search(r"WRONG_VERSION_NUMBER|record layer|UNEXPECTED_MESSAGE", text):
        return UserError(f"{at} does not speak TLS", "write http:// in spec.storage.endpoint")
    if re.search(r"expired|not yet valid", text):
        return UserError(
            f"the certificate of {at} has expired or is not valid yet",
            "renew the server's certificate, or set the clock of the pod's node",
        )
    if re.search(r"doesn't match|mismatch|not valid for", text):
        names = re.search(r"doesn't match (?:either of )?(.+)$", text)
        told = f", it was issued for {names[1]}" if names else ""
        return UserError(
            f"the certificate of {at} is not for the name {urlsplit(where.endpoint).hostname!r}"
            f"{told}",
            "write a name of the certificate in spec.storage.endpoint, or issue it for this one",
        )
    return UserError(
        f"the certificate of {at} is not signed by an authority that is trusted here",
        "put the authority's certificate (PEM) under ca.crt into a Secret and name it in "
        "spec.storage.caSecretName",
    )


_EXPECTED = re.compile(r"expecting ['\"]?([\w-]+)|<Region>([\w-]+)")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code:? (\d{3})|\b(\d{3}) [A-Z][a-z]+", re.IGNORECASE)


def code_of_text(text: str) -> str:
    """The S3 error code in the text of a bulk client's exception, or its HTTP status."""
    if found := _CODE.search(text):
        return found.group(1)
    if found := _STATUS.search(text):
        return found.group(1) or found.group(2)
    return ""
