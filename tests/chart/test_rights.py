"""The roles of the chart carry exactly the rights that the operator declares, where it serves."""

from typing import Any

import pytest

from finetune_operator.__main__ import parser
from finetune_operator.rights import LEASE, LEASE_RULES, RBAC, RULES

NAME, ON_LEASE = "finetune-operator", "finetune-operator-lease"
SUBJECT = {"kind": "ServiceAccount", "name": NAME, "namespace": "finetune-system"}
KINDS = {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"}


def rights(objects: dict) -> dict[tuple[str, str], Any]:
    """Rules of every role and role of every binding."""
    return {
        key: item.get("rules") or item["roleRef"]["name"]
        for key, item in objects.items()
        if key[0] in KINDS
    }


def test_all_namespaces_are_served_through_one_cluster_role(render) -> None:
    assert rights(render()) == {
        ("ClusterRole", NAME): list(RULES),
        ("ClusterRoleBinding", NAME): NAME,
        ("Role", ON_LEASE): list(LEASE_RULES),
        ("RoleBinding", ON_LEASE): ON_LEASE,
    }


def test_listed_namespaces_are_served_through_a_role_in_each_and_none_elsewhere(render) -> None:
    assert rights(render({"watch": {"namespaces": ["a", "b"]}})) == {
        ("Role", f"a/{NAME}"): list(RULES),
        ("RoleBinding", f"a/{NAME}"): NAME,
        ("Role", f"b/{NAME}"): list(RULES),
        ("RoleBinding", f"b/{NAME}"): NAME,
        ("Role", ON_LEASE): list(LEASE_RULES),
        ("RoleBinding", ON_LEASE): ON_LEASE,
    }


def test_the_lease_is_named_for_the_release_and_so_are_the_rights_on_it(render) -> None:
    objects = render({"fullnameOverride": "ops"})
    (container,) = objects["Deployment", "ops"]["spec"]["template"]["spec"]["containers"]
    assert parser().parse_args(container["args"]).lease == ("finetune-system", "ops")
    named = [rule.get("resourceNames") for rule in objects["Role", "ops-lease"]["rules"]]
    declared = [rule.get("resourceNames") for rule in LEASE_RULES]
    assert declared == [[LEASE], None]
    assert named == [["ops"], None]


@pytest.mark.parametrize("values", [{}, {"watch": {"namespaces": ["a"]}}])
def test_only_the_operators_account_is_bound(render, values: dict) -> None:
    bindings = [item for key, item in render(values).items() if key[0].endswith("Binding")]
    assert [item["subjects"] for item in bindings] == [[SUBJECT]] * 2


def test_another_account_is_bound_under_its_own_name(render) -> None:
    objects = render({"serviceAccount": {"create": False, "name": "mine"}})
    assert not [key for key in objects if key[0] == "ServiceAccount"]
    bound = {item["subjects"][0]["name"] for key, item in objects.items() if "Binding" in key[0]}
    assert bound == {"mine"}


def test_no_rights_are_made_where_others_make_them(render) -> None:
    assert rights(render({"rbac": {"create": False}})) == {}


def test_roles_of_people_add_up_to_every_verb_on_jobs(render) -> None:
    objects = render({"rbac": {"userRoles": True}})
    found = {}
    for role in ("view", "edit", "admin"):
        item = objects["ClusterRole", f"{NAME}-user-{role}"]
        assert item["metadata"]["labels"][f"{RBAC}/aggregate-to-{role}"] == "true"
        (rule,) = item["rules"]
        assert (rule["apiGroups"], rule["resources"]) == (["finetune.dev"], ["finetunejobs"])
        found[role] = rule["verbs"]
    assert found == {
        "view": ["get", "list", "watch"],
        "edit": ["create", "update", "patch", "delete"],
        "admin": ["deletecollection"],
    }
