"""The device, its broker and its Home Assistant."""

import json
import shutil
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from support.brokers import Mosquitto, Subscriber
from support.daemon import SAMPLES, Daemon, isolated, run_cli
from support.delegate.build import Device as Delegate
from support.delegate.build import build, tiny_models
from support.device import Site, newest

from home_assistant.checks import Checks
from home_assistant.instance import HomeAssistant, State, without_our_paths

BUNDLED = "efficientnet_lite2_260_int8"
HEARTBEAT_S = 2.0
EXPIRE_AFTER_S = 9
"""What the discovery message makes of it."""
ENTITIES = {
    "label": "sensor.porch_label",
    "score": "sensor.porch_score",
    "seen_today": "sensor.porch_seen_today",
    "seen_before": "sensor.porch_seen_before",
    "first_today": "binary_sensor.porch_first_today",
    "first_ever": "binary_sensor.porch_first_ever",
    "event": "event.porch_label_changed",
    "image": "image.porch_image",
    "inference": "sensor.porch_inference_time",
    "rate": "sensor.porch_frame_rate",
    "temperature": "sensor.porch_cpu_temperature",
    "backend": "sensor.porch_backend",
    "buffer": "sensor.porch_buffer",
    "camera": "binary_sensor.porch_camera",
    "accelerator": "binary_sensor.porch_accelerator",
    "classifying": "switch.porch_classifying",
    "threshold": "number.porch_threshold",
    "model": "select.porch_model",
    "restart": "button.porch_restart",
}
_STRICT = Path(__file__).parent / "strict.py"


class World:
    """Everything that takes part, and what is expected of it."""

    def __init__(
        self,
        folder: Path,
        *,
        broker: Mosquitto,
        watching: Subscriber,
        ha: HomeAssistant,
        program: Path,
        checks: Checks,
    ) -> None:
        self.broker = broker
        self.watching = watching
        self.ha = ha
        self.checks = checks
        self._python = program.with_name("python")
        self._scene = folder / "scene.png"
        self._running = ExitStack()
        self._daemon: Daemon | None = None
        self.site = site = Site(folder=folder, port=broker.port)
        site.environment = {"EDGECLASSIFIER_LIVE": "1"}
        site.settings["camera"] |= {"frozen_after_s": 0.0, "max_recoveries": 100}
        site.settings["camera.replay"] |= {"path": str(self._scene), "rate_hz": 5.0}
        site.settings["model"] = {"name": BUNDLED}
        site.settings["state"]["heartbeat_s"] = HEARTBEAT_S
        site.settings["mqtt"] |= {"health_interval_s": HEARTBEAT_S, "max_rate_hz": 5.0}
        site.settings["image"] = {"enabled": True, "on": "event"}
        site.settings["homeassistant"] = {"enabled": True}
        self.install("tiny")
        self.show("chelsea.png")

    def install(self, name: str) -> None:
        """Put a model of a kilobyte into the store."""
        store = self.site.folder / "models"
        store.mkdir(exist_ok=True)
        shutil.copy(self.site.folder / "tiny.tflite", store / f"{name}.tflite")
        shutil.copy(self.site.folder / "tiny.txt", store / f"{name}.labels.txt")

    def show(self, sample: str) -> None:
        """Put a sample picture before the camera."""
        new = self._scene.with_suffix(".new")
        shutil.copyfile(SAMPLES / sample, new)
        new.replace(self._scene)

    def use_accelerator(self) -> Delegate:
        """Configure the tests' accelerator, and return what tells the device what to do."""
        folder = self.site.folder
        delegate = Delegate(folder)
        tiny_models(folder)
        self.site.use_model("tiny")
        self.site.settings["accelerator"] = {
            "delegate": str(build(folder)),
            "retry_min_s": 0.2,
            "retry_max_s": 0.5,
        }
        self.site.settings["accelerator.options"] = delegate.options
        return delegate

    @property
    def config_topic(self) -> str:
        """Where the device is announced."""
        return f"homeassistant/device/{self.site.settings['mqtt']['root']}-porch/config"

    @property
    def daemon(self) -> Daemon:
        """The daemon that runs."""
        assert self._daemon is not None, "not started"
        return self._daemon

    def start(self) -> None:
        """Start the daemon."""
        self._daemon = self._running.enter_context(self.site.daemon())

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the daemon a signal and return its exit code."""
        self.daemon.stop(number)
        return self.ended()

    def ended(self) -> int:
        """Wait until the daemon has ended, and return its exit code."""
        code = self.daemon.wait()
        self._running.close()
        return code

    def close(self) -> None:
        """End it in any case."""
        self._running.close()

    def command(self, *arguments: str) -> str:
        """Run another command on the device's configuration, and return what it prints."""
        self.site.write()
        command, *more = arguments
        env = isolated(self.site.folder)
        done = run_cli(command, "--config", self.site.config, *more, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def published(self, kind: str) -> dict[str, Any]:
        """Return the newest payload of a topic of the device."""
        base = f"{self.site.topic}/"
        return newest([each for each in self.watching.messages if base in each.topic], kind)

    def entity(self, key: str) -> State:
        """Return an entity as Home Assistant has it, an empty one where it has none."""
        return self.ha.state(ENTITIES[key]) or {"state": None, "attributes": {}}

    def state(self, key: str) -> str | None:
        """Return an entity's state, None where there is none."""
        found: str | None = self.entity(key)["state"]
        return found

    def attribute(self, key: str, name: str) -> Any:
        """Return an entity's attribute, None where there is none."""
        return self.entity(key)["attributes"].get(name)

    def unavailable(self) -> int:
        """Count the entities that are unavailable."""
        states = self.ha.states()
        return sum(
            states.get(entity, {}).get("state") == "unavailable" for entity in ENTITIES.values()
        )

    def strict_problems(self, document: str) -> list[str]:
        """Return what Home Assistant's own schemas refuse of a discovery message."""
        done = subprocess.run(
            [self._python, str(_STRICT)],
            input=document,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
            env=without_our_paths(),
        )
        found: list[str] = json.loads(done.stdout)
        return found
