"""The S3 server: buckets are folders below one root; real signatures, checksums, conditions."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from localcluster.build import S3_SERVER

ACCESS_KEY = "local-access-key"
SECRET_KEY = "local-secret-key"
REGION = "us-east-1"


def command(root: Path, port: int) -> list[str | Path]:
    """Serve the buckets below ``root`` on 127.0.0.1; metadata lies beside them, not in xattrs."""
    buckets, metadata = root / "buckets", root / "metadata"
    buckets.mkdir(parents=True, exist_ok=True)
    metadata.mkdir(parents=True, exist_ok=True)
    return [
        S3_SERVER.binary,
        f"--access={ACCESS_KEY}",
        f"--secret={SECRET_KEY}",
        f"--region={REGION}",
        f"--port=127.0.0.1:{port}",
        "--health=/healthz",
        "--quiet",
        "--keep-alive",
        "posix",
        f"--sidecar={metadata}",
        str(buckets),
    ]


@dataclass(frozen=True)
class S3:
    """How a client reaches the server."""

    endpoint: str
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    region: str = REGION

    @property
    def environment(self) -> dict[str, str]:
        """The standard variables of S3 clients."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
        }

    def client(self) -> Any:
        """A boto3 client."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 3}),
        )

    def make_bucket(self, name: str) -> None:
        """Make a bucket unless it is there."""
        try:
            self.client().create_bucket(Bucket=name)
        except ClientError as error:
            if error.response["Error"]["Code"] not in {
                "BucketAlreadyOwnedByYou",
                "BucketAlreadyExists",
            }:
                raise

    def upload_folder(self, folder: Path, bucket: str, prefix: str) -> int:
        """Put every file of a folder below a prefix; returns their number."""
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        client = self.client()
        for path in files:
            client.upload_file(str(path), bucket, f"{prefix}{path.relative_to(folder).as_posix()}")
        return len(files)
