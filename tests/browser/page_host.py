"""A daemon with a page, that can be killed and started again on the same port."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.brokers import Mosquitto, free_port, wait_until
from support.daemon import SAMPLES, Daemon, isolated, run_cli
from support.tiny_models import with_files
from support.web_client import ask_port

from edgeclassifier.compose.engine import build_engine
from edgeclassifier.compose.model import find_model
from edgeclassifier.config import Config

MARKUP = "<i>espresso</i>"
"""What the model calls a cup of coffee."""
AFFIXES = ("{}", "{}" + "_with_a_long_name" * 18, "قطة {} في الحديقة", "🐈 {}" + " 🐈‍⬛" * 40)
"""Around the labels of the model: long ones, from right to left, of pictures."""
OTHER_MODEL = "garden_birds"
SCENE_FRAMES = 15
RATE_HZ = 8.0
UNRELATED_HZ = 4.0
PATIENCE_S = 40.0


@dataclass(kw_only=True)
class Host:
    """Shows a cat and a cup of coffee by turns."""

    folder: Path
    broker: Mosquitto
    password: str | None = None
    unrelated: bool = False
    """Show pictures of all shapes instead, one after the other, with labels of all lengths."""
    broker_port: int = 0
    """Another port than the broker's, where none may be."""
    stream_url: str = ""
    """A network camera in place of the pictures."""
    keeps: bool = False
    """Keep the pictures of changes."""
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.env = isolated(self.folder)
        self._daemon: Daemon | None = None
        pictures = self.folder / "pictures"
        pictures.mkdir()
        if self.unrelated:
            for number, path in enumerate(sorted(SAMPLES.glob("*.*g")) * 2):
                (pictures / f"{number}-{path.name}").symlink_to(path)
            self._write_config(self._long_labels())
            return
        for scene, name in enumerate(("chelsea.png", "coffee.png")):
            for frame in range(SCENE_FRAMES):
                (pictures / f"{scene}-{frame:02}-{name}").symlink_to(SAMPLES / name)
        self._write_config(self._labels())

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}/"

    def start(self) -> None:
        daemon = Daemon(env=self.env, config=self.folder / "config.toml")
        self._daemon = daemon.__enter__()
        assert wait_until(self._answers, timeout_s=PATIENCE_S), daemon.lines

    def kill(self) -> None:
        if self._daemon is not None:
            self._daemon.__exit__(None, None, None)
            self._daemon = None

    @property
    def lines(self) -> list[str]:
        assert self._daemon is not None
        return self._daemon.lines

    def _answers(self) -> bool:
        try:
            return ask_port(self.port, "GET", "/").status in {200, 401}
        except OSError:
            return False

    def _labels(self) -> Path:
        """Install the model under another name, too, and return labels with markup in one."""
        model = find_model(Config().model)
        classes = build_engine(Config(), model).classifier.labels
        assert "espresso" in classes
        labels, own = self.folder / "labels.txt", self.folder / "own.txt"
        labels.write_text("\n".join(MARKUP if each == "espresso" else each for each in classes))
        own.write_text("\n".join(classes))
        # With one more file in it, or it would be known for what it is.
        other = self.folder / f"{OTHER_MODEL}.tflite"
        other.write_bytes(with_files(model.path.read_bytes(), {"note.txt": b"a copy"}))
        added = run_cli("models", "add", other, "--labels", own, env=self.env)
        assert added.returncode == 0, added.stderr
        return labels

    def _long_labels(self) -> Path:
        model = find_model(Config().model)
        classes = build_engine(Config(), model).classifier.labels
        labels = self.folder / "long.txt"
        labels.write_text(
            "\n".join(
                AFFIXES[number % len(AFFIXES)].format(label) + ", and another name" * (number % 7)
                for number, label in enumerate(classes)
            )
        )
        return labels

    def _write_config(self, labels: Path) -> None:
        settings: dict[str, dict[str, Any]] = {
            "device": {"id": "porch", "state_directory": str(self.folder / "state")},
            "camera": {"source": "replay"},
            "camera.replay": {
                "path": str(self.folder / "pictures"),
                "rate_hz": UNRELATED_HZ if self.unrelated else RATE_HZ,
            },
            "model": {"labels": str(labels), "name": "efficientnet_lite2_260_int8"},
            "state": {"hold_s": 0.5, "window_s": 0.0},
            "mqtt": {"host": "127.0.0.1", "port": self.broker_port or self.broker.port},
            "web": {"enabled": True, "port": self.port},
        }
        if self.keeps:
            settings["keep"] = {"kinds": ["changed"]}
            settings["keep.changed"] = {"per_hour": 3600, "per_day": 86_400}
        if self.stream_url:
            settings["camera"]["source"] = "stream"
            settings["camera.stream"] = {"url": self.stream_url}
        if self.password is not None:
            secret = self.folder / "web-password"
            secret.write_text(self.password)
            secret.chmod(0o600)
            settings["web"]["password_file"] = str(secret)
        lines = []
        for table, values in settings.items():
            lines.append(f"[{table}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        (self.folder / "config.toml").write_text("\n".join(lines))
