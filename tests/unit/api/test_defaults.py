"""Site settings fill what a job leaves out, and never what it says."""

from finetune_api import jobconfig
from finetune_api.defaults import with_site_storage
from finetune_api.job import FineTuneJob, Storage

HELLO = {
    "metadata": {"name": "hello"},
    "spec": {
        "task": "TextClassification",
        "model": {"uri": "s3://models/base/"},
        "dataset": {"train": {"uri": "s3://data/rows.jsonl"}},
        "method": {"lora": {}},
        "output": {"uri": "s3://models/hello/"},
    },
}

SITE = Storage(endpoint="http://s3.site", region="eu-north-1", secret_name="site-secret")


def test_the_site_fills_what_the_job_leaves_out() -> None:
    storage = with_site_storage(FineTuneJob.from_manifest(HELLO), SITE).spec.storage
    assert (storage.endpoint, storage.region) == ("http://s3.site", "eu-north-1")
    assert storage.secret_name == "site-secret"


def test_the_job_wins_over_the_site() -> None:
    job = FineTuneJob.from_manifest(
        {**HELLO, "spec": {**HELLO["spec"], "storage": {"secretName": "mine"}}}
    )
    assert with_site_storage(job, SITE).spec.storage.secret_name == "mine"


def test_a_region_is_always_known() -> None:
    job = with_site_storage(FineTuneJob.from_manifest(HELLO), Storage())
    assert job.spec.storage.region == "us-east-1"


def test_another_address_of_the_storage_is_the_same_run() -> None:
    job = FineTuneJob.from_manifest(HELLO)
    there = with_site_storage(job, SITE)
    assert jobconfig.identity_hash(job.spec) == jobconfig.identity_hash(there.spec)
    assert jobconfig.inputs_hash(job.spec) == jobconfig.inputs_hash(there.spec)
