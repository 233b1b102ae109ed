"""A device for tests: its configuration, its faults on demand, and what it publishes."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from support.brokers import Received, Subscriber
from support.daemon import SAMPLES, Daemon, isolated
from support.tiny_models import LABELS, classifier

INJECTED = Path(__file__).parent / "injected"
RATE_HZ = 25


@dataclass(kw_only=True)
class Site:
    """A device: its configuration, its faults, and who watches it."""

    folder: Path
    port: int
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.config = self.folder / "config.toml"
        self.fault = self.folder / "fault"
        self.state = self.folder / "state"
        self.add_model("tiny")
        self.settings: dict[str, dict[str, Any]] = {
            "device": {"id": "porch", "state_directory": str(self.state)},
            "camera": {"source": "replay", "deadline_s": 1.0},
            "camera.replay": {"path": str(SAMPLES / "*.*g"), "rate_hz": RATE_HZ},
            "model": {},
            "mqtt": {"host": "127.0.0.1", "port": self.port, "root": self.folder.name},
            "state": {"hold_s": 0.0, "window_s": 0.0},
        }
        self.use_model("tiny")
        self.settings["mqtt"] |= {"max_rate_hz": 0.0, "health_interval_s": 60.0}
        self.settings["mqtt"] |= {"reconnect_min_s": 0.05, "reconnect_max_s": 0.1}

    def add_model(self, name: str, content: bytes | None = None) -> None:
        """Put a model and its labels beside the configuration."""
        model = classifier("uint8", scale=1 / 256) if content is None else content
        (self.folder / f"{name}.tflite").write_bytes(model)
        (self.folder / f"{name}.txt").write_text("\n".join(LABELS))

    def use_model(self, name: str) -> None:
        self.settings["model"]["name"] = str(self.folder / f"{name}.tflite")
        self.settings["model"]["labels"] = str(self.folder / f"{name}.txt")

    def write(self) -> None:
        lines = []
        for table, values in self.settings.items():
            lines.append(f"[{table}]")
            lines += [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in values.items()]
        self.config.write_text("\n".join(lines))

    @property
    def topic(self) -> str:
        return f"{self.settings['mqtt']['root']}/{self.settings['device']['id']}"

    @contextmanager
    def daemon(self) -> Iterator[Daemon]:
        self.write()
        env = isolated(
            self.folder,
            PYTHONPATH=str(INJECTED),
            EDGECLASSIFIER_FAULT=str(self.fault),
            **self.environment,
        )
        with Daemon(env=env, config=self.config) as daemon:
            try:
                yield daemon
            finally:
                self.fault.unlink(missing_ok=True)


def of(messages: Sequence[Received], kind: str) -> list[dict[str, Any]]:
    """Decode the payloads of one kind. An empty one clears a topic."""
    found = [each.payload for each in messages if each.topic.endswith(f"/{kind}")]
    return [json.loads(payload) for payload in found if payload]


def newest(messages: Sequence[Received], kind: str) -> dict[str, Any]:
    found = of(messages, kind)
    return found[-1] if found else {}


def has_predictions(count: int) -> Callable[[list[Received]], bool]:
    return lambda got: len(of(got, "predictions")) >= count


def has_info(messages: Sequence[Received]) -> bool:
    """Tell whether the device has said what it is, which it may do after its first predictions."""
    return bool(newest(messages, "info"))


def reload_is(status: str) -> Callable[[list[Received]], bool]:
    return lambda got: (newest(got, "health").get("reload") or {}).get("status") == status


def assert_no_prediction_is_missed(messages: Sequence[Received]) -> list[dict[str, Any]]:
    """Check that every picture was classified, in turn, and everything numbered has arrived."""
    predictions = of(messages, "predictions")
    order = sorted({each["origin"] for each in predictions})
    for before, after in pairwise(each["origin"] for each in predictions):
        assert order[(order.index(before) + 1) % len(order)] == after
    numbered = [*predictions, *of(messages, "state"), *of(messages, "event")]
    numbers = {each["seq"] for each in numbered}
    assert numbers == set(range(max(numbers) + 1))
    return predictions


def longest_gap_ms(predictions: Sequence[dict[str, Any]]) -> float:
    times = [datetime.fromisoformat(each["timestamp"]).timestamp() for each in predictions]
    return max(after - before for before, after in pairwise(times)) * 1000


def continues(subscriber: Subscriber) -> bool:
    """Tell whether there are more predictions than those seen so far."""
    so_far = len(of(subscriber.messages, "predictions"))
    return subscriber.wait_for(has_predictions(so_far + RATE_HZ))
