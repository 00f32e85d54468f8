"""The command lines of etcd, API server, controller manager and scheduler."""

from dataclasses import dataclass
from pathlib import Path

from localcluster.build import CONTROL_PLANE
from localcluster.certificates import Authority, write_token_key
from localcluster.kubeconfig import with_certificate

LOOPBACK = "127.0.0.1"
SERVICE_NAMES = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"]
AUDIT_POLICY = """apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- level: Metadata
  omitStages: [RequestReceived, ResponseStarted, Panic]
  verbs: [create, update, patch, delete, deletecollection]
- level: None
  userGroups: ["system:serviceaccounts:kube-system"]
- level: Metadata
  omitStages: [RequestReceived, Panic]
  userGroups: ["system:serviceaccounts"]
- level: None
"""
CLIENTS = {
    "admin": ("admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", None),
    "scheduler": ("system:kube-scheduler", None),
    "node": ("local-node", "system:masters"),
    "front-proxy": ("front-proxy", None),
}


@dataclass(frozen=True)
class Layout:
    """Where everything of one cluster lies, and on which ports it listens."""

    root: Path
    etcd: int
    etcd_peer: int
    api: int
    controller_manager: int
    scheduler: int
    s3: int

    @property
    def server(self) -> str:
        """Address of the API server."""
        return f"https://{LOOPBACK}:{self.api}"

    @property
    def certificates(self) -> Path:
        """Folder of keys and certificates."""
        return self.root / "certificates"

    @property
    def audit_log(self) -> Path:
        """One JSON line for each write request, and for each read by a service account: a watch
        has one when it begins."""
        return self.root / "logs" / "audit.jsonl"

    def kubeconfig(self, client: str) -> Path:
        """The kubeconfig of a client."""
        return self.root / f"{client}.kubeconfig"

    def program(self, name: str) -> list[str | Path]:
        """The start of a command line of the multi-call binary."""
        return [CONTROL_PLANE.binary, name]


def write_identities(layout: Layout) -> None:
    """Certificates, token key, audit policy and one kubeconfig for each client."""
    authority = Authority(layout.certificates)
    authority.issue_server("apiserver", SERVICE_NAMES, [LOOPBACK, "10.96.0.1"])
    write_token_key(layout.certificates / "tokens.key")
    (layout.root / "audit-policy.yaml").write_text(AUDIT_POLICY)
    for client, (user, group) in CLIENTS.items():
        authority.issue_client(client, user, group)
        with_certificate(layout.kubeconfig(client), layout.server, layout.certificates, client)


def etcd_command(layout: Layout) -> list[str | Path]:
    """etcd without fsync: a test cluster may lose its last second with the machine."""
    client = f"http://{LOOPBACK}:{layout.etcd}"
    peer = f"http://{LOOPBACK}:{layout.etcd_peer}"
    return [
        *layout.program("etcd"),
        f"--data-dir={layout.root / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def apiserver_command(layout: Layout) -> list[str | Path]:
    """RBAC, service-account tokens, pod security admission, an audit log of every write."""
    folder = layout.certificates
    return [
        *layout.program("kube-apiserver"),
        f"--etcd-servers=http://{LOOPBACK}:{layout.etcd}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={layout.api}",
        f"--client-ca-file={folder / 'ca.crt'}",
        f"--tls-cert-file={folder / 'apiserver.crt'}",
        f"--tls-private-key-file={folder / 'apiserver.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder / 'tokens.key'}",
        f"--service-account-signing-key-file={folder / 'tokens.key'}",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--authorization-mode=RBAC",
        "--endpoint-reconciler-type=none",
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={folder / 'ca.crt'}",
        "--requestheader-allowed-names=front-proxy",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={folder / 'front-proxy.crt'}",
        f"--proxy-client-key-file={folder / 'front-proxy.key'}",
        f"--audit-policy-file={layout.root / 'audit-policy.yaml'}",
        f"--audit-log-path={layout.audit_log}",
        "--audit-log-mode=blocking",
    ]


def controller_manager_command(layout: Layout) -> list[str | Path]:
    """All default controllers: Jobs, garbage collection, node life cycle, service accounts."""
    folder = layout.certificates
    config = layout.kubeconfig("controller-manager")
    return [
        *layout.program("kube-controller-manager"),
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={layout.controller_manager}",
        f"--service-account-private-key-file={folder / 'tokens.key'}",
        f"--root-ca-file={folder / 'ca.crt'}",
        f"--cert-dir={layout.root / 'controller-manager'}",
        "--use-service-account-credentials",
        "--leader-elect=false",
    ]


def scheduler_command(layout: Layout) -> list[str | Path]:
    """The scheduler with its default profile."""
    config = layout.kubeconfig("scheduler")
    return [
        *layout.program("kube-scheduler"),
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={layout.scheduler}",
        f"--cert-dir={layout.root / 'scheduler'}",
        "--leader-elect=false",
    ]
