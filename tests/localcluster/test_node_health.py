"""What the node does with containers that are not well, and pods whose time is over."""


def test_a_container_that_fails_its_liveness_probe_is_killed_and_started_again(pods) -> None:
    probe = {"tcpSocket": {"port": 7}, "periodSeconds": 1, "failureThreshold": 2}
    spec = {"restartPolicy": "Always", "terminationGracePeriodSeconds": 1}
    pods.run("deaf", "trap '' TERM; while :; do sleep 0.1; done", {"livenessProbe": probe}, **spec)
    again = lambda pod: pod["status"]["containerStatuses"][0]["restartCount"] >= 1  # noqa: E731
    pod = pods.until("deaf", lambda pod: pod["status"].get("containerStatuses") and again(pod))
    last = pod["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert last["exitCode"] == 137
    assert any(event["reason"] == "Unhealthy" for event in pods.events("deaf"))


def test_a_pod_whose_deadline_is_over_fails_with_that_reason(pods) -> None:
    pods.run("late", "exec sleep 1000", activeDeadlineSeconds=1)
    pod = pods.until_phase("late", "Failed")
    assert pod["status"]["reason"] == "DeadlineExceeded"
    assert pods.state(pod)["terminated"]["exitCode"] == 143


def test_a_failed_init_container_fails_the_pod_before_the_others_start(pods) -> None:
    init = {"name": "init", "image": "finetune-trainer:local", "command": ["sh", "-c", "exit 9"]}
    pods.run("uninitialised", "echo never", initContainers=[init])
    pod = pods.until_phase("uninitialised", "Failed")
    assert pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 9
    assert "waiting" in pods.state(pod)


def test_a_missing_optional_secret_is_an_empty_volume(pods) -> None:
    volume = {"name": "keys", "secret": {"secretName": "never", "optional": True}}
    mount = {"volumeMounts": [{"name": "keys", "mountPath": "/keys"}]}
    pods.run("optional", "ls /keys | wc -l", mount, volumes=[volume])
    pods.until_phase("optional", "Succeeded")
    assert pods.kubectl("logs", "optional").strip() == "0"


def test_a_client_in_a_pod_is_its_service_account(pods) -> None:
    whoami = f"'{pods.cluster.kubectl_path}/kubectl' auth whoami -o yaml"
    pods.run("client", whoami)
    pods.until_phase("client", "Succeeded")
    account = f"system:serviceaccount:{pods.namespace}:default"
    assert account in pods.kubectl("logs", "client")
