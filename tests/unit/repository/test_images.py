"""The Dockerfiles, held against the locks, the project and the pods that the operator renders."""

import re
import tomllib
from pathlib import Path

import pytest

from finetune_api import names
from finetune_operator.render.pod import USER
from hack.images import dockerfile
from hack.images.dockerfile import Dockerfile, DockerfileError

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = {
    path.name: path
    for path in [*(ROOT / "locks").glob("*.lock"), *(ROOT / "trainer_image").glob("*.lock")]
}
PIN = re.compile(r"^([a-z0-9._-]+)==([^ ;\\]+)(?: ; ([^\\]+\S))?", re.MULTILINE)


def pins(name: str) -> set[tuple[str, str, str]]:
    """Package, version and marker of each line of a lock."""
    return set(PIN.findall(LOCKS[name].read_text(encoding="utf-8")))


def packages(name: str) -> set[str]:
    return {package for package, _, _ in pins(name)}


@pytest.fixture(params=["operator", "trainer-cpu", "trainer-cuda"])
def image(request: pytest.FixtureRequest) -> Dockerfile:
    if request.param == "operator":
        return dockerfile.read(ROOT / "Dockerfile")
    variant = {"VARIANT": request.param.removeprefix("trainer-")}
    return dockerfile.read(ROOT / "trainer_image" / "Dockerfile", variant)


def trainer(variant: str) -> Dockerfile:
    return dockerfile.read(ROOT / "trainer_image" / "Dockerfile", {"VARIANT": variant})


def test_every_lock_agrees_with_the_versions_that_the_tests_run_on() -> None:
    development = pins("dev.lock")
    versions = {(package, version) for package, version, _ in development}
    known = {package for package, _ in versions}
    for name in ("operator.lock", "build.lock", "requirements-cuda.lock", "requirements-cpu.lock"):
        others = {(p, v) for p, v, _ in pins(name) if p in known}
        assert others, name
        assert others <= versions, f"{name} differs from dev.lock: {sorted(others - versions)}"


def test_the_cpu_lock_is_the_cuda_lock_without_torch_and_its_gpu_libraries() -> None:
    left_out = {package for package, _, _ in pins("requirements-cuda.lock")} - packages(
        "requirements-cpu.lock"
    )
    assert pins("requirements-cpu.lock") <= pins("requirements-cuda.lock")
    assert {"torch", "triton", "nvidia-nccl-cu13"} <= left_out
    assert {p for p in left_out if not p.startswith(("nvidia-", "cuda-"))} == {"torch", "triton"}


def test_the_operators_image_holds_nothing_that_trains() -> None:
    heavy = {"torch", "transformers", "numpy", "datasets", "boto3", "obstore", "deepspeed"}
    assert packages("operator.lock").isdisjoint(heavy)
    installed = [s.rest for s in steps(dockerfile.read(ROOT / "Dockerfile"), "RUN")]
    locks = {word for text in installed for word in text.split() if word.endswith(".lock")}
    assert locks == {"locks/uv.lock", "locks/build.lock", "locks/operator.lock"}


def steps(image: Dockerfile, keyword: str) -> list[dockerfile.Step]:
    return [step for stage in image.needed() for step in stage.steps if step.keyword == keyword]


def test_images_run_as_the_user_that_the_pods_name(image: Dockerfile) -> None:
    assert image.config().user == f"{USER}:{USER}"
    created = [s.rest for s in steps(image, "RUN") if "useradd" in s.rest]
    assert len(created) == 1
    assert f"--uid {USER} " in created[0]


def test_the_operator_takes_a_pods_arguments_as_flags() -> None:
    config = dockerfile.read(ROOT / "Dockerfile").config()
    assert config.entrypoint == ("finetune-operator",)
    assert config.env["PATH"].startswith("/app/bin:")
    assert config.ports == ("8080",)


@pytest.mark.parametrize("variant", ["cpu", "cuda"])
def test_the_trainer_takes_a_pods_arguments_as_its_command(variant: str) -> None:
    config = trainer(variant).config()
    assert config.entrypoint == ()
    assert config.env["PATH"].startswith("/app/bin:")
    assert config.workdir == names.WORK_PATH
    assert config.ports == (str(names.PORT_HTTP), str(names.PORT_GANG))


def test_images_carry_the_projects_version(image: Dockerfile) -> None:
    labels = image.config().labels
    assert labels["org.opencontainers.image.version"] == PROJECT["version"]
    assert labels["org.opencontainers.image.licenses"] == PROJECT["license"]


def test_everything_from_the_registry_is_installed_by_hash(image: Dockerfile) -> None:
    commands = [c for step in steps(image, "RUN") for c in re.split(r"\s&&\s", step.rest)]
    installs = [c for c in commands if re.search(r"\bpip (--\S+ \S+ )?install ", c)]
    assert len(installs) >= 3
    for command in installs:
        ours = "--no-index" in command and "--no-deps" in command
        torch = command.endswith(" torch") and "requirements-cuda.lock" in command
        assert "--require-hashes" in command or ours or torch, command


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("FROM a\nADD x y", "2: ADD is not understood"),
        ("FROM a\nHEALTHCHECK NONE", "2: HEALTHCHECK is not understood"),
        ("FROM a\nRUN <<EOF", "2: RUN must be a shell command"),
        ('FROM a\nRUN ["sh"]', "2: RUN must be a shell command"),
        ("FROM a\nENTRYPOINT sh -c x", "2: ENTRYPOINT must be a JSON list"),
        ("FROM a\nCOPY --from=b /x /y", "2: COPY --from=b names no earlier stage"),
        ("FROM a\nCOPY --chown=1:1 x y", "2: COPY --chown=1:1 is not understood"),
        ("FROM a\nRUN --network=none x", "2: RUN --network=none is not understood"),
        ("FROM a\nENV x y", "2: ENV must be NAME=VALUE"),
        ("ARG x", "there is no FROM"),
    ],
)
def test_what_cannot_be_run_here_is_refused(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text(text)
    with pytest.raises(DockerfileError, match=re.escape(told)):
        dockerfile.read(path)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text("FROM a\nADD x y\nVOLUME z")
    with pytest.raises(DockerfileError) as caught:
        dockerfile.read(path, {"TYPO": "1"})
    assert len(str(caught.value).splitlines()) == 3
    assert "there is no ARG TYPO" in str(caught.value)


def test_arguments_reach_a_stage_as_a_builder_hands_them_on(tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text(
        "ARG A=outer\nARG B=outer\nFROM x AS one\nARG A\nARG B=inner\nARG C=$A-c\nENV D=${B}\n"
        "FROM one\nENV E=$A\n"
    )
    read = dockerfile.read(path, {"C": "given"})
    assert read.config().env == {"D": "inner", "E": "outer"}
