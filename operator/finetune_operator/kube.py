"""Every call to the Kubernetes API goes through here: the official client, as plain documents.

Decides nothing: no retries (the queue backs off), no caching. An answer that is not a success is
an ``ApiError`` with the server's own words.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import quote

import aiohttp
from kubernetes.aio import client, config

from finetune_api.base import GROUP, PLURAL, VERSION
from finetune_operator.metrics import Metrics


@dataclass(frozen=True)
class Resource:
    """A kind of object and where it lives."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """Group and version as objects carry them."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def root(self) -> str:
        """Path of the group and version."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"


FINETUNEJOBS = Resource(GROUP, VERSION, PLURAL, "FineTuneJob")
JOBS = Resource("batch", "v1", "jobs", "Job")
PODS = Resource("", "v1", "pods", "Pod")
SERVICES = Resource("", "v1", "services", "Service")
EVENTS = Resource("", "v1", "events", "Event")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")

METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
PAGE = 500


class ApiError(Exception):
    """The API server refused, failed or could not be reached (status 0)."""

    def __init__(self, status: int, reason: str, message: str, retry_after: float = 0.0) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after

    @property
    def is_missing(self) -> bool:
        """The object does not exist."""
        return self.status == 404

    @property
    def already_exists(self) -> bool:
        """An object of that name exists."""
        return self.status == 409 and self.reason == "AlreadyExists"

    @property
    def is_conflict(self) -> bool:
        """The object has changed since it was read."""
        return self.status == 409 and not self.already_exists

    @property
    def is_of_dying_namespace(self) -> bool:
        """Nothing can be created because the whole namespace is being deleted."""
        return self.status == 403 and "because it is being terminated" in self.message

    @property
    def is_expired(self) -> bool:
        """The snapshot that a list was read from is no longer kept."""
        return self.status == 410

    @property
    def is_refusal(self) -> bool:
        """The server understood and said no: quota, policy, admission, rights, invalid fields."""
        return self.status in (400, 403, 422)


@dataclass(frozen=True)
class Credentials:
    """Where the API server is and how to prove who asks."""

    server: str
    ca_path: str | None
    token: str | None
    certificate_path: str | None
    private_key_path: str | None
    proxy_url: str | None
    insecure: bool


async def _configuration(kubeconfig: Path | None) -> client.Configuration:
    configuration = client.Configuration()
    if kubeconfig is not None:
        await config.load_kube_config(  # type: ignore[no-untyped-call]
            str(kubeconfig), client_configuration=configuration
        )
    else:
        config.load_incluster_config(  # type: ignore[no-untyped-call]
            client_configuration=configuration
        )
    return configuration


class Kube:
    """The API server, seen by one operator process."""

    def __init__(
        self,
        api: client.ApiClient,
        metrics: Metrics,
        *,
        kubeconfig: Path | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._api = api
        self._kubeconfig = kubeconfig
        self._metrics = metrics
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=5)

    @classmethod
    async def connect(cls, kubeconfig: Path | None, metrics: Metrics) -> "Kube":
        """Use a kubeconfig, or else the service account that the pod was given."""
        configuration = await _configuration(kubeconfig)
        configuration.connection_pool_maxsize = 32
        api = client.ApiClient(configuration)
        api.user_agent = "finetune-operator"
        return cls(api, metrics, kubeconfig=kubeconfig)

    async def credentials(self) -> Credentials:
        """What another client connects with. Read anew each time: tokens are replaced while we
        run."""
        configuration = await _configuration(self._kubeconfig)
        return Credentials(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            token=configuration.api_key.get("BearerToken", "").partition(" ")[2].strip() or None,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
            proxy_url=configuration.proxy,
            insecure=not configuration.verify_ssl,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def serves(self, resource: Resource) -> bool:
        """Whether the API server knows the kind."""
        try:
            answer = await self._call("GET", resource, resource.root, verb="discover")
        except ApiError as error:
            if error.is_missing:
                return False
            raise
        return any(r["name"] == resource.plural for r in answer.get("resources", []))

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        """One object, read from the server and not from a cache."""
        return await self._call("GET", resource, _path(resource, namespace, name), verb="get")

    async def list(
        self, resource: Resource, namespace: str, field_selector: str
    ) -> list[dict[str, Any]]:
        """The objects that match, at most 100."""
        answer = await self._call(
            "GET", resource, _path(resource, namespace), verb="list",
            query={"fieldSelector": field_selector, "limit": "100"},
        )  # fmt: skip
        return list(answer.get("items", []))

    async def metadata_page(
        self, resource: Resource, namespace: str, selector: str, continuation: str
    ) -> dict[str, Any]:
        """A page of objects without spec and status, in a namespace or, without one, in all.

        All pages of one list show the same moment: the resourceVersion of the list.
        """
        query = {"limit": str(PAGE), "labelSelector": selector, "continue": continuation}
        return await self._call(
            "GET", resource, _path(resource, namespace), verb="list", accept=METADATA_ONLY,
            query={name: value for name, value in query.items() if value},
        )  # fmt: skip

    async def create(self, resource: Resource, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create the object in its own namespace."""
        path = _path(resource, body["metadata"]["namespace"])
        return await self._call("POST", resource, path, verb="create", body=body)

    async def is_dying(self, namespace: str) -> bool:
        """Whether a namespace is being deleted. Without the right to read it, only the attempt to
        create something tells; a dry run leaves nothing behind."""
        metadata = {"name": "probe", "namespace": namespace}
        body = {"apiVersion": "v1", "kind": "Event", "metadata": metadata}
        body["involvedObject"] = {"kind": "Namespace", "name": namespace, "namespace": namespace}
        try:
            await self._call(
                "POST", EVENTS, _path(EVENTS, namespace), verb="create", body=body,
                query={"dryRun": "All"},
            )  # fmt: skip
        except ApiError as error:
            return error.is_of_dying_namespace
        return False

    async def replace(self, resource: Resource, body: Mapping[str, Any]) -> dict[str, Any]:
        """Write the whole object, only if it still has the body's resourceVersion."""
        metadata = body["metadata"]
        path = _path(resource, metadata["namespace"], metadata["name"])
        return await self._call("PUT", resource, path, verb="update", body=body)

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str
    ) -> dict[str, Any]:
        """Delete exactly this object and, before it, what it owns."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Foreground",
            "preconditions": {"uid": uid},
        }
        path = _path(resource, namespace, name)
        return await self._call("DELETE", resource, path, verb="delete", body=options)

    async def patch_status(
        self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Merge into the status. With a resourceVersion in the body, only if nothing changed."""
        path = f"{_path(resource, namespace, name)}/status"
        return await self._call("PATCH", resource, path, verb="patch", body=body)

    async def _call(
        self,
        method: str,
        resource: Resource,
        path: str,
        *,
        verb: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        accept: str = "application/json",
    ) -> dict[str, Any]:
        headers = {"Accept": accept, "Content-Type": "application/json"}
        if method == "PATCH":
            headers["Content-Type"] = "application/merge-patch+json"
        started = perf_counter()
        code = 0
        try:
            _, url, headers, content, _ = await self._api.param_serialize(
                method, path, header_params=headers, body=body,
                query_params=list((query or {}).items()), auth_settings=["BearerToken"],
            )  # fmt: skip
            response = await self._api.call_api(
                method, url, headers, content, _request_timeout=self._timeout
            )
            code = response.status
            text = await response.read()  # type: ignore[no-untyped-call]
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise ApiError(0, "Unreachable", f"{type(error).__name__}: {error}") from error
        finally:
            self._metrics.api_call(verb, resource.plural, code, perf_counter() - started)
        return _answer(code, text, response.headers)


def _path(resource: Resource, namespace: str, name: str = "") -> str:
    place = f"/namespaces/{quote(namespace)}" if namespace else ""
    path = f"{resource.root}{place}/{resource.plural}"
    return f"{path}/{quote(name)}" if name else path


def _answer(code: int, text: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        document = {}
    if not isinstance(document, dict):
        document = {}
    if 200 <= code < 300:
        return document
    wait = headers.get("Retry-After", "")
    raise ApiError(
        code,
        str(document.get("reason", "")),
        str(document.get("message") or text[:200].decode(errors="replace")),
        float(wait) if wait.isdigit() else 0.0,
    )
