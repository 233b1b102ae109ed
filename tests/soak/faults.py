"""What can happen to a device, each for a while, and then it is over."""

import os
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from soak.site import PATIENCE_S, Site

Subject = Literal["camera", "accelerator", "broker", "disk", "configuration"]

_FULL_BYTES = 4096
"""No file may grow beyond this: less than the buffer's journal needs."""


class NoAnswerError(Exception):
    """The daemon does not answer what it was asked."""


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that happens to one part of a site."""

    name: str
    subject: Subject
    begin: Callable[[], object]
    end: Callable[[], object] = field(default=_nothing)


def all_faults(site: Site) -> list[Fault]:
    """Return everything that can happen there."""
    faults = [*_broker(site), *_camera(site), *_disk(site), *_configuration(site)]
    return faults + (_accelerator(site) if site.device else [])


def _broker(site: Site) -> list[Fault]:
    def kill() -> None:
        site.door.close()
        site.broker.kill()

    return [
        Fault(name="broker killed", subject="broker", begin=kill, end=site.restart_broker),
        Fault(
            name="broker frozen",
            subject="broker",
            begin=site.broker.pause,
            end=site.broker.resume,
        ),
        Fault(name="connection cut", subject="broker", begin=site.door.cut),
        Fault(
            name="broker unreachable",
            subject="broker",
            begin=site.door.close,
            end=site.door.open,
        ),
    ]


def _camera(site: Site) -> list[Fault]:
    def fault(behaviour: Any) -> Fault:
        return Fault(
            name=f"camera {behaviour}",
            subject="camera",
            begin=lambda: site.camera.behave(behaviour),
            end=lambda: site.camera.behave("good"),
        )

    resized = Fault(name="camera resized", subject="camera", begin=site.camera.resize)
    return [resized, *map(fault, ("dead", "stalled", "garbage", "refusing"))]


def _accelerator(site: Site) -> list[Fault]:
    device = site.device
    assert device is not None

    def kill() -> None:
        worker = site.worker
        if worker is not None:
            os.kill(worker, signal.SIGKILL)

    def fault(order: str) -> Fault:
        return Fault(
            name=f"accelerator: {order}",
            subject="accelerator",
            begin=lambda: device.act(order),
            end=device.mend,
        )

    def absent() -> None:
        device.act("load fail")
        kill()

    orders = ("run abort", "run segfault", "run hang", "run fail", "run slow 80")
    return [
        *map(fault, orders),
        Fault(name="accelerator unplugged", subject="accelerator", begin=absent, end=device.mend),
        Fault(name="worker killed", subject="accelerator", begin=kill),
    ]


def _disk(site: Site) -> list[Fault]:
    def limit(most: int) -> None:
        _, hard = resource.prlimit(site.daemon.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(site.daemon.pid, resource.RLIMIT_FSIZE, (most, hard))

    def mend() -> None:
        limit(resource.RLIM_INFINITY)

    return [Fault(name="disk full", subject="disk", begin=lambda: limit(_FULL_BYTES), end=mend)]


def _configuration(site: Site) -> list[Fault]:
    reloads = 0

    def answered(before: object) -> Callable[[], bool]:
        return lambda: (site.watcher.health.get("reload") or {}).get("timestamp") != before

    def fault(name: str, change: Callable[[], None]) -> Fault:
        before: list[object] = []

        def begin() -> None:
            before[:] = [(site.watcher.health.get("reload") or {}).get("timestamp")]
            change()
            site.reload()

        def end() -> None:
            if not site.watcher.wait_for(answered(before[0]), PATIENCE_S):
                raise NoAnswerError(f"{name}: no answer to SIGHUP")

        return Fault(name=f"reload: {name}", subject="configuration", begin=begin, end=end)

    def toggle(table: str, key: str, one: object, other: object) -> Fault:
        def change() -> None:
            values = site.settings[table]
            values[key] = other if values[key] == one else one

        return fault(f"{table}.{key}", change)

    def bad(name: str, table: str, key: str, value: object) -> Fault:
        """Ask for something impossible; the file is as it was when the fault is over."""
        asking = fault(name, lambda: None)

        def begin() -> None:
            good = dict(site.settings[table])
            goods.append(good)
            site.settings[table][key] = value
            asking.begin()

        def end() -> None:
            try:
                asking.end()
            finally:
                site.settings[table] = goods.pop()
                site.write()

        goods: list[dict[str, Any]] = []
        return Fault(name=asking.name, subject="configuration", begin=begin, end=end)

    def other_model() -> None:
        nonlocal reloads
        reloads += 1
        site.use_model("bundled" if reloads % 2 else "tiny")

    damaged = site.folder / "damaged.tflite"
    damaged.write_bytes((site.folder / "tiny.tflite").read_bytes()[:400])
    return [
        toggle("state", "threshold", 0.3, 0.6),
        toggle("mqtt", "keepalive_s", 30, 20),
        toggle("device", "id", "porch", "shed"),
        toggle("preprocess", "crop_fraction", 0.875, 0.7),
        toggle("camera.stream", "timeout_s", 2.0, 3.0),
        fault("another model", other_model),
        fault("another model", other_model),
        fault("nothing new", lambda: None),
        bad("out of range", "state", "threshold", 2),
        bad("a damaged model", "model", "name", str(damaged)),
    ]
