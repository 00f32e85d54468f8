"""From a container of a pod to one start of it: command line, variables, working directory."""

import json
from pathlib import Path
from typing import Any

from localcluster.node.environment import ConfigError, Sources, expand, variables
from localcluster.node.fields import Fields
from localcluster.node.network import group, hostname
from localcluster.node.places import Places
from localcluster.node.runner import Image, Launch

SYSTEM_PATH = ("/usr/local/bin", "/usr/bin", "/bin")
ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
TERMINATION_LOG = "/dev/termination-log"


async def launch(
    container: dict[str, Any],
    folder: Path,
    *,
    image: Image,
    mounts: dict[str, str],
    fields: Fields,
    sources: Sources,
    scratch: Path,
    server: str,
) -> Launch:
    """Everything a runner must know; raises ConfigError while a named object is missing."""
    said = await variables(container, fields, sources)
    pod = fields.pod
    command = container.get("command") or list(image.entrypoint)
    argv = [expand(word, said) for word in [*command, *container.get("args", [])]]
    if not argv:
        raise ConfigError("no command specified")
    scratch.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    draft = Launch(pod, container["name"], folder, argv, {}, "")
    paths = mounts | {
        container.get("terminationMessagePath", TERMINATION_LOG): str(draft.termination_message)
    }
    namespace, subdomain = pod["metadata"]["namespace"], pod["spec"].get("subdomain", "")
    places = Places(paths, namespace, subdomain, group(pod))
    env = {
        "PATH": ":".join([*image.path, *SYSTEM_PATH]),
        "LANG": "C.UTF-8",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "HOSTNAME": hostname(pod),
        **image.env,
        **_account(mounts, scratch, server, namespace),
        **{name: places.translate(value) for name, value in said.items()},
    }
    working = Path(places.translate(container.get("workingDir", "")) or scratch)
    cwd = str(working if working.is_dir() else scratch)
    return Launch(
        pod, container["name"], folder, [places.translate(word) for word in argv], env, cwd
    )


def _account(mounts: dict[str, str], scratch: Path, server: str, namespace: str) -> dict[str, str]:
    """Clients look for the account's token at a fixed path, which no process has here.

    They look at KUBECONFIG too, so a pod with a token gets a kubeconfig that names its file.
    """
    folder = mounts.get(ACCOUNT_FOLDER)
    if folder is None:
        return {}
    context = {"cluster": "local", "user": "account", "namespace": namespace}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "local",
                "cluster": {"server": server, "certificate-authority": f"{folder}/ca.crt"},
            }
        ],
        "users": [{"name": "account", "user": {"tokenFile": f"{folder}/token"}}],
        "contexts": [{"name": "local", "context": context}],
        "current-context": "local",
    }
    path = scratch.parent / "kubeconfig"
    path.write_text(json.dumps(document))
    return {"KUBECONFIG": str(path)}
