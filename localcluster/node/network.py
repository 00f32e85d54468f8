"""Addresses without a network: a pod's IP is a loopback address that follows from its name.

So it is known before the pod exists, a replacement of an Indexed Job's pod keeps it, and the stable
host names of a headless Service can be translated without DNS.
"""

import hashlib
from typing import Any


def address(namespace: str, hostname: str, subdomain: str = "") -> str:
    """127.x.y.z with parts in 1..254: never in 127.0.0.x, where the cluster's servers are."""
    digest = hashlib.sha256(f"{namespace}/{subdomain}/{hostname}".encode()).digest()
    return "127." + ".".join(str(1 + byte % 254) for byte in digest[:3])


def pod_address(pod: dict[str, Any]) -> str:
    """The IP of a pod."""
    spec, metadata = pod["spec"], pod["metadata"]
    return address(metadata["namespace"], hostname(pod), spec.get("subdomain", ""))


def hostname(pod: dict[str, Any]) -> str:
    """What the pod calls itself."""
    return pod["spec"].get("hostname") or pod["metadata"]["name"]
