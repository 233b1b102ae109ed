"""How a release is made of wheels on a device."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from support.deployment import ROLE, make_archive, says
from support.programs import run


def install_release(
    folder: Path, name: str, *, like: str = "", own: str = "", spoilt: bool = False
) -> "subprocess.CompletedProcess[str]":
    """Make a release of two wheels, the one of the project with `own` in it."""
    (wheels := folder / f"wheels-{name}").mkdir()
    archive = make_archive(wheels, own=own)
    if spoilt:
        with zipfile.ZipFile(archive) as whole:
            files = {entry: whole.read(entry) for entry in whole.namelist()}
        with zipfile.ZipFile(archive, "w") as changed:
            for entry, content in files.items():
                changed.writestr(entry, content + b"x" * entry.endswith(".whl"))
    script = ROLE / "files" / "install_release.py"
    options = [f"--like={folder / like}"] if like else []
    return run([sys.executable, script, archive, folder / name, *options])


def test_a_release_takes_over_what_is_the_same_in_the_one_before(tmp_path: Path) -> None:
    first = install_release(tmp_path, "first", own="one")
    assert "2 wheels installed, 0 copied" in first.stdout
    assert (tmp_path / "first" / ".complete").is_file()
    assert (tmp_path / "first" / "share" / "unit").is_file()
    assert not (tmp_path / "first" / "wheels").exists()
    second = install_release(tmp_path, "second", like="first", own="two")
    assert "1 wheels installed, 1 copied" in second.stdout
    assert says(tmp_path / "second", "edgeclassifier") == "two\n"
    assert says(tmp_path / "first", "edgeclassifier") == "one\n"
    shutil.rmtree(tmp_path / "first")
    python = str(tmp_path / "second" / "bin" / "python")
    ran = [python, "-c", "import dependency; dependency.main()"]
    assert subprocess.check_output(ran, text=True, timeout=30) == "dependency\n"


def test_a_release_takes_nothing_damaged_from_the_one_before(tmp_path: Path) -> None:
    install_release(tmp_path, "first")
    (module,) = (tmp_path / "first").glob("lib/*/site-packages/dependency.py")
    module.write_bytes(bytes(module.stat().st_size))
    second = install_release(tmp_path, "second", like="first")
    assert "2 wheels installed, 0 copied" in second.stdout
    assert says(tmp_path / "second", "dependency") == "dependency\n"


def test_a_release_of_the_same_wheels_has_its_command(tmp_path: Path) -> None:
    """Commands name their environment, so they cannot be copied."""
    install_release(tmp_path, "first")
    second = install_release(tmp_path, "second", like="first")
    assert "1 wheels installed, 1 copied" in second.stdout
    assert says(tmp_path / "second", "edgeclassifier") == "\n"


def test_a_release_with_a_damaged_wheel_is_never_complete(tmp_path: Path) -> None:
    done = install_release(tmp_path, "first", spoilt=True)
    assert done.returncode == 1
    assert "pip failed" in done.stdout
    assert not (tmp_path / "first" / ".complete").exists()
    again = tmp_path / "wheels-first"
    again.rename(tmp_path / "spoilt")
    assert "2 wheels installed" in install_release(tmp_path, "first").stdout
