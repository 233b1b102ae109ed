"""What goes wrong with real daemons, and the alerts that it has to raise."""

import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from paho.mqtt.publish import single
from PIL import Image
from support.brokers import Mosquitto, wait_until
from support.daemon import SAMPLES

from monitoring.prometheus import Prometheus
from monitoring.served import fetch
from monitoring.unit import Unit


@dataclass(kw_only=True)
class World:
    """The device under test, and its monitoring."""

    porch: Unit
    """Scraped."""
    shed: Unit
    """Writes a file."""
    broker: Mosquitto
    prometheus: Prometheus
    begin_s: float

    def shows(self, name: str, state: str) -> bool:
        """Tell whether there is this alert."""
        return (name, state) in self.prometheus.alerts()

    def lacks(self, name: str, state: str) -> bool:
        return not self.shows(name, state)

    def is_well(self) -> bool:
        """Tell whether both daemons work, for Prometheus."""
        return self.prometheus.value("count(edgeclassifier_ready == 1)") == 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that goes wrong, and the alerts that have to fire while it does."""

    name: str
    begin: Callable[[World], None]
    end: Callable[[World], None]
    alerts: tuple[str, ...]
    state: str = "firing"

    def __str__(self) -> str:
        return self.name


def inject(fault: str) -> Callable[[World], None]:
    def begin(world: World) -> None:
        world.porch.site.fault.write_text(fault)

    return begin


def clear_the_fault(world: World) -> None:
    world.porch.site.fault.unlink()


def show(picture: str, *, frozen_after_s: float = 0.0) -> Callable[[World], None]:
    def begin(world: World) -> None:
        settings = world.porch.site.settings
        settings["camera.replay"]["path"] = picture.format(folder=world.porch.site.folder)
        settings["camera"]["frozen_after_s"] = frozen_after_s
        world.porch.reload()

    return begin


def show_plain(grey: int) -> Callable[[World], None]:
    def begin(world: World) -> None:
        Image.new("L", (320, 320), grey).save(world.porch.site.folder / "plain.png")
        show("{folder}/plain.png")(world)

    return begin


PICTURES = str(SAMPLES / "*.*g")


def restart_the_broker_often(world: World) -> None:
    for _ in range(12):
        world.broker.kill()
        world.broker.start()
        assert wait_until(lambda: fetch_code(world.porch.port, "/readyz") == 200)


def break_the_accelerator(world: World) -> None:
    world.porch.accelerator.act("run abort")


def restore_the_accelerator(world: World) -> None:
    world.porch.accelerator.mend()


def refuse_a_configuration(world: World) -> None:
    world.porch.site.settings["state"]["threshold"] = 5
    world.porch.reload()


def take_a_configuration(world: World) -> None:
    world.porch.site.settings["state"]["threshold"] = 0.5
    world.porch.reload()


def restart_often(world: World) -> None:
    for _ in range(3):
        world.porch.end(signal.SIGKILL)
        world.porch.start()
        assert wait_until(lambda: fetch_code(world.porch.port, "/readyz") == 200), (
            "it does not start"
        )
        time.sleep(2)


def block_the_disk(world: World) -> None:
    blocked = world.porch.site.folder / "blocked"
    blocked.write_text("a file in place of a folder")
    path = str(blocked / "buffer.sqlite")
    world.porch.site.settings["buffer"] |= {
        "storage": "disk",
        "path": path,
        "write_interval_s": 0.5,
    }
    world.porch.end()
    world.porch.start()


def free_the_disk(world: World) -> None:
    blocked = world.porch.site.folder / "blocked"
    blocked.unlink()
    blocked.mkdir()


def ask(command: str) -> Callable[[World], None]:
    def request(world: World) -> None:
        topic = f"{world.porch.site.topic}/request/{command}"
        single(topic, json.dumps({}), hostname="127.0.0.1", port=world.broker.port)

    return request


def fetch_code(port: int, path: str) -> int:
    try:
        return fetch(f"http://127.0.0.1:{port}{path}")[0]
    except OSError:
        return 0


FAULTS = [
    Fault(
        name="the camera is silent",
        begin=inject("camera is silent"),
        end=clear_the_fault,
        alerts=("EdgeclassifierNoFrames", "EdgeclassifierCameraUnsteady"),
    ),
    Fault(
        name="the picture stands still",
        begin=show(str(SAMPLES / "chelsea.png"), frozen_after_s=1.0),
        end=show(PICTURES),
        alerts=("EdgeclassifierCameraBroken",),
    ),
    Fault(
        name="something is before the lens",
        begin=show_plain(200),
        end=show(PICTURES),
        alerts=("EdgeclassifierCameraCovered",),
    ),
    Fault(
        name="it is dark",
        begin=show_plain(5),
        end=show(PICTURES),
        alerts=("EdgeclassifierDarkForLong",),
        state="pending",
    ),
    Fault(
        name="the broker is away",
        begin=lambda world: world.broker.kill(),
        end=lambda world: world.broker.start(),
        alerts=("EdgeclassifierDisconnected", "EdgeclassifierMessagesDropped"),
    ),
    Fault(
        name="the broker comes and goes",
        begin=restart_the_broker_often,
        end=lambda _: None,
        alerts=("EdgeclassifierReconnecting",),
    ),
    Fault(
        name="the accelerator aborts",
        begin=break_the_accelerator,
        end=restore_the_accelerator,
        alerts=("EdgeclassifierDegraded",),
    ),
    Fault(
        name="it is hot, and the supply is weak",
        begin=lambda world: world.porch.be(throttled=0x50005, temperature=85_000),
        end=lambda world: world.porch.be(throttled=0x50000, temperature=60_000),
        alerts=("EdgeclassifierHot", "EdgeclassifierThrottled", "EdgeclassifierUndervoltage"),
    ),
    Fault(
        name="a configuration is refused",
        begin=refuse_a_configuration,
        end=take_a_configuration,
        alerts=("EdgeclassifierConfigRefused",),
    ),
    Fault(
        name="classifying is paused",
        begin=ask("pause"),
        end=ask("resume"),
        alerts=("EdgeclassifierPausedForLong",),
        state="pending",
    ),
    Fault(
        name="the daemon is killed repeatedly",
        begin=restart_often,
        end=lambda _: None,
        alerts=("EdgeclassifierRestarting",),
    ),
    Fault(
        name="the buffer has no disk",
        begin=block_the_disk,
        end=free_the_disk,
        alerts=("EdgeclassifierBufferProblem",),
    ),
    Fault(
        name="the scraped daemon is stopped",
        begin=lambda world: world.porch.end(),
        end=lambda world: world.porch.start(),
        alerts=("EdgeclassifierDown",),
    ),
    Fault(
        name="the writing daemon is stopped",
        begin=lambda world: world.shed.end(),
        end=lambda world: world.shed.start(),
        alerts=("EdgeclassifierDown",),
    ),
    Fault(
        name="the writing daemon is killed",
        begin=lambda world: world.shed.end(signal.SIGKILL),
        end=lambda world: world.shed.start(),
        alerts=("EdgeclassifierTextfileStale",),
    ),
]
