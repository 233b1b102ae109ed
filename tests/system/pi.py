"""The device under test: a virtual Pi, its broker, who watches it, and what is deployed to it."""

import json
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.brokers import Mosquitto

from system.image import Image, Say
from system.machine import HOST_ADDRESS, Machine
from system.playbook import Checkout, DeploymentError, Recap, play
from system.watcher import BROKER, Seen, Watcher, WatchError

DEVICE = "virtual-pi"
UNIT = "edgeclassifier.service"
RATE_HZ = 0.1
"""Of pictures: emulated, each takes one of the two cores for two seconds, or more."""
_CAMERA_DEADLINE_S = 45.0
BACK_S = 240.0
"""The daemon may take as long to publish again, times patience."""
_GATE_S = 300
# A loop of Python's takes this long on the virtual Pi (amd64) where two idle cores emulate it.
_LOOP_S = 1.2
_MOST_PATIENCE = 8.0
# Who deploys, as on Raspberry Pi OS: not root, and sudo asks nothing.
_USER = "pi"
_PREPARE = f"""set -e
useradd --create-home --shell /bin/bash --groups sudo {_USER}
echo '{_USER} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/010_{_USER}-nopasswd
chmod 440 /etc/sudoers.d/010_{_USER}-nopasswd
install -d -m 700 -o {_USER} -g {_USER} /home/{_USER}/.ssh
install -m 600 -o {_USER} -g {_USER} /dev/stdin /home/{_USER}/.ssh/authorized_keys
sync
"""


class ScenarioError(Exception):
    """The device did not do what it has to. The message says what was seen instead."""


class Pi:
    """A context manager that leaves nothing running. With `kept`, a deployed device can be kept."""

    def __init__(
        self, image: Image, folder: Path, *, kept: Path | None, seed: int, say: Say
    ) -> None:
        """Keep everything in `folder`, and what outlives the run in the folder `kept`."""
        self._folder = folder
        self._kept = kept
        self._image = image
        self.say = say
        self.random = random.Random(seed)
        self._end = ExitStack()
        self.machine = Machine(image, folder / "machine", say=say)
        self.camera: dict[str, Any] = {
            "source": "picamera2",
            "deadline_s": _CAMERA_DEADLINE_S,
            "picamera2": {"frame_rate_hz": RATE_HZ},
        }
        self.extra: dict[str, Any] = {}
        """Variables of the inventory that a step has set for the steps after it."""
        self.patience = 1.0
        """How many times longer things take than with two idle cores on the usual machine."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end.close()

    def switch_on_empty(self) -> None:
        """Boot the image, with a user who may become root."""
        self._begin(port=None)
        self.machine.shell.run(_PREPARE, stdin=f"{self._image.public_key}\n".encode())
        self.machine.show("chelsea")
        self.now = self.checkout("0.1.0")

    def switch_on_kept(self) -> None:
        """Boot what keep() has kept. Raises ScenarioError."""
        assert self._kept is not None
        record = self._kept / "kept.json"
        if not record.exists():
            raise ScenarioError(f"{self._kept} has no deployed device: begin with the step deploy")
        kept = json.loads(record.read_text())
        if kept["image"] != self._image.folder.name:
            raise ScenarioError(f"{self._kept} is of another image: begin with the step deploy")
        self.machine.disk.restore(self._kept / "deployed.qcow2")
        self._begin(port=kept["port"])
        self.now = self.checkout("0.1.0")
        self.prediction(mark=0)

    def keep(self) -> None:
        """Keep the device as it is, for other runs, if that is wanted at all."""
        if self._kept is None:
            return
        self.machine.stop()
        self._kept.mkdir(parents=True, exist_ok=True)
        record = self._kept / "kept.json"
        record.unlink(missing_ok=True)
        self.machine.disk.save(self._kept / "deployed.qcow2")
        record.write_text(json.dumps({"image": self._image.folder.name, "port": self.broker.port}))
        mark = self.watcher.mark()
        self.machine.start()
        self.another_run(mark)

    def _begin(self, *, port: int | None) -> None:
        lines = (*BROKER, f"persistence_location {self._folder}/")
        self.broker = Mosquitto(self._folder, lines=lines, port=port)
        self._end.enter_context(self.machine)
        self._end.enter_context(self.broker)
        self.watcher = self._end.enter_context(Watcher(self.broker.port))
        state = self.machine.start()
        if state != "running":
            raise ScenarioError(state)

    def take_the_time(self) -> float:
        """Measure how slow the machine is now, for `patience`; return the factor."""
        started_s = time.monotonic()
        self.machine.run("python3 -c 'sum(range(3_000_000))'", timeout_s=300)
        factor = (time.monotonic() - started_s) / _LOOP_S
        self.patience = min(max(1.0, factor), _MOST_PATIENCE)
        return factor

    def checkout(self, version: str) -> Checkout:
        """Copy the project as another version of itself."""
        folder = self._folder / version
        shutil.rmtree(folder, ignore_errors=True)
        return Checkout(folder, version=version)

    @property
    def variables(self) -> dict[str, Any]:
        """What the inventory says of the device."""
        return {
            "ansible_user": _USER,
            "edgeclassifier_config": {
                "device": {"id": DEVICE},
                "camera": self.camera,
                "mqtt": {
                    "host": HOST_ADDRESS,
                    "port": self.broker.port,
                    "health_interval_s": 5.0,
                    "keepalive_s": 10,
                },
            },
            # Debian has no python3-picamera2: it is in the image.
            "edgeclassifier_packages": ["python3-venv"],
            "edgeclassifier_gate_deadline_s": round(_GATE_S * self.patience),
            **self.extra,
        }

    def deploy(self, checkout: Checkout) -> Recap:
        """Deploy, and it has to work. Raises DeploymentError."""
        return self.play(checkout, "site.yml")

    def play(
        self, checkout: Checkout, name: str, *arguments: str, ok: bool = True, **changes: Any
    ) -> Recap:
        """Run a playbook with changed variables; raise DeploymentError if it ends otherwise."""
        variables = {**self.variables, **changes}
        recap = play(self.machine, checkout, name, *arguments, variables=variables)
        if recap.ok != ok:
            raise DeploymentError(recap.output[-6000:])
        return recap

    def prediction(self, *, mark: int) -> Seen:
        """Wait for one."""
        return self.wait("a prediction", lambda each: each.kind == "predictions", mark)

    def another_run(self, mark: int) -> Seen:
        """Wait for a prediction by a daemon that has started after the mark."""
        known = {each.json()["boot_id"] for each in self.watcher.until(mark, "predictions")}
        return self.wait(
            "a prediction of another run",
            lambda each: each.kind == "predictions" and each.json()["boot_id"] not in known,
            mark,
        )

    def wait(
        self,
        what: str,
        condition: Callable[[Seen], object],
        mark: int,
        timeout_s: float = BACK_S,
    ) -> Seen:
        """Wait for a message, with patience; say what the journal has where it does not come."""
        with self._journal_on_failure():
            return self.watcher.wait_for(
                what, condition, mark=mark, timeout_s=timeout_s * self.patience
            )

    @contextmanager
    def _journal_on_failure(self) -> Iterator[None]:
        try:
            yield
        except WatchError as error:
            journal = self.machine.run(
                f"systemctl status --no-pager {UNIT}; journalctl --no-pager -u {UNIT} -n 60",
                check=False,
            ).stdout
            raise ScenarioError(f"{error}\n{journal}") from None
