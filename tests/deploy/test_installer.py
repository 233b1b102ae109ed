"""install.sh, as far as it can be tried without a device."""

import os
import shutil
from pathlib import Path

import pytest
from support.deployment import DEPLOY, tool
from support.programs import run

PLAYBOOK = """\
- hosts: edgeclassifier
  gather_facts: false
  tasks:
    - ansible.builtin.debug:
        msg: "reinstall: {{ edgeclassifier_reinstall | default('not set') }}"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Copy the installer, with Ansible, and a playbook that only says what it was given."""
    ansible = tool("ansible-playbook")
    if ansible is None:
        pytest.skip("ansible-playbook is not installed (deploy/requirements)")
    deploy = tmp_path / "deploy"
    (deploy / "requirements").mkdir(parents=True)
    for name in ("install.sh", "inventory.local.yml", "requirements/deploy.txt"):
        shutil.copy(DEPLOY / name, deploy / name)
    (deploy / "site.yml").write_text(PLAYBOOK)
    tools = tmp_path / ".venv-deploy"
    tools.mkdir()
    (tools / "bin").symlink_to(Path(ansible).parent)
    shutil.copy(DEPLOY / "requirements/deploy.txt", tools / "ready")
    # Stands in for root, whom this playbook does not need.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "id").write_text("#!/bin/sh\necho 0\n")
    (tmp_path / "bin" / "id").chmod(0o755)
    return tmp_path


def install(checkout: Path, *arguments: str, **environment: str) -> str:
    path = os.pathsep.join([str(checkout / "bin"), os.environ["PATH"]])
    kept = {key: value for key, value in os.environ.items() if not key.startswith("LC_")}
    given = {"PATH": path, "HOME": str(checkout), "NO_COLOR": "1", **environment}
    done = run([checkout / "deploy" / "install.sh", *arguments], env={**kept, **given})
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("name", ["LANG", "LC_ALL"])
def test_a_locale_that_ssh_has_brought_along_does_not_matter(name: str, checkout: Path) -> None:
    assert "reinstall: not set" in install(checkout, **{name: "xx_XX.UTF-8"})


def test_tools_for_a_python_that_is_gone_are_made_again(checkout: Path) -> None:
    tools = checkout / ".venv-deploy"
    (tools / "bin").unlink()
    (tools / "bin").mkdir()
    broken = tools / "bin" / "python"
    broken.write_text("#!/bin/sh\necho \"No module named 'ansible'\" >&2\nexit 1\n")
    broken.chmod(0o755)
    (checkout / "deploy/requirements/deploy.txt").write_text("")
    (tools / "ready").write_text("")
    done = run(
        [checkout / "deploy" / "install.sh"],
        env={**os.environ, "PATH": f"{checkout}/bin:{os.environ['PATH']}"},
    )
    assert "setting up .venv-deploy" in done.stdout
    assert "No module named" not in done.stdout


def test_a_release_is_made_anew_where_that_is_asked_for(checkout: Path) -> None:
    assert "reinstall: true" in install(checkout, "--reinstall").lower()


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["--help"], 0, "--rollback"),
        (["--wat"], 2, "--wat: unknown option"),
        (["--config"], 2, "needs a value"),
        (["--config", "/nowhere/my.toml"], 2, "no such file"),
    ],
)
def test_the_installer_answers_before_it_does_anything(
    arguments: list[str], code: int, expected: str
) -> None:
    done = run([DEPLOY / "install.sh", *arguments], timeout_s=30)
    assert done.returncode == code
    assert expected in done.stdout
