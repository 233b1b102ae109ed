"""The programs that the virtual Pi needs on this machine, and Debian's names for them."""

import os
import platform
import shutil
import sys
from typing import Literal, NamedTuple, get_args

Architecture = Literal["amd64", "arm64"]
ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)

_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
_DEBIAN_NAMES: dict[str, Architecture] = {"x86_64": "amd64", "aarch64": "arm64"}


class Tool(NamedTuple):
    """A program, and the Debian package that brings it."""

    program: str
    package: str


COMMON = (
    Tool("debootstrap", "debootstrap"),
    Tool("mke2fs", "e2fsprogs"),
    Tool("debugfs", "e2fsprogs"),
    Tool("unshare", "util-linux"),
    Tool("qemu-img", "qemu-utils"),
    Tool("ssh", "openssh-client"),
    Tool("ssh-keygen", "openssh-client"),
    Tool("mosquitto", "mosquitto"),
)
EMULATORS: dict[Architecture, Tool] = {
    "amd64": Tool("qemu-system-x86_64", "qemu-system-x86"),
    "arm64": Tool("qemu-system-aarch64", "qemu-system-arm"),
}
# To run the second stage of another architecture's installation.
_USER_EMULATORS: dict[Architecture, Tool] = {
    "amd64": Tool("qemu-x86_64-static", "qemu-user-static"),
    "arm64": Tool("qemu-aarch64-static", "qemu-user-static"),
}


class ToolMissingError(Exception):
    """Something has to be installed first. The message says how, on one line."""


def host_architecture() -> Architecture | None:
    """Return Debian's name of this machine's architecture, None if it is neither of the two."""
    return _DEBIAN_NAMES.get(platform.machine())


def needed(architecture: Architecture) -> tuple[Tool, ...]:
    """Return what building and running a virtual Pi of that architecture takes."""
    tools = (*COMMON, EMULATORS[architecture])
    return tools if architecture == host_architecture() else (*tools, _USER_EMULATORS[architecture])


def find(program: str) -> str:
    """Return the path of a program, also where /usr/sbin is not in PATH."""
    path = shutil.which(program, path=_PATH)
    if path is None:
        raise ToolMissingError(f"{program} is not installed")
    return path


def require(architecture: Architecture) -> None:
    """Raise ToolMissingError, naming all packages to install, unless everything is there."""
    missing = [tool for tool in needed(architecture) if not shutil.which(tool.program, path=_PATH)]
    if missing:
        programs = ", ".join(tool.program for tool in missing)
        packages = " ".join(sorted({tool.package for tool in missing}))
        raise ToolMissingError(
            f"the virtual Pi ({architecture}) needs {programs}: sudo apt install {packages}"
        )


def _main() -> None:
    """Print what deploy/need.sh takes, for the architecture in the arguments."""
    (architecture,) = (each for each in ARCHITECTURES if each == sys.argv[1])
    for tool in needed(architecture):
        print(f"{tool.program}:{tool.package}")  # noqa: T201 - for who called it


if __name__ == "__main__":
    _main()
