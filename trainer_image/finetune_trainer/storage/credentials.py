"""Storage credentials: files of a mounted Secret, read anew at each use, else boto3's own chain.

A Secret can change while a run goes on (rotation); clients must follow without a restart.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from finetune_trainer.storage import faults

KEY_ID = "AWS_ACCESS_KEY_ID"
SECRET = "AWS_SECRET_ACCESS_KEY"  # noqa: S105  (a file's name)
TOKEN = "AWS_SESSION_TOKEN"  # noqa: S105
LIFETIME = timedelta(seconds=60)
"""How long the bulk client may use credentials before it asks again."""


@dataclass(frozen=True)
class Keys:
    """One set of credentials."""

    key_id: str
    secret: str
    token: str | None


class FileCredentials:
    """Credentials in the files of a folder, named like the environment variables."""

    def __init__(self, folder: Path, secret: str = "") -> None:
        self.folder = folder
        self.secret = secret

    def current(self) -> Keys:
        """The credentials as they are now; a user error when the Secret lacks a key."""
        values = {}
        for name in (KEY_ID, SECRET, TOKEN):
            try:
                values[name] = (self.folder / name).read_text().strip()
            except OSError:
                values[name] = ""
        missing = [name for name in (KEY_ID, SECRET) if not values[name]]
        if missing:
            raise faults.RefusedError(
                f"{faults.secret_words(self.secret)} has no {' and no '.join(missing)}",
                "put both keys into it",
            )
        return Keys(values[KEY_ID], values[SECRET], values[TOKEN] or None)


class ChainCredentials:
    """boto3's own chain: environment, web identity, instance profile."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def current(self) -> Keys:
        """The credentials that the chain gives now (it refreshes them itself)."""
        found = self.session.get_credentials()
        if found is None:
            raise faults.RefusedError(
                "no storage credentials were found",
                "set spec.storage.secretName, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
                "in the environment",
            )
        frozen = found.get_frozen_credentials()
        return Keys(frozen.access_key, frozen.secret_key, frozen.token)


def obstore_provider(source: FileCredentials | ChainCredentials) -> Any:
    """A callable in the shape that obstore asks for fresh credentials."""

    def provide() -> dict[str, Any]:
        keys = source.current()
        return {
            "access_key_id": keys.key_id,
            "secret_access_key": keys.secret,
            "token": keys.token,
            "expires_at": datetime.now(UTC) + LIFETIME,
        }

    return provide
