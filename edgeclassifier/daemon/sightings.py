"""When each label was seen last, and how often today: counts that outlive a restart."""

import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

from edgeclassifier.contract.messages import timestamp
from edgeclassifier.contract.results import State
from edgeclassifier.contract.status import CountsStatus
from edgeclassifier.host import threads
from edgeclassifier.host.durable import read_json, reason, write_text
from edgeclassifier.host.threads import OnDeath

FILE = "seen.json"
_MOST_LABELS = 2000
"""Of all views; the label that was seen longest ago gives way."""
_MOST_PENDING = 1000
_LARGEST_BYTES = 4 << 20

log = logging.getLogger(__name__)

Seen = Mapping[str, Any]
Key = tuple[str, str]
"""View and name of a label."""


@dataclass(slots=True)
class _Label:
    last: datetime | None = None
    """When it was last there, as far as is known; None if the clock was not set."""
    day: date | None = None
    today: int = 0
    """How often on `day`."""


@dataclass(slots=True)
class _Present:
    """The sighting that lasts."""

    name: str
    before: datetime | None
    first_ever: bool


class Sightings:
    """Counts how often each label took over. For the daemon's thread, but for what is saved.

    A day is one of the time zone. While the clock is not set, sightings wait for it, and are
    counted once it is: with the time that they had.
    """

    def __init__(self, directory: Path | None, *, zone: tzinfo | None) -> None:
        """Read what earlier runs have counted. Without a zone, days are the system's."""
        self._path = None if directory is None else directory / FILE
        self._zone = zone
        self._lock = threading.Lock()
        self._labels: dict[Key, _Label] = {}
        self._holders: dict[str, str] = {}
        self._known_views: set[str] = set()
        self._present: dict[str, _Present] = {}
        self._pending: list[tuple[Key, float]] = []
        self._problem: str | None = None
        self.changed = threading.Event()
        """Set while there is something to save."""
        self.has_new = False
        """Whether a label is among it that was never seen before."""
        self._read()

    @property
    def status(self) -> CountsStatus:
        """How many labels are known, and what is wrong."""
        return CountsStatus(labels=len(self._labels), problem=self._problem)

    def note(self, view: str, state: State, *, now: datetime, now_s: float, right: bool) -> None:
        """Take a change of the state, at `now` and `now_s`; `right`: whether the clock is set."""
        with self._lock:
            self._settle(now, now_s, right=right)
            is_first = view not in self._known_views
            self._known_views.add(view)
            self._end(view, now, right=right)
            if state.class_id is None:
                self._holders.pop(view, None)
                return
            key = view, state.name
            known = self._labels.get(key)
            # A restart of the daemon is no sighting of what was there before it.
            continued = is_first and self._holders.get(view) == state.name and known is not None
            self._present[view] = _Present(
                name=state.name,
                before=None if known is None else known.last,
                first_ever=known is None,
            )
            self._holders[view] = state.name
            self.has_new = self.has_new or known is None
            label = self._labels.setdefault(key, _Label())
            if right:
                self._count(label, now, again=not continued or label.day != self._day(now))
            elif not continued and len(self._pending) < _MOST_PENDING:
                self._pending.append((key, now_s))
            self._forget_oldest(key)
            self.changed.set()

    def seen(self, view: str, *, now: datetime, now_s: float, right: bool) -> Seen | None:
        """Describe the sighting that lasts; None if no class holds."""
        with self._lock:
            self._settle(now, now_s, right=right)
            present = self._present.get(view)
            if present is None:
                return None
            label = self._labels.get((view, present.name))
            today: int | None = None
            if right and label is not None:
                if label.day != self._day(now):  # it lasts over midnight
                    self._count(label, now, again=True, took_over=False)
                    self.changed.set()
                today = label.today
            before = present.before
            return {
                "last": timestamp(before) if right and before and before <= now else None,
                "today": today,
                "first_today": None if today is None else today == 1,
                "first_ever": present.first_ever,
            }

    def save(self) -> bool:
        """Write what has changed; return whether that worked. For any thread."""
        with self._lock:
            self.changed.clear()
            self.has_new = False
            content = json.dumps(self._content(), separators=(",", ":"))
        if self._path is None:
            return True
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_text(self._path, content + "\n")
        except OSError as error:
            problem = f"counts do not outlive a restart: {reason(error)}"
            if problem != self._problem:
                log.warning("%s", problem)
            self._problem = problem
            self.changed.set()
            return False
        self._problem = None
        return True

    def _end(self, view: str, now: datetime, *, right: bool) -> None:
        """Note when the present sighting ended."""
        present = self._present.pop(view, None)
        label = None if present is None else self._labels.get((view, present.name))
        if label is not None and right:
            if label.day != self._day(now):  # it lasted over midnight
                self._count(label, now, again=True)
            label.last = now
            self.changed.set()

    def _settle(self, now: datetime, now_s: float, *, right: bool) -> None:
        """Count what waited for the clock."""
        if not right or not self._pending:
            return
        pending, self._pending = self._pending, []
        for key, at_s in pending:
            label = self._labels.get(key)
            if label is not None:
                self._count(label, now - timedelta(seconds=now_s - at_s), again=True)

    def _count(self, label: _Label, when: datetime, *, again: bool, took_over: bool = True) -> None:
        day = self._day(when)
        if label.day != day:
            label.day, label.today = day, 0
        label.today += again
        if took_over:
            label.last = when

    def _day(self, when: datetime) -> date:
        return when.astimezone(self._zone).date()

    def _forget_oldest(self, newest: Key) -> None:
        if len(self._labels) > _MOST_LABELS:
            never = datetime.min.replace(tzinfo=UTC)
            oldest = min(
                (key for key in self._labels if key != newest),
                key=lambda key: self._labels[key].last or never,
            )
            del self._labels[oldest]

    def _content(self) -> Mapping[str, Any]:
        views: dict[str, dict[str, Any]] = {}
        for (view, name), each in self._labels.items():
            views.setdefault(view, {})[name] = [
                None if each.last is None else timestamp(each.last),
                None if each.day is None else each.day.isoformat(),
                each.today,
            ]
        return {"views": views, "holders": self._holders}

    def _read(self) -> None:
        if self._path is None:
            return
        try:
            self._take(read_json(self._path, largest_bytes=_LARGEST_BYTES))
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("counts of earlier runs are not known: %s", reason(error))
        except (ValueError, TypeError, AttributeError, KeyError):
            self._labels.clear()
            self._holders.clear()
            log.warning("%s: damaged: counting begins anew", self._path)

    def _take(self, content: Any) -> None:
        for view, labels in content["views"].items():
            for name, (last, day, today) in labels.items():
                when = None if last is None else datetime.fromisoformat(last)
                if type(today) is not int or (when is not None and when.tzinfo is None):
                    raise ValueError("not a count")
                self._labels[view, name] = _Label(
                    last=when, day=None if day is None else date.fromisoformat(day), today=today
                )
        self._holders = {view: str(name) for view, name in content["holders"].items()}


class SightingsWriter:
    """Saves the counts now and then, in a thread of its own: a guest of the daemon."""

    def __init__(
        self,
        sightings: Sightings,
        *,
        interval_s: float = 300.0,
        soon_s: float = 30.0,
        on_death: OnDeath | None = None,
    ) -> None:
        """Write at most once each `interval_s`, each `soon_s` if a label is new, and at the end."""
        self._sightings = sightings
        self._interval_s = interval_s
        self._soon_s = min(soon_s, interval_s)
        self._on_death = on_death
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threads.start(self._run, name="seen", on_death=self._on_death)

    def stop(self) -> None:
        """Save a last time and end."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(2.0)

    def _run(self) -> None:
        waited_s = 0.0
        while not self._stopping.wait(self._soon_s):
            waited_s += self._soon_s
            due = self._sightings.has_new or waited_s >= self._interval_s
            if due and self._sightings.changed.is_set():
                self._sightings.save()
                waited_s = 0.0
        if self._sightings.changed.is_set():
            self._sightings.save()
