"""Collects, on the machine that deploys, everything of a release that a device needs.

usage: wheelhouse.py --python 3.13 --machine aarch64 [--system-packages]

A release is the wheel of this checkout, the wheels of its locked dependencies for one kind of
device, the systemd files and the health gate, in one archive. Its name is the version and a hash of
all that: if nothing has changed, neither has the name. Prints one line of JSON: the name, the
folder, and whether it is new. Needs hatchling and packaging beside pip, which are installed with
Ansible by deploy/requirements/deploy.txt.
"""

import argparse
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
CACHE = REPOSITORY / ".cache" / "wheelhouse"
REQUIREMENTS = REPOSITORY / "deploy" / "requirements"
SHARED = [
    REPOSITORY / "systemd" / "edgeclassifier.service",
    REPOSITORY / "systemd" / "drop-ins" / "10-rising-delay.conf",
    REPOSITORY / "systemd" / "drop-ins" / "20-other-clock.conf",
    REPOSITORY / "systemd" / "71-edgeclassifier.rules",
    REPOSITORY / "deploy" / "roles" / "edgeclassifier" / "files" / "health_gate.py",
]
"""Installed with a release, so that going back to it brings them back."""
# Bookworm has glibc 2.36; what needs a newer one would not start there.
_GLIBC = range(36, 16, -1)
_EPOCH = "1577836800"
"""In place of the time of the build, so that the same source gives the same wheel."""
_RELEASES_KEPT = 8
_NEEDED = ("hatchling", "packaging", "pip")
ARCHIVE = "release.zip"


def main() -> None:
    """Build what is not there yet, and say where it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", required=True, help="of the device, such as 3.13")
    parser.add_argument("--machine", required=True, help="of the device, such as aarch64")
    parser.add_argument("--system-packages", action="store_true", help="NumPy comes from apt")
    args = parser.parse_args()
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        sys.exit(
            f"wheelhouse: {sys.executable}, which Ansible runs with, has no {', '.join(missing)}: "
            "install Ansible in an environment of its own as in docs/fleet.md, "
            f"with pip install --require-hashes -r {REQUIREMENTS / 'deploy.txt'}"
        )
    lock = REQUIREMENTS / ("device-system.txt" if args.system_packages else "device.txt")
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".lock").open("w") as lock_file, tempfile.TemporaryDirectory(dir=CACHE) as temp:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        dependencies = locked_wheels(lock, python=args.python, machine=args.machine)
        release = Path(temp) / "release"
        (release / "share").mkdir(parents=True)
        for path in SHARED:
            shutil.copy2(path, release / "share")
        wheels = [*dependencies, project_wheel(Path(temp) / "wheel")]
        name = finish(release, sorted(wheels, key=lambda wheel: wheel.name))
        target = CACHE / name
        is_new = not is_whole(target / ARCHIVE)
        if is_new:
            shutil.rmtree(target, ignore_errors=True)
            release.rename(target)
        forget_old(keep=target)
    sys.stdout.write(json.dumps({"release": name, "path": str(target), "changed": is_new}) + "\n")


def forget_old(*, keep: Path) -> None:
    """Remove all but the newest releases; they can be built again."""
    keep.touch()
    releases = sorted(CACHE.glob("*/share"), key=lambda share: share.parent.stat().st_mtime)
    for share in releases[:-_RELEASES_KEPT]:
        shutil.rmtree(share.parent)


def is_whole(archive: Path) -> bool:
    """Tell whether an archive is there, and nothing in it is damaged."""
    try:
        with zipfile.ZipFile(archive) as opened:
            return opened.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def locked_wheels(lock: Path, *, python: str, machine: str) -> list[Path]:
    """Download what a lock file has for one kind of device, once, or again what was damaged."""
    wanted = applicable(lock.read_text(encoding="utf-8"), python=python, machine=machine)
    folder = CACHE / f"dependencies-{sha256(f'{python} {machine} {wanted}'.encode())[:16]}"
    if any(sha256(wheel.read_bytes()) not in wanted for wheel in folder.glob("*")):
        shutil.rmtree(folder)
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=CACHE) as temp:
            requirements = Path(temp) / "requirements.txt"
            requirements.write_text(wanted, encoding="utf-8")
            (complete := Path(temp) / "wheels").mkdir()
            platforms = [f"manylinux_2_{minor}_{machine}" for minor in _GLIBC]
            abi = "cp" + python.replace(".", "")
            command = ["download", "--quiet", "--dest", str(complete), "--no-deps"]
            command += ["--require-hashes", "--only-binary", ":all:", "--python-version", python]
            command += ["--implementation", "cp", "--abi", abi, "--abi", "abi3", "--abi", "none"]
            command += [option for each in platforms for option in ("--platform", each)]
            command += ["--platform", f"manylinux2014_{machine}", "--requirement"]
            run([sys.executable, "-m", "pip", *command, str(requirements)])
            complete.rename(folder)
    return sorted(folder.iterdir())


def applicable(lock: str, *, python: str, machine: str) -> str:
    """Keep the requirements of a lock file whose markers hold on the device, without the markers.

    pip would judge them by the machine that it runs on.
    """
    from packaging.markers import Marker

    environment = {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }
    kept = []
    for entry in re.split(r"\n(?=\S)", lock.strip()):
        requirement, *hashes = entry.split(" \\\n")
        pin, _, marker = requirement.partition(";")
        if not marker or Marker(marker).evaluate(environment):
            kept.append(" \\\n".join([pin.strip(), *hashes]))
    return "\n".join(kept) + "\n"


def project_wheel(folder: Path) -> Path:
    """Build the wheel of this checkout, the same for the same source."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    run(build, environment={"SOURCE_DATE_EPOCH": _EPOCH})
    return next(folder.glob("*.whl"))


def finish(release: Path, wheels: list[Path]) -> str:
    """Put all into an archive, with the hash of every wheel for pip, and name the release."""
    lines = [f"./{wheel.name} --hash=sha256:{sha256(wheel.read_bytes())}" for wheel in wheels]
    (release / "install.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    shared = sorted((release / "share").iterdir())
    with zipfile.ZipFile(release / ARCHIVE, "w") as archive:  # without compression: wheels have it
        for path in [*wheels, release / "install.txt"]:
            archive.write(path, path.name)
        for path in shared:
            archive.write(path, f"share/{path.name}")
    lines += [f"{path.name} {sha256(path.read_bytes())}" for path in shared]
    own = next(wheel for wheel in wheels if wheel.name.startswith("edgeclassifier_daemon-"))
    return f"{version_of(own)}-{sha256(os.linesep.join(lines).encode())[:12]}"


def version_of(wheel: Path) -> str:
    """Read the version from a wheel's metadata."""
    with zipfile.ZipFile(wheel) as archive:
        file = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return re.findall(r"^Version: (\S+)$", archive.read(file).decode(), re.MULTILINE)[0]


def sha256(content: bytes) -> str:
    """Hash, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def run(command: list[str], *, environment: dict[str, str] | None = None) -> None:
    """Run a tool in the checkout; if it fails, show its output and end."""
    done = subprocess.run(  # noqa: S603 - our own arguments
        command,
        cwd=REPOSITORY,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
    )
    if done.returncode:
        sys.exit(f"wheelhouse: {' '.join(command[1:4])} failed:\n{done.stdout.strip()}")


if __name__ == "__main__":
    main()
