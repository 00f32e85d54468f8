"""Values, schema, templates and README speak of the same things; mistakes are told at once."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.chart_files import crd_template, values_table

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "finetune-operator"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
OF_HELM = {"global", "enabled"}
"""What Helm itself puts among the values of a chart that is part of another."""


def leaves(node: dict[str, Any], path: str = "") -> set[str]:
    """Paths of all values; the content of what is free-form belongs to its value."""
    found: set[str] = set()
    for key, value in node.items():
        here = f"{path}.{key}" if path else key
        is_ours = isinstance(value, dict) and value and key != "resources"
        found |= leaves(value, here) if is_ours else {here}
    return found


def schema_leaves(node: dict[str, Any], path: str = "") -> set[str]:
    found: set[str] = set()
    for key, child in node["properties"].items():
        here = f"{path}.{key}" if path else key
        is_ours = "properties" in child and key != "resources"
        found |= schema_leaves(child, here) if is_ours else {here}
    return found


def open_levels(node: dict[str, Any], path: str = "") -> list[str]:
    """Levels of ours that would let a misspelt name pass."""
    found = [] if node.get("additionalProperties") is False else [path or "."]
    for key, child in node["properties"].items():
        if "properties" in child:
            found += open_levels(child, f"{path}.{key}")
    return found


def test_every_value_is_used_and_every_use_has_a_value() -> None:
    templates = [p.read_text() for p in (CHART / "templates").rglob("*") if p.is_file()]
    used = {name for text in templates for name in re.findall(r"\.Values\.([\w.]+)", text)}
    assert used == leaves(VALUES)


def test_the_schema_knows_exactly_the_values() -> None:
    assert schema_leaves(SCHEMA) - OF_HELM == leaves(VALUES)


def test_no_level_of_the_schema_is_open() -> None:
    assert open_levels(SCHEMA) == []


def test_every_value_is_explained_in_a_full_sentence() -> None:
    rows = values_table((CHART / "values.yaml").read_text()).splitlines()[2:]
    told = {row.split("`")[1]: row.rsplit(" | ", 1)[1].removesuffix(" |") for row in rows}
    assert set(told) == leaves(VALUES)
    assert [path for path, text in told.items() if not re.fullmatch(r"[A-Z].{20,}\.", text)] == []


def test_the_chart_has_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (project, project)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"operator": {"replica": 2}},
            "at '/operator': additional properties 'replica' not allowed",
        ),
        ({"replicas": 2}, "at '': additional properties 'replicas' not allowed"),
        (
            {"jobs": {"storage": {"secret": "s"}}},
            "at '/jobs/storage': additional properties 'secret'",
        ),
        ({"operator": {"replicas": "two"}}, "at '/operator/replicas': got string, want integer"),
        ({"operator": {"replicas": 0}}, "at '/operator/replicas': minimum: got 0, want 1"),
        ({"operator": {"logLevel": "verbose"}}, "'debug', 'info', 'warning', 'error'"),
        ({"operator": {"http": {"port": 80}}}, "minimum: got 80, want 1,024"),
        ({"operator": {"patience": 0}}, "at '/operator/patience'"),
        ({"image": {"digest": "sha256:abc"}}, "at '/image/digest': 'sha256:abc' does not match"),
        ({"image": {"pullPolicy": "always"}}, "at '/image/pullPolicy': value must be one of"),
        ({"watch": {"namespaces": "team-a"}}, "got string, want array"),
        ({"watch": {"namespaces": ["a", "a"]}}, "items at 0 and 1 are equal"),
        ({"jobs": {"storage": {"endpoint": "s3.example.com"}}}, "does not match pattern"),
        ({"serviceAccount": {"create": False}}, "at '/serviceAccount/name': minLength"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_a_wrong_value_is_refused_with_its_place(helm, values: dict[str, Any], said: str) -> None:
    result = helm.attempt("template", "x", CHART, values=values)
    assert result.returncode != 0
    assert said in result.stderr


def test_all_mistakes_are_told_at_once_as_the_readme_shows(helm) -> None:
    wrong = {"operator": {"replica": 2, "logLevel": "verbose"}, "crds": {"keep": "yes"}}
    told = helm.attempt("template", "x", CHART, values=wrong).stderr.splitlines()
    errors = [line.strip() for line in told if line.strip().startswith("- at")]
    shown = (CHART / "README.md").read_text().splitlines()
    assert len(errors) == 4
    assert sorted(errors) == sorted(li.strip() for li in shown if li.strip().startswith("- at"))


def test_a_chart_that_includes_this_one_can_set_what_helm_allows_it(render) -> None:
    assert render({"global": {"registry": "r"}, "enabled": True}) == render()


def test_a_value_table_has_path_default_and_reason() -> None:
    text = (
        "# A remark\n\nouter:\n  # -- First sentence.\n  # And more | of it.\n"
        "  # Example:\n  #   a: 1\n  inner: {}\n  next:\n    # -- A number.\n    deep: 3\n\n"
        "# -- Last.\nlast: ''\n"
    )
    assert values_table(text).splitlines()[2:] == [
        "| `outer.inner` | `{}` | First sentence. And more \\| of it. |",
        "| `outer.next.deep` | `3` | A number. |",
        "| `last` | `''` | Last. |",
    ]


def test_braces_in_the_resource_are_text(helm, tmp_path: Path) -> None:
    chart = tmp_path / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("{apiVersion: v2, name: c, version: 0.1.0}")
    (chart / "values.yaml").write_text("crds: {enabled: true, keep: false}")
    helper = '{{ define "finetune-operator.labels" }}a: b{{ end }}'
    (chart / "templates" / "_helpers.tpl").write_text(helper)
    crd = 'kind: C\nmetadata:\n  name: c\ntext: "{{ .Values.x }} and {{- end }} and {{{{"\n'
    (chart / "templates" / "crd.yaml").write_text(crd_template(crd))
    (rendered,) = yaml.safe_load_all(helm.run("template", "x", chart))
    assert rendered["text"] == "{{ .Values.x }} and {{- end }} and {{{{"
