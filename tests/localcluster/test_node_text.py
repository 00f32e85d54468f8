"""What a container's text becomes on a machine without containers: variables, paths, names."""

import pytest

from localcluster.node.environment import expand
from localcluster.node.network import address, pod_address
from localcluster.node.places import Places

PATHS = {"/data": "/host/data", "/data/deep": "/host/deep", "/dev/termination-log": "/host/end"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("x-$(A)-$(B)", "x-1-two"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$A ${A} 5$", "$A ${A} 5$"),
    ],
)
def test_expansion_is_that_of_kubernetes(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "B": "two"}) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/data", "/host/data"),
        ("/data/a.txt", "/host/data/a.txt"),
        ("/data/deep/a", "/host/deep/a"),
        ("/dev/termination-log", "/host/end"),
        ("/database", "/database"),
        ("s3://bucket/data/x", "s3://bucket/data/x"),
        ("http://host:1/data", "http://host:1/data"),
    ],
)
def test_paths_are_translated_where_a_mount_path_begins(text: str, expected: str) -> None:
    assert Places(PATHS, "ns").translate(text) == expected


@pytest.mark.parametrize("suffix", ["", ".ns", ".ns.svc", ".ns.svc.cluster.local"])
@pytest.mark.parametrize("form", ["{}", "http://{}:9300/x", "a,{}:1", "tcp://{}"])
def test_names_of_pods_become_their_addresses(suffix: str, form: str) -> None:
    places = Places({}, "ns", "gang", group="uid-of-job")
    there = address("uid-of-job", "job-1", "gang")
    assert places.translate(form.format(f"job-1.gang{suffix}")) == form.format(there)


@pytest.mark.parametrize("text", ["job-1.other", "x.job-1.gang.example.org", "gang", "a.gang-b"])
def test_names_of_others_stay(text: str) -> None:
    assert Places({}, "ns", "gang").translate(text) == text


def test_a_replacement_keeps_its_address_and_a_stranger_has_another() -> None:
    def there(name: str, hostname: str, job: str = "uid-of-job") -> str:
        spec = {"hostname": hostname, "subdomain": "gang"}
        owner = {"kind": "Job", "uid": job, "controller": True}
        metadata = {"name": name, "namespace": "ns", "ownerReferences": [owner]}
        return pod_address({"metadata": metadata, "spec": spec})

    assert there("job-0-abcde", "job-0") == there("job-0-fghij", "job-0")
    assert there("job-0-abcde", "job-0") != there("job-1-abcde", "job-1")
    assert there("job-0-abcde", "job-0") != there("job-0-abcde", "job-0", "another-uid")


def test_no_address_is_among_the_servers() -> None:
    found = {address("ns", f"pod-{number}") for number in range(3000)}
    assert len(found) > 2990
    assert not any(ip.startswith("127.0.") for ip in found)
