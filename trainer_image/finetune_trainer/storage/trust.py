"""Which authorities the storage's certificate may be signed by: a mounted file, else the usual.

The file is read anew at each use: a Secret can change while a run goes on (rotation).
"""

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from finetune_api.errors import UserError

BUNDLE = "AWS_CA_BUNDLE"
"""Where boto3 looks as well, for runs on a laptop."""
REMEDY = "put the authority's certificate (PEM) under ca.crt into it"


@dataclass(frozen=True)
class Authorities:
    """A file of certificates and its content; both None: those that the image trusts."""

    path: Path | None
    certificates: bytes | None


def authorities(path: Path | None, secret: str | None = None) -> Authorities:
    """The authorities as they are now; a user error when the file is missing or no PEM.
    ``secret`` is the name of the Secret that the file comes from."""
    source = f"Secret {secret!r} (spec.storage.caSecretName)"
    if path is None:
        bundle = os.environ.get(BUNDLE)
        if not bundle:
            return Authorities(None, None)
        path, source = Path(bundle), f"{BUNDLE}={bundle}"
    try:
        certificates = path.read_bytes()
    except OSError as error:
        raise UserError(f"{source} has no {path.name}", REMEDY) from error
    try:
        ssl.create_default_context(cadata=certificates.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise UserError(f"{path.name} in {source} is no certificate in PEM form", REMEDY) from error
    return Authorities(path, certificates)
