"""What the chart becomes: the default to the byte, then one test for each value that changes it."""

import os
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from finetune_api.job import FineTuneJob
from finetune_operator.__main__ import parser, settings_from
from finetune_operator.settings import Settings
from finetune_operator.workqueue import Key

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "finetune-operator"
GOLDEN = Path(__file__).parent / "golden" / "default.yaml"
RELEASE = "finetune-operator"
OLDEST, NEWEST = "1.31.0", "1.37.0"
EVERYTHING: dict[str, Any] = {
    "image": {"pullSecrets": [{"name": "registry-login"}]},
    "operator": {"replicas": 2},
    "watch": {"namespaces": ["team-a", "team-b"]},
    "rbac": {"userRoles": True},
    "serviceAccount": {"annotations": {"example.com/owner": "platform"}},
    "jobs": {
        "storage": {
            "endpoint": "https://s3.site",
            "caSecretName": "site-ca",
            "region": "eu",
            "secretName": "keys",
        }
    },
    "networkPolicy": {
        "enabled": True,
        "from": [{"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}],
    },
    "podAnnotations": {"a": "b"},
    "podLabels": {"cost-centre": "ml"},
    "nodeSelector": {"infra": "yes"},
    "tolerations": [{"key": "infra", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"nodeAffinity": {}},
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "finetune-operator"}},
        }
    ],
    "priorityClassName": "system-cluster-critical",
}
"""Every template and every optional part of one."""


def pod(objects: dict) -> dict[str, Any]:
    return objects["Deployment", RELEASE]["spec"]["template"]["spec"]


def container(objects: dict) -> dict[str, Any]:
    return pod(objects)["containers"][0]


def settings(objects: dict) -> Settings:
    """What the operator itself makes of the rendered command line."""
    return settings_from(parser().parse_args(container(objects)["args"]))


def at(node: Any, path: str) -> Any:
    for key in path.split("/"):
        node = node[int(key)] if isinstance(node, list) else node[key]
    return node


def test_the_default_is_the_golden_one(render) -> None:
    """`UPDATE_GOLDENS=1 pytest tests/chart` writes it anew."""
    objects = {key: item for key, item in render().items() if key[0] != "CustomResourceDefinition"}
    text = yaml.safe_dump_all(objects.values(), sort_keys=False)
    if os.environ.get("UPDATE_GOLDENS"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_the_resource_is_the_one_in_crds(render) -> None:
    rendered = render()["CustomResourceDefinition", "finetunejobs.finetune.dev"]
    assert rendered["spec"] == yaml.safe_load((ROOT / "crds/finetunejobs.yaml").read_text())["spec"]


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["default", "everything"])
def test_every_object_is_valid_for_kubernetes(render, version: str, values: dict) -> None:
    objects = render(values, "--kube-version", version)
    assert len(objects) >= 7
    for item in objects.values():
        kubernetes_validate.validate(item, version, strict=True)


def test_an_older_kubernetes_is_refused_with_the_version_that_is_needed(helm) -> None:
    said = helm.attempt("template", "x", CHART, "--kube-version", "1.30.9").stderr
    assert "requires kubeVersion: >=1.31.0-0" in said


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["default", "everything"])
def test_helm_has_nothing_to_complain_about(helm, values: dict) -> None:
    assert "1 chart(s) linted, 0 chart(s) failed" in helm.run(
        "lint", "--strict", CHART, values=values
    )


def test_defaults_of_the_chart_are_defaults_of_the_operator(render) -> None:
    assert settings(render()) == Settings(lease=Key("finetune-system", RELEASE))


def test_every_flag_of_the_operator_is_reachable(render) -> None:
    flags = {name for action in parser()._actions for name in action.option_strings}
    of_no_site = {"-h", "--help", "--kubeconfig"}
    args = container(render(EVERYTHING))["args"]
    assert {word.partition("=")[0] for word in args} == flags - of_no_site


@pytest.mark.parametrize(
    ("values", "field", "expected"),
    [
        ({"watch": {"namespaces": ["a", "b"]}}, "namespaces", ("a", "b")),
        ({"jobs": {"images": {"cpu": "r/t:1-cpu"}}}, "trainer_image_cpu", "r/t:1-cpu"),
        ({"jobs": {"images": {"cuda": "r/t:1-cuda"}}}, "trainer_image_cuda", "r/t:1-cuda"),
        ({"jobs": {"images": {"pullPolicy": "Always"}}}, "image_pull_policy", "Always"),
        ({"jobs": {"storage": {"endpoint": "http://s"}}}, "storage.endpoint", "http://s"),
        ({"jobs": {"storage": {"caSecretName": "ca"}}}, "storage.ca_secret_name", "ca"),
        ({"jobs": {"storage": {"region": "eu-1"}}}, "storage.region", "eu-1"),
        ({"jobs": {"storage": {"secretName": "keys"}}}, "storage.secret_name", "keys"),
        ({"operator": {"http": {"host": "::"}}}, "http_host", "::"),
        ({"operator": {"http": {"port": 9090}}}, "http_port", 9090),
        ({"operator": {"workers": 3}}, "workers", 3),
        ({"operator": {"progressInterval": 0.5}}, "progress_interval", 0.5),
        ({"operator": {"statusInterval": 90}}, "status_interval", 90.0),
        ({"operator": {"sweepInterval": 60}}, "sweep_interval", 60.0),
        ({"operator": {"patience": 300}}, "patience", 300.0),
        ({"operator": {"stallSeconds": 86400}}, "stall_seconds", 86400.0),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_value_arrives_at_the_operator(render, values: dict, field: str, expected: Any) -> None:
    value: Any = settings(render(values))
    for name in field.split("."):
        value = getattr(value, name)
    assert value == expected


def test_the_log_level_arrives_at_the_operator(render) -> None:
    args = container(render({"operator": {"logLevel": "debug"}}))["args"]
    assert parser().parse_args(args).log_level == "debug"


@pytest.mark.parametrize(
    ("values", "path", "expected"),
    [
        ({"operator": {"replicas": 3}}, "replicas", 3),
        ({"podAnnotations": {"a": "b"}}, "template/metadata/annotations/a", "b"),
        ({"podLabels": {"a": "b"}}, "template/metadata/labels/a", "b"),
        ({"terminationGracePeriodSeconds": 60}, "pod/terminationGracePeriodSeconds", 60),
        ({"image": {"pullSecrets": [{"name": "p"}]}}, "pod/imagePullSecrets/0/name", "p"),
        ({"image": {"pullPolicy": "Always"}}, "main/imagePullPolicy", "Always"),
        ({"operator": {"http": {"port": 9090}}}, "main/ports/0/containerPort", 9090),
        ({"resources": {"limits": {"cpu": 1}}}, "main/resources/limits/cpu", 1),
        ({"nodeSelector": {"a": "b"}}, "pod/nodeSelector", {"a": "b"}),
        ({"tolerations": [{"operator": "Exists"}]}, "pod/tolerations/0/operator", "Exists"),
        ({"affinity": {"nodeAffinity": {}}}, "pod/affinity", {"nodeAffinity": {}}),
        ({"topologySpreadConstraints": [{"maxSkew": 1}]}, "pod/topologySpreadConstraints",
         [{"maxSkew": 1}]),
        ({"priorityClassName": "high"}, "pod/priorityClassName", "high"),
        ({"serviceAccount": {"create": False, "name": "mine"}}, "pod/serviceAccountName", "mine"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_value_arrives_in_the_deployment(render, values: dict, path: str, expected: Any) -> None:
    objects = render(values)
    deployment = objects["Deployment", RELEASE]["spec"]
    assert at(deployment | {"pod": pod(objects), "main": container(objects)}, path) == expected


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({"repository": "r.example.com/op"}, "r.example.com/op:{version}"),
        ({"tag": "local"}, "finetune-operator:local"),
        ({"tag": "local", "digest": "sha256:" + "0" * 64}, "finetune-operator@sha256:" + "0" * 64),
    ],
    ids=["the version is the default tag", "a tag is used", "a digest wins over a tag"],
)
def test_the_image(render, image: dict, expected: str) -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert container(render({"image": image}))["image"] == expected.format(version=version)


def test_a_budget_comes_with_the_second_replica(render) -> None:
    assert ("PodDisruptionBudget", RELEASE) not in render()
    budget = render({"operator": {"replicas": 2}})["PodDisruptionBudget", RELEASE]
    assert budget["spec"]["maxUnavailable"] == 1


def test_a_network_policy_opens_the_http_port_alone(render) -> None:
    assert ("NetworkPolicy", RELEASE) not in render()
    peers = [{"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}]
    policy = render({"networkPolicy": {"enabled": True, "from": peers}})["NetworkPolicy", RELEASE]
    assert policy["spec"]["ingress"] == [{"ports": [{"port": "http"}], "from": peers}]


def test_selectors_find_the_pods_and_never_change_with_a_version(render) -> None:
    objects = render(EVERYTHING)
    deployment = objects["Deployment", RELEASE]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    selectors = [
        deployment["selector"]["matchLabels"],
        objects["Service", RELEASE]["spec"]["selector"],
        objects["PodDisruptionBudget", RELEASE]["spec"]["selector"]["matchLabels"],
        objects["NetworkPolicy", RELEASE]["spec"]["podSelector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector == selectors[0]
        assert selector.items() <= labels.items()
        assert not {"app.kubernetes.io/version", "helm.sh/chart"} & set(selector)


def test_the_resource_is_kept_unless_told_otherwise(render) -> None:
    key = ("CustomResourceDefinition", "finetunejobs.finetune.dev")
    keep = {"helm.sh/resource-policy": "keep"}
    assert render()[key]["metadata"]["annotations"] == keep
    assert "annotations" not in render({"crds": {"keep": False}})[key]["metadata"]
    assert key not in render({"crds": {"enabled": False}})


@pytest.mark.parametrize(
    ("values", "name"),
    [({}, "finetune-operator"), ({"nameOverride": "ftj"}, "finetune-operator-ftj"),
     ({"fullnameOverride": "ops"}, "ops")],
)  # fmt: skip
def test_objects_are_named_for_the_release(render, values: dict, name: str) -> None:
    assert ("Deployment", name) in render(values)


def notes(helm: Any, values: dict[str, Any]) -> str:
    said = helm.run(
        "install", "ops", CHART, "--dry-run=client", "--namespace", "sys", values=values
    )
    return said.partition("\nNOTES:\n")[2]


def test_the_notes_hold_a_job_that_the_models_accept(helm) -> None:
    said = notes(helm, {"watch": {"namespaces": ["team-a"]}})
    command, manifest = re.search(r"^(kubectl apply .*)\n((?s:.*?))\nEOF$", said, re.M).groups()
    assert command == "kubectl apply --namespace team-a -f - <<EOF"
    job = FineTuneJob.from_manifest(yaml.safe_load(manifest), strict=True)
    assert job.spec.storage.secret_name == "s3-credentials"


def test_a_job_leaves_out_what_the_site_has_set(helm) -> None:
    said = notes(helm, {"jobs": {"storage": {"secretName": "site-keys"}}})
    assert "storage: {" not in said
    assert "Secret site-keys in namespace default" in said


@pytest.mark.parametrize(
    ("values", "warning"),
    [
        ({"crds": {"keep": False}}, "deletes every FineTuneJob"),
        ({"crds": {"enabled": False}}, "waits until somebody else has installed"),
        ({"rbac": {"create": False}}, "until account ops-finetune-operator has the rights"),
        ({"image": {"tag": "latest"}}, "may run another version"),
        ({"jobs": {"images": {"cuda": "r/t:latest"}}}, "jobs.images has r/t:latest"),
        ({"image": {"repository": "op"}}, "without a registry"),
        ({"resources": {"limits": None}}, "can take a node's memory"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_dangerous_value_is_warned_about(helm, values: dict, warning: str) -> None:
    safe = {"image": {"repository": "r.example.com/op"}}
    assert "WARNING" not in notes(helm, safe)
    (line,) = [li for li in notes(helm, safe | values).splitlines() if li.startswith("WARNING")
               and ("registry" not in li or "registry" in warning)]  # fmt: skip
    assert warning in line
