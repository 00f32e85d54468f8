"""The headless Service that gives the training pods stable host names."""

from typing import Any

from finetune_api import names
from finetune_operator.render.metadata import Owner, metadata


def service(owner: Owner) -> dict[str, Any]:
    """Names exist before pods are ready: the gang has to meet before it can be ready."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(owner, names.service(owner.name), names.ROLE_TRAIN),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {names.LABEL_JOB: owner.name, names.LABEL_ROLE: names.ROLE_TRAIN},
            "ports": [
                {"name": "http", "port": names.PORT_HTTP},
                {"name": "gang", "port": names.PORT_GANG},
            ],
        },
    }
