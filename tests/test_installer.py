"""install.sh, as far as it can be tried without a device."""

import subprocess

import pytest
from deployment import DEPLOY


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
    done = subprocess.run(
        [str(DEPLOY / "install.sh"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
        timeout=30,
    )
    assert done.returncode == code
    assert expected in done.stdout
