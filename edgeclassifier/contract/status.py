"""How the parts are: what each says of itself at one moment, as plain data."""

from dataclasses import field
from typing import Literal

from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.contract.results import Backend

AcceleratorFault = Literal["absent", "lost", "hung", "slow", "error", "crashed", "unfit"]
"""absent: the library or the device is not there; lost: the worker died while it served; hung: no
answer within the deadline; slow: answers that keep taking too long; error: the delegate reports
one; crashed: the worker died while it loaded; unfit: the model does not suit, so only a person can
help."""


AcceleratorState = Literal["starting", "ready", "waiting", "stopped"]
"""starting: the first attempt; waiting: for the next attempt, or for its outcome."""


@plain_data
class AcceleratorStatus(Plain):
    """How an accelerator does. `reason` is one line for people, None while nothing is wrong."""

    state: AcceleratorState
    fault: AcceleratorFault | None = None
    reason: str | None = None
    failures: int = 0
    """Faults so far, attempts that failed included."""
    returns: int = 0
    """How often it became ready after a fault."""


View = Literal["clear", "dark", "covered"]


@plain_data
class CameraStatus(Plain):
    """How the camera is."""

    state: Literal["starting", "ok", "recovering", "undecodable", "frozen"]
    problem: str | None = None
    """What is wrong, for people."""
    recoveries: int
    """How often it was opened again since the start."""
    view: View = "clear"
    """Whether a live camera sees anything: "dark" at night, "covered" where nothing has an edge."""


Storage = Literal["memory", "disk"]


@plain_data
class BufferStatus(Plain):
    """How a buffer is."""

    pending: int
    pending_bytes: int
    """As counted against the limit, what each message costs beside its payload included."""
    dropped: int
    """Messages that gave way to newer ones, or that the disk has lost."""
    storage: Storage
    """What keeps new messages now."""
    problem: str | None = None
    """Why messages are not on disk although they should be: one line."""
    written_messages: int = 0
    written_bytes: int = 0
    """What the written messages occupy on disk; the journal takes as much again."""
    commits: int = 0
    picture_bytes: int = 0
    """What the pictures of messages take, as counted against the limit of their own."""
    pictures_dropped: int = 0
    """Pictures that will not arrive, although the messages that name them may."""


@plain_data
class KeepStatus(Plain):
    """How the keeping of pictures is."""

    pictures: int
    """How many there are."""
    bytes: int
    """On the disk, as counted against keep.max_mib."""
    kept: int
    """Written since the start."""
    dropped: int
    """Left out since the start, because the disk was too slow or failed."""
    problem: str | None = None
    """Why none are written although they should be: one line."""


@plain_data
class CountsStatus(Plain):
    """How the counting of what was seen is."""

    labels: int
    """How many labels are known."""
    problem: str | None = None
    """Why counts do not outlive a restart: one line."""


@plain_data
class ReloadStatus(Plain):
    """What became of the newest request to read the configuration again."""

    timestamp: str
    status: Literal["applied", "unchanged", "refused"]
    changed: tuple[str, ...] = ()
    """The keys whose values are other ones now."""
    problem: str | None = None
    """Why the old configuration is kept, or a part of it."""


@plain_data
class Crash(Plain):
    """An end that was not asked for."""

    reason: str
    exit_code: int | None
    """None if the daemon could not say any."""
    timestamp: str
    """When it ended or, if that is not known, when it had started; UTC."""


@plain_data
class Throttling(Plain):
    """What the Raspberry Pi firmware held back, now and at any time since boot."""

    now: tuple[str, ...]
    since_boot: tuple[str, ...]


@plain_data
class Percentiles(Plain):
    """Of one stage, in seconds."""

    p50: float
    p95: float
    max: float


@plain_data
class Progress(Plain):
    """What was classified so far."""

    frames: int
    fps: float
    """Over the last half minute, or since the start."""
    frame_age_s: float | None
    """Since the newest classified frame was captured; None before the first."""
    latency: dict[str, Percentiles]
    """By stage, of the newest frames."""


@plain_data
class MachineStatus(Plain):
    """The device; None for what it cannot tell."""

    memory_rss_bytes: int | None
    """Of the daemon."""
    cpu_temperature_c: float | None
    throttling: Throttling | None
    clock_synchronized: bool
    """Whether wall-clock time can be believed."""


@plain_data
class PipelineStatus(Plain):
    """Where frames go, and how many did not get there."""

    camera: CameraStatus
    backend: Backend
    accelerator: AcceleratorStatus | None
    """None if none is configured."""
    paused: bool
    superseded_frames: int
    """Gave way to a newer one before they were classified."""
    unreadable_frames: int
    """Could not be decoded."""


@plain_data
class ViewProgress(Plain):
    """What was classified so far in one view."""

    frames: int = 0
    """Answered by the model, or by the previous answer if nothing has changed."""
    repeated: int = 0
    """Those of them that were given the previous answer."""
    label_changes: int = 0
    fps: float = 0.0
    """Answered frames each second, over the last half minute or since the start."""
    frame_age_s: float | None = None
    """Since the newest answered frame was captured; None before the first."""


@plain_data
class ViewStatus(Plain):
    """One view of the camera."""

    view: str
    """What it is called."""
    progress: ViewProgress
    model: str | None
    """The name of its model; None if it has none that works."""
    backend: Backend | None
    problem: str | None = None
    """Why it is not classified, for people."""


DropReason = Literal["buffer", "no_place", "lost", "refused", "too_large", "closed"]
"""buffer: gave way to newer ones, or the disk has lost it; no_place: offline, or too many wait;
lost: with a connection, and not of a kind that is sent again; refused: by the broker, for a reason
that does not pass; too_large: for the broker; closed: the broker closes connections over it."""


@plain_data
class MqttStatus(Plain):
    """The connection to the broker, and the messages that were given to it."""

    connected: bool
    protocol: str | None = None
    """The version of MQTT that was agreed on last; None before the first connection."""
    listening: bool | None = None
    """Whether requests are heard; None if there is nothing to listen to."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Topics that the broker does not take, and why."""
    published: int
    """Messages that were accepted for delivery."""
    dropped: int
    """Messages that had no place, were refused, or got lost; those of the buffer included."""
    drops: dict[str, int] = field(default_factory=dict)
    """The same, by reason (DropReason)."""
    reconnects: int
    last_error: str | None
    """Why the latest connection failed or ended; kept when the next one succeeds."""


@plain_data
class GuestStatus(Plain):
    """An optional observer of the daemon: the page, the textfile, Home Assistant's announcer."""

    name: str
    state: Literal["running", "waiting"]
    """waiting: for its next start, after a fault."""
    problem: str | None = None
    """What ended it last; None once it has run for a while since."""
    restarts: int = 0


@plain_data
class Status(Plain):
    """The daemon at one moment: each part has given one piece."""

    uptime_s: float
    excused_s: float | None
    """Last time at which no frame was due, on the monotonic clock."""
    progress: Progress
    machine: MachineStatus
    pipeline: PipelineStatus
    mqtt: MqttStatus
    buffer: BufferStatus
    guests: tuple[GuestStatus, ...]
    keep: KeepStatus | None = None
    """None if no pictures are kept."""
    counts: CountsStatus | None = None
    reload: ReloadStatus | None
    """None before the first request."""
    last_crash: Crash | None
    views: tuple[ViewStatus, ...] = ()
    """At least one, of a daemon that runs."""
