"""Keeps the pictures that are worth it, in a thread of its own: the disk may be slow, or fail."""

import contextlib
import io
import logging
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from edgeclassifier.contract.frame import Pixels
from edgeclassifier.contract.kept import KeptPicture
from edgeclassifier.contract.messages import timestamp
from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.contract.results import Result, State
from edgeclassifier.contract.status import KeepStatus
from edgeclassifier.errors import KeepError
from edgeclassifier.host import threads
from edgeclassifier.host.boot import kernel_boot
from edgeclassifier.host.priority import be_nice
from edgeclassifier.host.threads import OnDeath
from edgeclassifier.keep.policy import DAY_S, KeepRules, Policy
from edgeclassifier.keep.room import Usage
from edgeclassifier.keep.store import Store

_MOST_WAITING = 8
_JOIN_S = 2.0
_RETRY_S = 60.0
_MEASURE_S = 60.0
_LEAST_REMEMBERED = 2000

log = logging.getLogger(__name__)

Describe = Callable[[Result], Mapping[str, Any]]
"""Renders the payload of a result's prediction."""


@plain_data
class _Waiting(Plain):
    crop: Pixels
    picture: KeptPicture


class Keeper:
    """Sees every result, and writes those that are worth it.

    While the disk fails, a few pictures wait, later ones are left out, and the disk is tried again
    each minute. What is written stays within the limits of the rules, restarts included.
    """

    def __init__(
        self,
        *,
        store: Store,
        rules: KeepRules,
        max_bytes: int,
        quality: int,
        describe: Describe,
        clock_synchronized: Callable[[], bool],
        nice: int = 0,
        retry_s: float = _RETRY_S,
        on_death: OnDeath | None = None,
    ) -> None:
        """Keep at most `max_bytes`, as JPEGs of `quality` 1 to 95, at niceness `nice`."""
        self._nice = nice
        self._store = store
        self._rules = rules
        self._max_bytes = max_bytes
        self._quality = quality
        self._describe = describe
        self._clock_synchronized = clock_synchronized
        self._retry_s = retry_s
        self._on_death = on_death
        self._boot = kernel_boot()
        self._waiting: queue.Queue[_Waiting | None] = queue.Queue(_MOST_WAITING)
        self._policy: Policy | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._problem: str | None = None
        self._usage = Usage(pictures=0, bytes=0)
        self._kept = self._dropped = 0

    @property
    def status(self) -> KeepStatus:
        """Counts since the start, and what is wrong. May be read from any thread."""
        return KeepStatus(
            pictures=self._usage.pictures,
            bytes=self._usage.bytes,
            kept=self._kept,
            dropped=self._dropped,
            problem=self._problem,
        )

    def start(self) -> None:
        """Begin, as soon as it is known what earlier runs have kept."""
        self._thread = threads.start(self._run, name="keep", on_death=self._on_death)

    def stop(self) -> None:
        """Write what waits, if the disk is quick, and end."""
        self._stopping.set()
        # If it is full, the thread looks after each picture whether it is to stop.
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
        if self._thread is not None:
            self._thread.join(_JOIN_S)

    def handle(self, result: Result, changed: State | None) -> None:
        """Take a result, in the daemon's thread: an Observer. Never waits for the disk."""
        policy = self._policy
        if policy is None or (kind := policy.kind(result, changed)) is None:
            return
        best = result.predictions[0] if result.predictions else None
        name = changed.name if kind == "changed" and changed else best.name if best else "unknown"
        score = changed.score if kind == "changed" and changed else best.score if best else 0.0
        prediction = self._describe(result)
        synchronized = prediction.get("clock_synchronized", self._clock_synchronized())
        picture = KeptPicture(
            id="0",
            kind=kind,
            view=result.view or result.frame.camera,
            name=name,
            score=round(score, 5),
            timestamp=timestamp(result.frame.utc),
            clock_synchronized=bool(synchronized),
            bytes=0,
            sha256="",
            prediction=prediction,
            kernel_boot=self._boot,
            monotonic_s=round(result.frame.monotonic_s, 3),
        )
        try:
            self._waiting.put_nowait(_Waiting(crop=result.crop, picture=picture))
        except queue.Full:
            self._dropped += 1

    def _run(self) -> None:
        be_nice(self._nice)
        while not self._remember():
            if self._stopping.wait(self._retry_s):
                return
        while not (self._stopping.is_set() and self._waiting.empty()):
            try:
                waiting = self._waiting.get(timeout=_MEASURE_S)
            except queue.Empty:
                self._measure()
                continue
            if waiting is None:
                return
            jpeg = encode_jpeg(waiting.crop, quality=self._quality)
            while not self._write(waiting.picture, jpeg):
                if self._stopping.wait(self._retry_s):
                    return

    def _measure(self) -> None:
        """Look how much there is: a command may have thrown some away."""
        with contextlib.suppress(KeepError):
            self._usage = self._store.usage()

    def _remember(self) -> bool:
        """Count what earlier runs have kept towards the limits; return whether that is known."""
        now_s = time.monotonic()
        most = max([_LEAST_REMEMBERED, *(each.per_day for each in self._rules.limits.values())])
        try:
            ages_s = ages_by_kind(
                islice(self._store.written(), 3 * most),
                boot=self._boot,
                now_s=now_s,
                synchronized=self._clock_synchronized(),
            )
            self._usage = self._store.usage()
        except KeepError as error:
            self._report(str(error))
            return False
        self._policy = Policy(self._rules, now_s=now_s, ages_s=ages_s)
        self._report(None)
        return True

    def _write(self, picture: KeptPicture, jpeg: bytes) -> bool:
        try:
            self._store.add(picture, jpeg, max_bytes=self._max_bytes)
            self._usage = self._store.usage()
        except KeepError as error:
            self._report(str(error))
            return False
        self._kept += 1
        self._report(None)
        return True

    def _report(self, problem: str | None) -> None:
        if problem is None and self._problem is not None:
            log.info("pictures are kept again in %s", self._store.folder)
        elif problem is not None and problem != self._problem:
            log.warning("%s: trying again", problem)
        self._problem = problem


def ages_by_kind(
    earlier: Iterable[KeptPicture], *, boot: str, now_s: float, synchronized: bool
) -> dict[str, list[float]]:
    """Return how long ago each picture was kept, or the least that this can be, by kind.

    `now_s` is on the monotonic clock, which counts from the start of the kernel.
    """
    ages_s: dict[str, list[float]] = defaultdict(list)
    now = datetime.now(UTC)
    for picture in earlier:
        age_s = max(0.0, now_s - picture.monotonic_s)
        if age_s > DAY_S and picture.kernel_boot == boot:
            break  # all others are older
        if not boot or picture.kernel_boot != boot:
            # It is older than this run of the kernel; a clock that was set may tell by how much.
            age_s = now_s
            if synchronized and picture.clock_synchronized:
                age_s = max(age_s, _wall_age_s(picture.timestamp, now))
        ages_s[picture.kind].append(age_s)
    return ages_s


def _wall_age_s(when: str, now: datetime) -> float:
    try:
        return (now - datetime.fromisoformat(when)).total_seconds()
    except (ValueError, TypeError):
        return 0.0


def encode_jpeg(crop: Pixels, *, quality: int) -> bytes:
    """Encode what was classified as a JPEG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(crop).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
