"""What is installed where: the lock file, the conda environment and the container agree with pyproject.toml."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
#: What conda-forge calls otherwise.
CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base"}


def declared(*extras):
    """The requirements of radiossl with some extras, by name."""
    found = {}
    for text in [
        *PROJECT["dependencies"],
        *(one for extra in extras for one in PROJECT["optional-dependencies"][extra]),
    ]:
        requirement = Requirement(text)
        if requirement.name == "radiossl":
            found |= declared(*requirement.extras)
        else:
            found[canonicalize_name(requirement.name)] = requirement
    return found


def locked():
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if not line.startswith("#")]
    return {canonicalize_name(one.name): next(iter(one.specifier)) for one in found}


def test_the_lock_file_pins_everything_that_is_declared_within_its_bounds():
    versions = locked()
    assert all(pin.operator == "==" for pin in versions.values())
    for name, requirement in declared("dev").items():
        assert requirement.specifier.contains(versions[name].version), name


def test_every_bound_is_a_lowest_version_and_a_bad_torch_is_excluded():
    for name, requirement in declared("all").items():
        assert [one.operator for one in requirement.specifier if one.operator != "!="] == [">="], name
    torch = declared()["torch"].specifier
    assert [torch.contains(version) for version in ("2.9.1", "2.10.0", "2.13.0", "2.13.1")] == [
        False,
        True,
        False,
        True,
    ]


def test_the_conda_environment_asks_for_what_pyproject_does():
    content = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *conda, pip = content["dependencies"]
    asked = {canonicalize_name(one.name): one for one in map(Requirement, [*conda, *pip["pip"][:-1]])}
    assert pip["pip"][-1] == "--editable ."
    assert str(asked.pop("python").specifier) == PROJECT["requires-python"]
    del asked["pip"]
    wanted = {CONDA.get(name, name): str(one.specifier) for name, one in declared("all").items()}
    assert {name: str(one.specifier) for name, one in asked.items()} == wanted


def test_the_container_is_built_of_what_is_here():
    text = (ROOT / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    steps = [line.split(maxsplit=1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert {word for word, _ in steps} <= {"FROM", "ARG", "RUN", "WORKDIR", "COPY", "USER", "ENTRYPOINT"}
    for source in [source for word, rest in steps if word == "COPY" for source in rest.split()[:-1]]:
        assert (ROOT / source).exists(), source
    for script in [rest for word, rest in steps if word == "RUN"]:
        subprocess.run(["sh", "-n", "-c", script], check=True)
    (base,) = [rest for word, rest in steps if word == "FROM"]
    version = re.fullmatch(r"python:(3\.\d+)-slim", base)
    assert version
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(version[1])
    extras = dict(rest.split("=") for word, rest in steps if word == "ARG")["EXTRAS"]
    assert extras in PROJECT["optional-dependencies"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_container_can_be_built_and_answers(request):
    builder = next(filter(shutil.which, ("podman", "docker")), None)
    image = "python:3.12-slim"
    if (
        builder is None
        or subprocess.run([builder, "image", "inspect", image], capture_output=True, check=False).returncode
    ):
        pytest.skip(f"no builder of containers that has {image}")
    build = [builder, "build", "--file", "Containerfile", "--tag", "radiossl-test", "."]
    subprocess.run(build, check=True, cwd=ROOT)
    request.addfinalizer(lambda: subprocess.run([builder, "rmi", "radiossl-test"], check=False))
    done = subprocess.run(
        [builder, "run", "--rm", "radiossl-test", "--version"], check=True, capture_output=True, text=True
    )
    assert done.stdout.startswith("radiossl ")
