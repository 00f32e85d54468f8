"""Addresses without a network: a pod's IP is a loopback address of its owner and host name.

So it is known before the pod exists, a replacement of an Indexed Job's pod keeps it, and the stable
host names of a headless Service can be translated without DNS. The owner's uid keeps clusters apart
that run on one machine, and a Job from the one of the same name before it.
"""

import hashlib
from typing import Any


def address(group: str, hostname: str, subdomain: str = "") -> str:
    """127.x.y.z with parts in 1..254: never in 127.0.0.x, where the cluster's servers are."""
    digest = hashlib.sha256(f"{group}/{subdomain}/{hostname}".encode()).digest()
    return "127." + ".".join(str(1 + byte % 254) for byte in digest[:3])


def pod_address(pod: dict[str, Any]) -> str:
    """The IP of a pod."""
    return address(group(pod), hostname(pod), pod["spec"].get("subdomain", ""))


def group(pod: dict[str, Any]) -> str:
    """The pods that find each other by name: those of one owner, or of one namespace."""
    metadata = pod["metadata"]
    owners = metadata.get("ownerReferences", ())
    return next((o["uid"] for o in owners if o.get("controller")), metadata["namespace"])


def hostname(pod: dict[str, Any]) -> str:
    """What the pod calls itself."""
    return pod["spec"].get("hostname") or pod["metadata"]["name"]
