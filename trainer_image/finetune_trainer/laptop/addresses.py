"""A loopback address for each pod, with a supervisor's two ports free on it."""

import errno
import random
import socket

from finetune_api import names
from finetune_api.errors import UserError

TRIES = 50


def choose(pods: int) -> list[str]:
    """Addresses 127.x.y.z, all different; the whole block is this machine's own on Linux."""
    chosen: list[str] = []
    for _ in range(TRIES * pods):
        if len(chosen) == pods:
            return chosen
        address = ".".join(["127", *(str(random.randint(1, 254)) for _ in range(3))])  # noqa: S311
        if address not in chosen and _free(address):
            chosen.append(address)
    if len(chosen) == pods:
        return chosen
    raise UserError(
        f"no free loopback address for {pods} pods on ports {names.PORT_HTTP}, {names.PORT_GANG}",
        "end other runs on this machine; more than one pod needs Linux",
    )


def _free(address: str) -> bool:
    for port in (names.PORT_HTTP, names.PORT_GANG):
        with socket.socket() as probe:
            try:
                probe.bind((address, port))
            except OSError as error:
                if error.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
                    return False
                raise
    return True
