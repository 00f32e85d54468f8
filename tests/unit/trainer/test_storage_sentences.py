"""Error codes that the test server never gives: each says what, where and what to do."""

import pytest

from finetune_api.errors import StorageError, UserError
from finetune_trainer.storage import faults

WHERE = faults.Where("bucket", "data/rows.jsonl", "https://s3.example", "eu-west-1", "s3")


@pytest.mark.parametrize(
    ("code", "says", "remedy"),
    [
        ("NoSuchBucket", "bucket 'bucket' does not exist", "create the bucket"),
        ("NoSuchKey", "s3://bucket/data/rows.jsonl does not exist", "correct the uri"),
        ("AccessDenied", "may not access s3://bucket/data/rows.jsonl", "allow them to list"),
        (
            "ExpiredToken",
            "session token for s3://bucket/data/rows.jsonl",
            "renew it in Secret 's3'",
        ),
        (
            "RequestTimeTooSkewed",
            "its clock and the clock of the pod's node differ too much",
            "set the clock",
        ),
        ("PermanentRedirect", "for region 'eu-west-1'", "spec.storage.endpoint, region"),
        ("AuthorizationHeaderMalformed", "for region 'eu-west-1'", "spec.storage.endpoint, region"),
    ],
)
def test_the_users_errors(code: str, says: str, remedy: str) -> None:
    error = faults.sentence(code, "detail", WHERE)
    assert isinstance(error, UserError)
    assert says in error.message
    assert "https://s3.example" in error.message
    assert remedy in error.remedy


def test_an_unknown_code_is_the_storages_error() -> None:
    error = faults.sentence("Strange", "what it said", WHERE)
    assert isinstance(error, StorageError)
    assert "Strange" in error.message
    assert "what it said" in error.message


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("… 403 Forbidden: <Error><Code>AccessDenied</Code>", "AccessDenied"),
        ("Server returned non-2xx status code: 503 Service Unavailable:", "503"),
        ("error sending request", ""),
    ],
)
def test_codes_are_found_in_the_bulk_clients_text(text: str, code: str) -> None:
    assert faults.code_of_text(text) == code
