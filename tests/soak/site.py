"""Everything that a soak needs: broker, camera, accelerator, subscriber, and the daemon."""

import contextlib
import json
import os
import shutil
import signal
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.brokers import Mosquitto
from support.daemon import SAMPLES, Daemon, isolated
from support.delegate.build import Device, build
from support.tiny_models import LABELS, Operation, Tensor, classifier, model

from edgeclassifier.compose.model import BUNDLED_MODEL, model_store
from edgeclassifier.daemon.announced import read_announced
from edgeclassifier.engine.runtime import load_model
from edgeclassifier.engine.tensors import TensorForm, TensorLayout
from soak.camera import IpCamera
from soak.door import Door
from soak.process import find_child
from soak.watcher import Watcher

PATIENCE_S = 60.0
"""Longest time for everything to be well again after a fault; most take two seconds."""
BUFFER_S = 90.0
"""The buffer looks every minute whether the disk takes messages again."""
_FEW_PENDING = 30
"""As many messages may be under way at full speed."""
_OBSERVED = Path(__file__).parent / "observed"
_WORKER = "accelerator.worker"


class Site:
    """A device in its surroundings, from entering the context until leaving it."""

    def __init__(self, folder: Path, *, rate_hz: float) -> None:
        self.folder = folder
        self.heap_file = folder / "heap"
        self._exit = contextlib.ExitStack()
        lines = ("max_queued_messages 0", "max_inflight_messages 0")
        self.broker = Mosquitto(folder, lines=lines)
        self.camera = IpCamera(SAMPLES, rate_hz=rate_hz)
        self.device = Device(folder) if shutil.which("gcc") else None
        self._library = build(folder) if self.device else None
        self.settings: dict[str, dict[str, Any]] = {
            "device": {"id": "porch", "state_directory": str(folder / "state")},
            "camera": {"source": "stream", "deadline_s": 1.0, "max_recoveries": 1000},
            "camera.stream": {"url": self.camera.url, "timeout_s": 2.0, "reconnect_max_s": 1.0},
            "preprocess": {"crop_fraction": 0.875},
            "model": {},
            "accelerator": {"delegate": "none"},
            "state": {"threshold": 0.3, "hold_s": 0.2, "heartbeat_s": 5.0},
            "image": {"enabled": True, "max_rate_hz": 2.0},
            "mqtt": {"host": "127.0.0.1", "keepalive_s": 30, "max_rate_hz": 0.0},
            "buffer": {"storage": "disk", "write_interval_s": 1.0},
        }
        self.settings["mqtt"] |= {"reconnect_min_s": 0.1, "reconnect_max_s": 0.5}
        self.settings["mqtt"]["health_interval_s"] = 1.0
        if self.device:
            self.settings["accelerator"] |= {"delegate": str(self._library), "deadline_s": 0.5}
            self.settings["accelerator"] |= {"slow_s": 0.05, "load_deadline_s": 4.0}
            self.settings["accelerator"] |= {"retry_min_s": 0.1, "retry_max_s": 0.5}
            self.settings["accelerator.options"] = dict(self.device.options)
        self._models = {"tiny": self._tiny(), "bundled": self._bundled()}
        self.use_model("tiny")

    def __enter__(self) -> Self:
        with self._exit:
            self._exit.callback(self.camera.close)
            self._exit.enter_context(self.broker)
            self.door = Door(to_port=self.broker.port)
            self._exit.callback(self.door.close)
            self.settings["mqtt"]["port"] = self.door.port
            self.watcher = Watcher(self.broker.port)
            self._exit.callback(self.watcher.close)
            if not self.watcher.wait_for(lambda: self.watcher.subscriptions, PATIENCE_S):
                raise RuntimeError("the broker does not confirm the subscription")
            self.write()
            # Whoever looks for the cause of growth may try malloc's settings.
            malloc = {name: each for name, each in os.environ.items() if "MALLOC" in name}
            env = isolated(
                self.folder,
                PYTHONPATH=str(_OBSERVED),
                EDGECLASSIFIER_HEAP=str(self.heap_file),
                **malloc,
            )
            self.daemon = self._exit.enter_context(Daemon(env=env, config=self._config))
            self._exit = self._exit.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._exit.close()

    @property
    def worker(self) -> int | None:
        """The process of the accelerator."""
        return find_child(self.daemon.pid, _WORKER)

    @property
    def buffer(self) -> dict[str, Any]:
        """The state of the buffer."""
        buffer: dict[str, Any] = self.watcher.health["buffer"]
        return buffer

    @property
    def state(self) -> str:
        """What memory and files may depend on while nothing is wrong."""
        health = self.watcher.health
        model = Path(self.settings["accelerator"]["model"]).stem.partition("_")[0]
        storage = health["buffer"]["storage"] if health else ""
        return f"{model}, {self.camera.size}, {storage}"

    @property
    def clearing(self) -> bool:
        """Whether a thread waits for what an earlier connection's last will may yet leave."""
        topics = read_announced(Path(self.settings["device"]["state_directory"]))
        name = self.settings["device"]["id"]
        return any(f"/{name}/" not in topic for topic in topics)

    def write(self) -> None:
        """Write the configuration; it is read at the start, and by reload()."""
        lines = []
        for table, values in self.settings.items():
            lines.append(f"[{table}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        self._config.write_text("\n".join(lines))

    def reload(self) -> None:
        """Write the configuration and have the daemon read it."""
        self.write()
        self.daemon.stop(signal.SIGHUP)

    def use_model(self, name: str) -> None:
        """Configure the model "tiny" or "bundled"."""
        self.settings["model"] |= self._models[name]["model"]
        self.settings["accelerator"] |= self._models[name]["accelerator"]

    def restart_broker(self) -> None:
        """Start it after kill(), and let the daemon in once the subscriber is back."""
        before = self.watcher.subscriptions
        self.broker.start()
        if not self.watcher.wait_for(lambda: self.watcher.subscriptions > before, PATIENCE_S):
            raise RuntimeError("the subscriber does not come back")
        self.door.open()

    def wait_until_well(self) -> str | None:
        """Wait until frames flow and nothing is wrong; return what is wrong after PATIENCE_S."""
        since_s = time.monotonic()
        frames = self.watcher.health.get("frames", 0)

        def well() -> bool:
            fresh = self.watcher.health_s > since_s
            return fresh and self._wrong(self.watcher.health, frames) is None

        if self.watcher.wait_for(well, PATIENCE_S):
            return None
        if self.watcher.health_s <= since_s:
            return "no health is published"
        return self._wrong(self.watcher.health, frames) or "nothing, at last"

    def _wrong(self, health: dict[str, Any], frames: int) -> str | None:
        accelerator, camera = health["accelerator"], health["camera"]
        if accelerator is not None and accelerator["state"] != "ready":
            return f"accelerator {accelerator['state']}: {accelerator['reason']}"
        if camera["state"] != "ok":
            return f"camera {camera['state']}: {camera['problem']}"
        if health["frames"] <= frames:
            return "no new frames"
        if health["buffer"]["pending"] > _FEW_PENDING:
            return f"buffer: {health['buffer']['pending']} messages pending"
        return None

    @property
    def _config(self) -> Path:
        return self.folder / "config.toml"

    def _tiny(self) -> dict[str, dict[str, str]]:
        path = self.folder / "tiny.tflite"
        path.write_bytes(classifier("uint8", scale=1 / 256, last="SOFTMAX"))
        labels = path.with_suffix(".txt")
        labels.write_text("\n".join(LABELS))
        return {
            "model": {"name": str(path), "labels": str(labels)},
            "accelerator": {"model": str(self._compiled("tiny", path))},
        }

    def _bundled(self) -> dict[str, dict[str, str]]:
        path = model_store("").path(BUNDLED_MODEL)
        return {
            "model": {"name": BUNDLED_MODEL, "labels": ""},
            "accelerator": {"model": str(self._compiled("bundled", path))},
        }

    def _compiled(self, name: str, path: Path) -> Path:
        """Write what the tests' delegate takes for a model, with the same input and output."""
        layout = TensorLayout.of(load_model(path).interpreter)
        tensors = [_tensor(layout.input), _tensor(layout.output)]
        operation = Operation(name="edgetpu-custom-op", input=0, output=1)
        compiled = self.folder / f"{name}_edgetpu.tflite"
        compiled.write_bytes(model(tensors, [operation]))
        return compiled


def _tensor(form: TensorForm) -> Tensor:
    return Tensor(shape=form.shape, dtype=form.dtype, scale=form.scale, zero_point=form.zero_point)
