"""Makes a release of an archive of wheels. Runs on the device, as root, with the system's Python.

usage: install_release.py ARCHIVE FOLDER [--system-packages] [--like FOLDER]

FOLDER becomes a virtual environment with the wheels, without a pip of its own, and the archive's
folder share/; what an interrupted run has left there goes first. It is marked with .complete once
all of it is on the disk, because the power may fail at any moment. Dependencies that the release
after --like has of the same wheels are copied from it, each file compared with its hash. The
archive is removed.
"""

import argparse
import base64
import csv
import hashlib
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

_OWN = "edgeclassifier_daemon"
_LIST = "install.txt"
_WHEEL = re.compile(r"^\./([^-/]+)-([^-/]+)-\S+\.whl ")


def main() -> None:
    """Install, and say how."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--system-packages", action="store_true")
    parser.add_argument("--like", type=Path)
    args = parser.parse_args()
    os.umask(0o022)
    shutil.rmtree(args.folder, ignore_errors=True)
    venv.create(args.folder, system_site_packages=args.system_packages, symlinks=True)
    wheels = args.folder / "wheels"
    with zipfile.ZipFile(args.archive) as archive:
        archive.extractall(wheels)
    wanted = (wheels / _LIST).read_text(encoding="utf-8").splitlines(keepends=True)
    copied = copy_what_is_there(wanted, args.like, args.folder) if args.like else []
    install([line for line in wanted if line not in copied], wheels, python=args.folder)
    (wheels / "share").rename(args.folder / "share")
    shutil.copy2(wheels / _LIST, args.folder / "share")
    shutil.rmtree(wheels)
    os.sync()
    (args.folder / ".complete").touch(mode=0o644)
    args.archive.unlink()
    os.sync()
    sys.stdout.write(f"{len(wanted) - len(copied)} wheels installed, {len(copied)} copied\n")


def copy_what_is_there(wanted: list[str], source: Path, target: Path) -> list[str]:
    """Copy the packages that another release has of the same wheels; return their lines.

    Not their commands, which name the environment that they are in: nothing calls those of
    dependencies, and the project's own package is never copied.
    """
    listed = source / "share" / _LIST
    there = listed.read_text(encoding="utf-8").splitlines(keepends=True) if listed.is_file() else []
    packages = site_packages(target)
    copied = []
    for line in wanted:
        wheel = _WHEEL.match(line)
        if wheel is None or wheel[1] == _OWN or line not in there:
            continue
        record = site_packages(source) / f"{wheel[1]}-{wheel[2]}.dist-info" / "RECORD"
        files = intact(record)
        for file in files:
            copy = packages / file.relative_to(site_packages(source))
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, copy)
        if files:
            copied.append(line)
    return copied


def intact(record: Path) -> list[Path]:
    """List the files of an installed package, none if one of them is not what the wheel brought."""
    if not record.is_file():
        return []
    files = []
    with record.open(encoding="utf-8", newline="") as lines:
        for name, recorded, _ in csv.reader(lines):
            path = record.parent.parent / name
            if name.startswith("../"):
                continue
            if not path.is_file():
                return []
            kind, _, digest = recorded.partition("=")
            if digest:
                found = hashlib.new(kind, path.read_bytes()).digest()
                if base64.urlsafe_b64encode(found).rstrip(b"=").decode() != digest:
                    return []
            files.append(path)
    return files


def install(lines: list[str], wheels: Path, *, python: Path) -> None:
    """Let pip install wheels, whose hashes it compares; their byte code is made as well."""
    requirements = wheels / "wanted.txt"
    requirements.write_text("".join(lines), encoding="utf-8")
    options = ["--quiet", "--disable-pip-version-check", "--no-cache-dir", "--no-input"]
    options += ["--no-index", "--no-deps", "--ignore-installed", "--no-warn-script-location"]
    options += ["--root-user-action=ignore", "--require-hashes", "--requirement", str(requirements)]
    command = [str(python / "bin" / "python"), str(pip()), "install", *options]
    done = subprocess.run(  # noqa: S603 - our own arguments
        command,
        cwd=wheels,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
    )
    if done.returncode:
        sys.exit(f"pip failed:\n{done.stdout.strip()}")


def pip() -> Path:
    """Return the pip that this Python has for its virtual environments, which runs as it is."""
    import ensurepip

    # Debian takes it out of its own Python; to another one, the one of Debian may be too old.
    folders = [Path(ensurepip.__file__).parent / "_bundled", Path("/usr/share/python-wheels")]
    found = [wheel for folder in folders for wheel in sorted(folder.glob("pip-*.whl"))]
    if not found:
        sys.exit("no pip: sudo apt install python3-venv")
    return found[0] / "pip"


def site_packages(environment: Path) -> Path:
    """Return the folder of an environment's packages, for this version of Python."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return environment / "lib" / version / "site-packages"


if __name__ == "__main__":
    main()
