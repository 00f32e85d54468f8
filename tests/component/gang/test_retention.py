"""Old checkpoints leave the bucket while the run goes on, and nothing else does."""

from collections.abc import Callable

import boto3

from localcluster.s3 import S3
from tests.component.gang.gang import GangRun
from tests.component.gang.test_happy import expected_weights


def folders(run: GangRun) -> dict[str, set[str]]:
    """Names of objects by step."""
    found: dict[str, set[str]] = {}
    for item in run.store.list(run.output + "checkpoints/"):
        folder, _, name = item.key_relative.rpartition("/")
        found.setdefault(folder, set()).add(name)
    return found


def test_newest_best_and_pinned_stay(
    s3_gang: Callable[..., GangRun], storage_server: S3, bucket: str
) -> None:
    run = s3_gang(
        pods=2, checkpointing={"keepLast": 2, "keepBest": 1}, best=12, steps=28, seconds=0.15
    )
    for name in ("a0001/step-00000004/PINNED", "a0000/step-00000002/half.pt"):
        run.store.write_json(f"{run.output}checkpoints/{name}", {})
    s3 = boto3.client(
        "s3", endpoint_url=storage_server.endpoint, region_name="us-east-1",
        aws_access_key_id=storage_server.access_key,
        aws_secret_access_key=storage_server.secret_key,
    )  # fmt: skip
    for key in ("runs/demo/logs/x", "runs/demo-2/checkpoints/x"):
        s3.create_multipart_upload(Bucket=bucket, Key=key)
    run.start_all()
    assert run.wait() == 0, run.logs()
    stay = {f"a0001/step-{step:08d}" for step in (4, 12, 20, 24)}
    left = folders(run)
    assert set(left) == stay, run.logs()
    assert all("MANIFEST.json" in names for names in left.values())
    assert (run.read("checkpoints/a0001/step-00000012/MANIFEST.json") or {})["evalLoss"] == "0"
    uploads = s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    assert [upload["Key"] for upload in uploads] == ["runs/demo-2/checkpoints/x"]


def test_a_resumed_run_forgets_what_it_began_with(gang: Callable[..., GangRun]) -> None:
    run = gang(pods=1, checkpointing={"keepLast": 1, "keepBest": 0}, steps=24, seconds=0.1)
    run.order(0, 6, "crash")
    run.start_all()
    run.at_step(13, durable=12)
    assert list((run.folder / "pod-0" / "resume").iterdir()) == []
    assert run.wait() == 0, run.logs()
    assert run.weights() == expected_weights(24)
    assert set(folders(run)) == {"a0002/step-00000020"}
    left = sorted((run.folder / "bucket" / "checkpoints").rglob("step-*"))
    assert [path.name for path in left] == ["step-00000020"]
