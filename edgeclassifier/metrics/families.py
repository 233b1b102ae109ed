"""From one look at the daemon to families of metrics, named as Prometheus wants them.

Every series has the label `device`, so that the files of several daemons can lie side by side. No
label grows with time: those that name a model, a version or a camera change when a person changes
them. The label that holds is not among them: a thousand classes on each device would be a thousand
series, and it is on MQTT, with a time. Here its changes are counted.

Names and texts stay as they are from version to version: of two files that describe the same name
differently, the node exporter drops the series of one.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args, get_type_hints

from edgeclassifier.contract.status import (
    AcceleratorFault,
    AcceleratorState,
    AcceleratorStatus,
    CameraStatus,
    Throttling,
    View,
    Vitals,
)
from edgeclassifier.host.system import THROTTLING_CONDITIONS
from edgeclassifier.metrics.maker import Maker
from edgeclassifier.metrics.probes import Verdict
from edgeclassifier.metrics.tally import Counts

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_CAMERA_STATES: Collection[str] = get_args(get_type_hints(CameraStatus)["state"])
_VIEWS: Collection[str] = get_args(View)
_ACCELERATOR_STATES: Collection[str] = get_args(AcceleratorState)
_FAULTS: Collection[str] = get_args(AcceleratorFault)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the daemon is, and what it runs; the values of labels."""

    device: str
    camera: str
    version: str
    python: str
    runtime: str
    model: str
    model_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The daemon at one moment."""

    identity: Identity
    counts: Counts
    vitals: Vitals
    healthy: Verdict
    ready: Verdict
    uptime_s: float
    started_at_s: float
    """Since 1970, by the clock as it was then."""
    frame_age_s: float | None
    deadline_s: float
    cpu_s: float
    memory_rss_bytes: int | None
    cpu_temperature_c: float | None
    throttling: Throttling | None
    clock_synchronized: bool


def families(at: Snapshot) -> Iterator["Metric"]:
    """Render everything that is known."""
    make = Maker(at.identity.device)
    yield from running(at.identity.device, now=True)
    yield from _daemon(make, at)
    yield from _frames(make, at)
    yield from _camera(make, at)
    yield from _backend(make, at)
    if at.vitals.accelerator is not None:
        yield from _accelerator(make, at.vitals.accelerator)
    yield from _messages(make, at.vitals)
    yield from _machine(make, at)


def running(device: str, *, now: bool) -> Iterator["Metric"]:
    """Render whether the daemon runs: all that can be said when it has ended."""
    yield Maker(device).gauge("running", "Whether the daemon runs.", now)


def _daemon(make: Maker, at: Snapshot) -> Iterator["Metric"]:
    who, vitals = at.identity, at.vitals
    yield make.info(
        "build",
        "What the daemon was built from, and runs on.",
        {"version": who.version, "python": who.python, "runtime": who.runtime},
    )
    yield make.info("model", "The model in use.", {"model": who.model, "sha256": who.model_sha256})
    yield make.gauge("uptime_seconds", "Time since the daemon started.", at.uptime_s)
    yield make.gauge(
        "start_time_seconds",
        "When the daemon started, by the device's clock, which may have been wrong then.",
        at.started_at_s,
    )
    yield make.gauge("healthy", "Whether the daemon gets on, as /healthz says.", at.healthy.ok)
    yield make.gauge("ready", "Whether predictions come out, as /readyz says.", at.ready.ok)
    yield make.gauge("paused", "Whether somebody has paused classifying.", vitals.paused)
    yield make.gauge(
        "started_after_crash",
        "Whether the run before this one ended without being asked to.",
        vitals.last_crash is not None,
    )
    yield make.gauge(
        "config_last_reload_successful",
        "Whether the last reload was taken; 1 where there was none.",
        vitals.reload is None or vitals.reload.status != "refused",
    )


def _frames(make: Maker, at: Snapshot) -> Iterator["Metric"]:
    counts, vitals = at.counts, at.vitals
    yield make.counters(
        "frames",
        "Frames that were answered: by the model, or with the answer before, as nothing changed.",
        "answer",
        {"classified": counts.classified, "repeated": counts.repeated},
    )
    if at.frame_age_s is not None:
        yield make.gauge(
            "frame_age_seconds",
            "Time since the newest frame that was answered was captured.",
            at.frame_age_s,
        )
    yield make.gauge(
        "frame_deadline_seconds", "The longest frame age that is no fault.", at.deadline_s
    )
    yield make.histogram(
        "stage_duration_seconds",
        "What the stages took of classified frames.",
        {(name,): spread for name, spread in counts.stages.items()},
        labels=["stage"],
    )
    yield make.histogram(
        "frame_latency_seconds",
        "From the capture of a classified frame to its answer, waiting included.",
        {(): counts.latency},
    )
    yield make.counters(
        "dropped_frames",
        "Frames that were not answered: a newer one was there, or they could not be decoded.",
        "reason",
        {"superseded": vitals.superseded_frames, "unreadable": vitals.unreadable_frames},
    )
    yield make.counter("label_changes", "Changes of the stable label.", counts.label_changes)


def _camera(make: Maker, at: Snapshot) -> Iterator["Metric"]:
    camera = at.vitals.camera
    yield make.info("camera", "The camera.", {"camera": at.identity.camera})
    text = "How the camera is: 1 for the state that holds."
    yield make.states("camera_state", text, "state", _CAMERA_STATES, [camera.state])
    text = "Whether a live camera sees anything: 1 for the view that holds."
    yield make.states("camera_view", text, "view", _VIEWS, [camera.view])
    yield make.counter(
        "camera_recoveries", "How often the camera was opened again.", camera.recoveries
    )


def _backend(make: Maker, at: Snapshot) -> Iterator["Metric"]:
    backend = at.vitals.backend
    yield make.info("backend", "What runs the model.", {"backend": backend.name})
    yield make.gauge("degraded", "Whether the CPU stands in for an accelerator.", backend.degraded)
    yield make.counter(
        "fallbacks", "How often the CPU took over from an accelerator.", at.counts.fallbacks
    )


def _accelerator(make: Maker, status: AcceleratorStatus) -> Iterator["Metric"]:
    text = "How the accelerator is: 1 for the state that holds."
    yield make.states("accelerator_state", text, "state", _ACCELERATOR_STATES, [status.state])
    faults = [] if status.fault is None else [status.fault]
    text = "What is wrong with the accelerator: 1 for the fault that holds."
    yield make.states("accelerator_fault", text, "fault", _FAULTS, faults)
    yield make.counter(
        "accelerator_failures",
        "Faults of the accelerator, failed attempts to get it back included.",
        status.failures,
    )
    yield make.counter(
        "accelerator_returns", "How often the accelerator came back.", status.returns
    )


def _messages(make: Maker, vitals: Vitals) -> Iterator["Metric"]:
    buffer = vitals.buffer
    yield make.gauge("mqtt_connected", "Whether the broker is connected.", vitals.connected)
    yield make.counter("mqtt_reconnects", "How often the connection came back.", vitals.reconnects)
    yield make.counter(
        "published_messages", "Messages accepted for delivery.", vitals.published_messages
    )
    yield make.counter(
        "dropped_messages",
        "Messages that were lost, those that the buffer dropped included.",
        vitals.dropped_messages,
    )
    yield make.counter(
        "buffer_dropped_messages",
        "Messages that gave way to newer ones in the buffer, or that its disk lost.",
        buffer.dropped,
    )
    yield make.gauge(
        "buffer_pending_messages", "Messages in the buffer, not acknowledged yet.", buffer.pending
    )
    yield make.gauge(
        "buffer_pending_bytes",
        "Size of the buffer's messages as counted against buffer.max_mib.",
        buffer.pending_bytes,
    )
    yield make.gauge(
        "buffer_problem",
        "Whether messages are not on disk although they should be.",
        buffer.problem is not None,
    )
    yield make.counter("buffer_commits", "Writes of the buffer to its disk.", buffer.commits)
    yield make.counter(
        "buffer_written_bytes",
        "Size of the messages that the buffer wrote to its disk.",
        buffer.written_bytes,
    )


def _machine(make: Maker, at: Snapshot) -> Iterator["Metric"]:
    yield make.counter("process_cpu_seconds", "CPU time of the daemon's process.", at.cpu_s)
    if at.memory_rss_bytes is not None:
        yield make.gauge(
            "process_resident_memory_bytes",
            "Resident memory of the daemon's process.",
            at.memory_rss_bytes,
        )
    yield make.gauge(
        "clock_synchronized", "Whether the device's clock can be believed.", at.clock_synchronized
    )
    if at.cpu_temperature_c is not None:
        yield make.gauge("cpu_temperature_celsius", "Temperature of the CPU.", at.cpu_temperature_c)
    if at.throttling is not None:
        for name, text, holds in (
            ("throttling", "What the firmware holds back now.", at.throttling.now),
            (
                "throttling_since_boot",
                "What the firmware has held back at any time since boot.",
                at.throttling.since_boot,
            ),
        ):
            yield make.states(name, text, "condition", THROTTLING_CONDITIONS, holds)
