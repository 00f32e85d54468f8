"""Pods as processes: what they are given, how they end, what is said about it."""

import json
import subprocess
import time

import pytest

from localcluster.cluster import wait_for


def test_a_pod_runs_logs_and_succeeds(pods) -> None:
    pods.run("hello", "echo one; echo two; echo three; echo bye > /dev/termination-log")
    pod = pods.until_phase("hello", "Succeeded")
    end = pods.state(pod)["terminated"]
    assert (end["exitCode"], end["reason"], end["message"].strip()) == (0, "Completed", "bye")
    assert pod["status"]["podIP"].startswith("127.")
    assert pods.kubectl("logs", "hello").split() == ["one", "two", "three"]
    assert pods.kubectl("logs", "hello", "--tail=1").split() == ["three"]


@pytest.mark.parametrize(("script", "code"), [("exit 42", 42), ("kill -9 $$; sleep 5", 137)])
def test_the_exit_code_is_the_true_one(pods, script: str, code: int) -> None:
    pods.run("fails", script.replace("$$", "$$$$"))
    end = pods.ended("fails")
    assert (end["exitCode"], end["reason"]) == (code, "Error")


def test_a_program_that_is_not_there_is_an_error_not_a_hang(pods) -> None:
    pods.run("absent", "", {"command": ["/no/such/program"]})
    assert pods.ended("absent")["exitCode"] == 128


def test_the_log_stands_in_for_a_message_on_error(pods) -> None:
    policy = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    pods.run("talks", "echo last words; exit 3", policy)
    assert "last words" in pods.ended("talks")["message"]


def test_following_a_log_ends_with_the_container(pods) -> None:
    pods.run("follows", "for i in 1 2 3; do echo $i; sleep 0.5; done")
    pods.until_phase("follows", "Running", "Succeeded")
    assert pods.kubectl("logs", "-f", "follows").split() == ["1", "2", "3"]


def test_variables_come_from_everywhere(pods) -> None:
    pods.kubectl("create", "configmap", "settings", "--from-literal=COLOUR=blue")
    pods.kubectl("create", "secret", "generic", "keys", "--from-literal=KEY=s3cret")
    names = {"MISSING": {"name": "keys", "key": "NONE", "optional": True}}
    env = [
        {"name": "FIRST", "value": "1"},
        {"name": "SECOND", "value": "$(FIRST)-$(COLOUR)"},
        {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "KEY"}}},
        *({"name": n, "valueFrom": {"secretKeyRef": ref}} for n, ref in names.items()),
    ]
    source = [{"configMapRef": {"name": "settings"}}]
    pods.run("env", "env", {"env": env, "envFrom": source})
    ip = pods.until_phase("env", "Succeeded")["status"]["podIP"]
    seen = dict(line.partition("=")[::2] for line in pods.kubectl("logs", "env").splitlines())
    expected = {"SECOND": "1-blue", "ME": "env", "IP": ip, "SECRET": "s3cret", "COLOUR": "blue"}
    assert seen.items() >= expected.items()
    assert "MISSING" not in seen
    assert "VIRTUAL_ENV" not in seen


def test_a_pod_waits_for_its_secret_and_sees_it_change(pods) -> None:
    volume = {"name": "keys", "secret": {"secretName": "late"}}
    mount = {"volumeMounts": [{"name": "keys", "mountPath": "/keys"}]}
    wait = "until grep -q second /keys/k; do sleep 0.2; done; echo seen"
    pods.run("waits", wait, mount, volumes=[volume])
    wait_for(
        lambda: [e for e in pods.events("waits") if e["reason"] == "FailedMount"],
        what="FailedMount", seconds=20,
    )  # fmt: skip
    pod = pods.get("waits")
    assert pods.state(pod)["waiting"]["reason"] == "ContainerCreating"
    assert any('secret "late" not found' in e["message"] for e in pods.events("waits"))
    pods.kubectl("create", "secret", "generic", "late", "--from-literal=k=first")
    pods.until_phase("waits", "Running")
    patch = json.dumps({"stringData": {"k": "second"}})
    pods.kubectl("patch", "secret", "late", "-p", patch)
    pods.until_phase("waits", "Succeeded", seconds=100)


def test_volumes_are_shared_by_the_containers_of_a_pod(pods) -> None:
    mount = {"volumeMounts": [{"name": "work", "mountPath": "/work"}]}
    image = "finetune-trainer:local"
    init = {"name": "init", "image": image, "command": ["sh", "-c", "echo made > /work/file"]}
    spec = {"volumes": [{"name": "work", "emptyDir": {}}], "initContainers": [init | mount]}
    pods.run("shares", "cat /work/file", mount, **spec)
    pods.until_phase("shares", "Succeeded")
    assert pods.kubectl("logs", "shares").strip() == "made"


def test_an_account_token_is_mounted(pods) -> None:
    folder = "/var/run/secrets/kubernetes.io/serviceaccount"
    pods.run("account", f"test -s {folder}/token && cat {folder}/namespace")
    pods.until_phase("account", "Succeeded")
    assert pods.kubectl("logs", "account").strip() == pods.namespace


def test_an_unknown_image_is_an_event_and_a_waiting_state(pods) -> None:
    pods.run("imageless", "true", {"image": "nowhere/none:1"})
    reasons = ("ErrImagePull", "ImagePullBackOff")
    waiting = lambda pod: pods.state(pod).get("waiting", {}).get("reason") in reasons  # noqa: E731
    assert pods.until("imageless", waiting)["status"]["phase"] == "Pending"
    wait_for(
        lambda: [e for e in pods.events("imageless") if "nowhere/none:1" in e["message"]],
        what="the event", seconds=10,
    )  # fmt: skip
    pods.kubectl("delete", "pod", "imageless", "--timeout=20s")


def test_termination_is_asked_for_first(pods) -> None:
    script = "trap 'echo saved; exit 0' TERM; echo up; while :; do sleep 0.1; done"
    pods.run("polite", script)
    pods.until_phase("polite", "Running")
    wait_for(lambda: "up" in pods.kubectl("logs", "polite"), what="the start", seconds=10)
    follow = subprocess.Popen(
        [pods.cluster.kubectl_path / "kubectl", f"--kubeconfig={pods.cluster.kubeconfig}",
         "-n", pods.namespace, "logs", "-f", "polite"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(1)
    pods.kubectl("delete", "pod", "polite", "--timeout=20s")
    assert "saved" in follow.communicate(timeout=10)[0]


def test_after_the_grace_period_it_is_killed_with_all_it_started(pods) -> None:
    script = "trap '' TERM; setsid sleep 987 & echo $!; while :; do sleep 0.1; done"
    pods.run("stubborn", script, terminationGracePeriodSeconds=2)
    pods.until_phase("stubborn", "Running")
    stray = wait_for(lambda: pods.kubectl("logs", "stubborn").strip(), what="a pid", seconds=10)
    began = time.monotonic()
    pods.kubectl("delete", "pod", "stubborn", "--timeout=20s")
    assert 1.5 < time.monotonic() - began < 12
    wait_for(lambda: _is_gone(stray), what="the end of the stray", seconds=5)


def test_a_forced_deletion_kills_too(pods) -> None:
    pods.run("forced", "trap '' TERM; echo $$$$; while :; do sleep 0.1; done")
    pods.until_phase("forced", "Running")
    pid = wait_for(lambda: pods.kubectl("logs", "forced").strip(), what="a pid", seconds=10)
    pods.kubectl("delete", "pod", "forced", "--force", "--grace-period=0")
    wait_for(lambda: _is_gone(pid), what="the end of the process", seconds=10)


def test_a_sidecar_starts_before_and_ends_after_the_others(pods) -> None:
    mount = {"volumeMounts": [{"name": "work", "mountPath": "/work"}]}
    wait = "trap 'echo ended; exit 0' TERM; touch /work/up; while :; do sleep 0.1; done"
    side = {
        "name": "side",
        "image": "finetune-trainer:local",
        "restartPolicy": "Always",
        "command": ["sh", "-c", wait],
    }
    spec = {"volumes": [{"name": "work", "emptyDir": {}}], "initContainers": [side | mount]}
    main = "until test -e /work/up; do sleep 0.1; done; sleep 1; echo done"
    pods.run("accompanied", main, mount, **spec)
    pod = pods.until_phase("accompanied", "Succeeded")
    assert pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    assert "ended" in pods.kubectl("logs", "accompanied", "-c", "side")


def test_a_failure_is_restarted_when_the_policy_says_so(pods) -> None:
    mount = {"volumeMounts": [{"name": "work", "mountPath": "/work"}]}
    script = "test -e /work/been && exit 0; touch /work/been; exit 5"
    spec = {"volumes": [{"name": "work", "emptyDir": {}}], "restartPolicy": "OnFailure"}
    pods.run("again", script, mount, **spec)
    status = pods.until_phase("again", "Succeeded", seconds=40)["status"]["containerStatuses"][0]
    assert status["restartCount"] == 1
    assert status["lastState"]["terminated"]["exitCode"] == 5


def test_readiness_is_asked_at_the_address_of_the_pod(pods) -> None:
    ip = {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    probe = {"httpGet": {"path": "/", "port": 9300}, "periodSeconds": 1}
    command = ["python", "-m", "http.server", "9300", "--bind", "$(IP)"]
    pods.run("served", "", {"command": command, "env": [ip], "readinessProbe": probe})

    def is_ready(pod: dict) -> bool:
        conditions = {c["type"]: c["status"] for c in pod["status"].get("conditions", [])}
        return conditions.get("Ready") == "True"

    assert not is_ready(pods.until("served", lambda pod: pods.state(pod).get("running")))
    pods.until("served", is_ready)
    pods.kubectl("delete", "pod", "served", "--grace-period=1")


def _is_gone(pid: str) -> bool:
    try:
        with open(f"/proc/{int(pid)}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
