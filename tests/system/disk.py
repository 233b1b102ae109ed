"""What a virtual Pi writes, on top of the image, and a look at it while the machine is off."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.programs import run

from system.tools import find

_TIMEOUT_S = 300
# e2fsck's exit code is a sum of these.
_CORRECTED = 1 | 2


@dataclass(frozen=True, slots=True)
class StoppedDisk:
    """A copy of a disk whose machine is off, its journal replayed as the next boot would."""

    path: Path
    damaged: bool
    """Whether the file system was not sound even then: a journal that fails its purpose."""

    report: str
    """What e2fsck said."""

    def read(self, path: str) -> bytes:
        """Return a file's content. Raises FileNotFoundError."""
        result = subprocess.run(
            [find("debugfs"), "-R", f'cat "{path}"', str(self.path)],
            capture_output=True,
            check=True,
            timeout=_TIMEOUT_S,
        )
        if b"File not found" in result.stderr:
            raise FileNotFoundError(path)
        return result.stdout


class Disk:
    """A qcow2 overlay: takes every write, leaves the image as it is.

    Each run of the machine writes into a file of its own on top. In that one every cluster is new,
    and the emulator keeps the places of new clusters in its memory until the guest flushes. So a
    killed emulator loses what the guest has sent but not flushed, as a disk without power does.
    """

    def __init__(self, *, base: Path, folder: Path) -> None:
        """Make it, or go on with the one that is there."""
        self._base = base.resolve()
        # Absolute: a relative one would be sought beside the file that names it.
        self._overlay = folder.resolve() / "overlay.qcow2"
        self._session = folder.resolve() / "session.qcow2"
        if not self._overlay.exists():
            self.reset()

    def begin(self) -> Path:
        """Return the file to run on; the machine must be off."""
        self._settle()
        # Clusters like the guest's blocks: none is written in part, which would read the rest.
        self._create(self._session, self._overlay, "qcow2", "-o", "cluster_size=4k")
        return self._session

    def reset(self) -> None:
        """Forget everything that was written."""
        self._session.unlink(missing_ok=True)
        self._create(self._overlay, self._base, "raw")

    def save(self, copy: Path) -> None:
        """Keep what has been written so far, for restore(); the machine must be off."""
        self._settle()
        shutil.copyfile(self._overlay, copy)

    def restore(self, copy: Path) -> None:
        """Go back to what save() kept; the machine must be off."""
        self._session.unlink(missing_ok=True)
        shutil.copyfile(copy, self._overlay)

    @contextmanager
    def stopped(self) -> Iterator[StoppedDisk]:
        """Look at the disk, in a copy; the machine must be off."""
        self._settle()
        with tempfile.TemporaryDirectory(dir=self._overlay.parent) as folder:
            raw = Path(folder) / "disk.ext4"
            self._qemu_img("convert", "-f", "qcow2", "-O", "raw", str(self._overlay), str(raw))
            replay = self._check(raw, "-y", "-E", "journal_only")
            check = self._check(raw, "-f", "-n")
            report = f"{replay.stdout}{check.stdout}"
            damaged = bool(replay.returncode & ~_CORRECTED or check.returncode)
            yield StoppedDisk(path=raw, damaged=damaged, report=report)

    @staticmethod
    def _check(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
        return run([find("e2fsck"), *options, path], timeout_s=_TIMEOUT_S)

    def _settle(self) -> None:
        if self._session.exists():
            self._qemu_img("commit", "-q", "-f", "qcow2", str(self._session))
            self._session.unlink()

    def _create(self, path: Path, backing: Path, backing_format: str, *options: str) -> None:
        backed = ["-F", backing_format, "-b", str(backing)]
        self._qemu_img("create", "-q", "-f", "qcow2", *backed, *options, str(path))

    @staticmethod
    def _qemu_img(*arguments: str) -> None:
        subprocess.run([find("qemu-img"), *arguments], check=True, timeout=_TIMEOUT_S)
