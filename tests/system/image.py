"""The virtual Pi's disk: built from a recipe, kept under the recipe's hash, never written to."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as Picture
from PIL import ImageOps

from system import wheels
from system.tools import Architecture, ToolMissingError, find, require

CAMERA_SIZE = (640, 480)
"""Width and height of the only mode that virtual.yaml gives the virtual camera."""

_HERE = Path(__file__).parent
_RECIPE = _HERE / "recipe"
_SAMPLES = wheels.REPOSITORY / "edgeclassifier" / "samples"
_PICTURES = (".jpg", ".png")
# Another architecture's, on a busy machine; this machine's own takes a few minutes.
_BUILD_TIMEOUT_S = 3 * 3600

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Image:
    """What one recipe gave; `folder` is read-only by agreement."""

    architecture: Architecture
    folder: Path

    @property
    def disk(self) -> Path:
        """The root file system, raw."""
        return self.folder / "disk.ext4"

    @property
    def kernel(self) -> Path:
        """Of the guest; it has no boot loader."""
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """Of the guest."""
        return self.folder / "initrd.img"

    @property
    def key(self) -> Path:
        """Private key of this machine that root of the guest accepts; made for this image."""
        return self.folder / "id_ed25519"

    @property
    def public_key(self) -> str:
        """The line for authorized_keys."""
        return self.key.with_suffix(".pub").read_text().strip()

    @property
    def host_key(self) -> str:
        """Type and key by which the guest is known, without a host name."""
        return " ".join(Path(self.folder / "ssh_host_ed25519_key.pub").read_text().split()[:2])


def cache_folder() -> Path:
    """Return where images are kept: outside of the repository, and safe to delete."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "edgeclassifier" / "virtual-pi"


def recipe_hash(architecture: Architecture) -> str:
    """Return a hash of everything that the project puts into an image.

    What Debian publishes meanwhile is not part of it: delete the cache to get newer packages.
    """
    inputs = [*_RECIPE.rglob("*"), *_SAMPLES.iterdir(), _HERE / "image.py"]
    digest = hashlib.sha256(architecture.encode())
    for path in sorted(path for path in inputs if path.is_file() and path.suffix != ".pyc"):
        content = path.read_bytes()
        name = path.relative_to(wheels.REPOSITORY)
        digest.update(f"\n{name} {path.stat().st_mode & 0o111:o} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def image(architecture: Architecture, *, say: Say) -> Image:
    """Return the image of today's recipe, building it first if it is not in the cache.

    Raises ToolMissingError; CalledProcessError where a step of the build failed.
    """
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"{architecture}-{recipe_hash(architecture)}"
    with _lock(cache / f"{architecture}.lock"):
        if folder.is_dir():
            say(f"image {folder.name}: from the cache")
            return Image(architecture, folder)
        require(architecture)
        started_s = time.monotonic()
        say(f"image {folder.name}: building")
        prefix = f"build-{architecture}-"
        for left in cache.glob(f"{prefix}*"):  # by one that was killed
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(
            prefix=prefix, dir=cache, ignore_cleanup_errors=True
        ) as temporary:
            outputs = Path(temporary) / "outputs"
            outputs.mkdir()
            _build(architecture, Path(temporary), outputs, say)
            _remove_old(cache, architecture)
            outputs.rename(folder)
        say(f"image {folder.name}: built in {time.monotonic() - started_s:.0f} s")
    return Image(architecture, folder)


def _build(architecture: Architecture, folder: Path, outputs: Path, say: Say) -> None:
    inputs = folder / "inputs"
    for name in ("wheels", "pictures"):
        (inputs / name).mkdir(parents=True)
    say("0 s: pictures, and wheels from the package index")
    _make_pictures(inputs / "pictures")
    wheels.fetch(_RECIPE / "wheels.txt", inputs / "wheels", architecture=architecture)
    log = cache_folder() / f"{architecture}.log"
    say(f"the rest of the output is in {log}")
    command = [*_as_root(), str(_RECIPE / "build.sh"), architecture, str(inputs), str(outputs)]
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, text=True
        ) as process,
    ):
        assert process.stdout is not None
        limit = threading.Timer(_BUILD_TIMEOUT_S, process.kill)
        limit.start()
        try:
            for line in process.stdout:
                say(line.rstrip())
            process.wait()
        finally:
            limit.cancel()
            process.kill()  # what is left of it when this is interrupted
    if process.returncode:
        raise subprocess.CalledProcessError(
            process.returncode, "build.sh", "\n".join(log.read_text().splitlines()[-20:])
        )
    key = outputs / "id_ed25519"
    options = ["-q", "-t", "ed25519", "-N", "", "-C", "virtual-pi", "-f", str(key)]
    subprocess.run([find("ssh-keygen"), *options], check=True, timeout=60)


def _as_root() -> list[str]:
    if os.geteuid() == 0:
        return []
    sudo = ["sudo", "-n"]
    if shutil.which("sudo") is None or subprocess.run([*sudo, "true"], check=False).returncode:
        raise ToolMissingError(
            "debootstrap needs root: run this as root, or let sudo ask no password"
        )
    return sudo


def _make_pictures(folder: Path) -> None:
    """Make JPEGs of the camera's size from the project's samples, cutting off what is outside."""
    for path in _SAMPLES.iterdir():
        if path.suffix in _PICTURES:
            with Picture.open(path) as picture:
                fitted = ImageOps.fit(picture.convert("RGB"), CAMERA_SIZE)
            fitted.save(folder / f"{path.stem}.jpg", quality=95)


def _remove_old(cache: Path, architecture: Architecture) -> None:
    for path in cache.glob(f"{architecture}-*"):
        shutil.rmtree(path)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
