"""One soak from its start to its verdict."""

import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from soak.faults import Fault, NoAnswerError, all_faults
from soak.process import usage
from soak.report import TRENDED, Sample, series
from soak.site import BUFFER_S, PATIENCE_S, Site
from soak.trends import (
    COUNTED,
    MIB,
    Criterion,
    Trend,
    judge_count,
    judge_memory,
    trend,
    warm_up_s,
)
from soak.watcher import Sequence

_STOP_S = 5.0
_QUIET_S = 1.0
_SHORTEST_S, _LONGEST_S = 0.5, 4.0
"""How long a fault lasts."""
_TWO_AT_ONCE = 0.3

Say = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a soak has found."""

    samples: list[Sample] = field(default_factory=list)
    trends: list[Trend] = field(default_factory=list)
    criteria: list[Criterion] = field(default_factory=list)
    faults: int = 0

    @property
    def ok(self) -> bool:
        """Whether everything holds."""
        return all(each.ok for each in self.criteria)

    def check(self, ok: bool, text: str) -> None:
        """Add a criterion."""
        self.criteria.append(Criterion(ok=ok, text=text))


class Soak:
    """Drives one daemon."""

    def __init__(self, site: Site, *, run_s: float, seed: int, only: str, say: Say) -> None:
        self._site = site
        self._run_s = run_s
        self._random = random.Random(seed)
        self._only = only
        self._say = say
        self._outcome = Outcome()
        self._pid = site.daemon.pid
        self._started_s = time.monotonic()

    def run(self) -> Outcome:
        """Inject faults for the time, end the daemon, and judge."""
        outcome = self._outcome
        wrong = self._site.wait_until_well()
        outcome.check(wrong is None, f"starts: {wrong or 'yes'}")
        faults = self._endless_faults()
        while wrong is None and self._elapsed_s < self._run_s:
            wrong = self._round(faults)
        outcome.check(wrong is None, f"recovers from every fault: {wrong or outcome.faults}")
        self._judge_growth()
        if self._alive():
            self._judge_queue()
            self._judge_end()
        self._judge_delivery()
        return outcome

    @property
    def _elapsed_s(self) -> float:
        return time.monotonic() - self._started_s

    def _alive(self) -> bool:
        try:
            usage(self._pid)
        except OSError:
            last = self._site.daemon.lines[-1:]
            self._outcome.check(False, f"the daemon does not end: it did: {last}")
            return False
        return True

    def _endless_faults(self) -> Iterator[Fault]:
        """Shuffle anew when all had their turn: each comes up in the warm-up of a long run."""
        while True:
            faults = [each for each in all_faults(self._site) if re.search(self._only, each.name)]
            self._random.shuffle(faults)
            yield from faults

    def _round(self, faults: Iterator[Fault]) -> str | None:
        """Let one or two things happen, and return what has not recovered from them."""
        chosen = [next(faults)]
        if self._random.random() < _TWO_AT_ONCE:
            chosen.append(next(faults))
            if chosen[0].subject == chosen[1].subject:
                self._round_of(chosen[:1])
                chosen = chosen[1:]
        return self._round_of(chosen)

    def _round_of(self, chosen: list[Fault]) -> str | None:
        names = " and ".join(fault.name for fault in chosen)
        self._outcome.faults += len(chosen)
        began_s = self._elapsed_s
        for fault in chosen:
            fault.begin()
        self._watch(self._random.uniform(_SHORTEST_S, _LONGEST_S))
        # What waits for an answer of the daemon comes after what keeps it from answering.
        try:
            for fault in sorted(chosen, key=lambda fault: fault.subject == "configuration"):
                fault.end()
            wrong = self._site.wait_until_well()
        except NoAnswerError as error:
            wrong = str(error)
        if not self._alive():
            return f"{names}: the daemon has ended"
        self._sample(quiet=False)
        time.sleep(_QUIET_S)
        self._sample(quiet=True)
        sample = self._outcome.samples[-1]
        self._say(
            f"{began_s:6.0f} s  {names}, {sample.at_s - began_s:.1f} s: "
            f"{sample.usage.anon / MIB:.2f} MiB, {sample.usage.heap / MIB:.2f} in use, "
            f"{sample.usage.fds} files, {sample.usage.threads} threads, {sample.state}"
        )
        return None if wrong is None else f"{names}: {wrong}"

    def _watch(self, duration_s: float) -> None:
        until_s = time.monotonic() + duration_s
        while (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(1.0, left_s))
            if not self._alive():
                return
            self._sample(quiet=False)

    def _sample(self, *, quiet: bool) -> None:
        watcher = self._site.watcher
        self._outcome.samples.append(
            Sample(
                at_s=self._elapsed_s,
                usage=usage(self._pid, heap_file=self._site.heap_file),
                pending=watcher.health.get("buffer", {}).get("pending", 0),
                frames=watcher.predictions,
                repeated=sum(each.repeated for each in watcher.sequences.values()),
                state=self._site.state,
                clearing=self._site.clearing,
                quiet=quiet,
            )
        )

    def _judge_growth(self) -> None:
        outcome = self._outcome
        begin_s = warm_up_s(self._run_s)
        quiet = [each for each in outcome.samples if each.quiet and each.at_s >= begin_s]
        if not quiet:
            outcome.check(False, "there are no quiet samples after the warm-up")
            return
        times_s, states = [each.at_s for each in quiet], [each.state for each in quiet]
        busier = [f"{each.state}, {each.clearing}" for each in quiet]
        outcome.trends = [
            trend(name, times_s, series(quiet, name), busier if name in COUNTED else states)
            for name in TRENDED
        ]
        by_name = {each.name: each for each in outcome.trends}
        outcome.criteria += [
            judge_memory(by_name[name], samples=len(quiet), period_s=self._run_s - begin_s)
            for name in ("heap", "anon")
        ]
        outcome.criteria += [judge_count(by_name[name], samples=len(quiet)) for name in COUNTED]

    def _judge_queue(self) -> None:
        """No new frames: what is in the buffer has to come out."""
        site = self._site
        site.camera.behave("stalled")
        empty = site.watcher.wait_for(
            lambda: site.buffer["pending"] == 0 and site.buffer["problem"] is None, BUFFER_S
        )
        left = f"{site.buffer['pending']} messages, problem: {site.buffer['problem']}"
        self._outcome.check(empty, f"the queue is empty in the end: {left}")
        site.camera.behave("good")
        site.wait_until_well()

    def _judge_end(self) -> None:
        daemon, watcher = self._site.daemon, self._site.watcher
        began_s = time.monotonic()
        daemon.stop(signal.SIGTERM)
        code = daemon.wait(PATIENCE_S)
        took_s = time.monotonic() - began_s
        text = f"SIGTERM: exit code {code} after {took_s:.1f} s, at most {_STOP_S:g} s"
        self._outcome.check(code == 0 and took_s <= _STOP_S, text)
        gone = watcher.wait_for(lambda: watcher.availability == "offline", PATIENCE_S)
        self._outcome.check(gone, f"says that it is {watcher.availability}")

    def _judge_delivery(self) -> None:
        watcher = self._site.watcher
        sequences = list(watcher.sequences.values())
        self._outcome.check(len(sequences) == 1, f"one process: {len(sequences)} boot ids")
        sequence = sequences[0] if sequences else Sequence()
        missing, late = len(sequence.missing), sequence.late
        numbers = f"{sequence.next} messages, {sequence.repeated} of them twice"
        self._outcome.check(not missing and not late, f"{missing} lost, {late} late: {numbers}")
        if not watcher.health:
            self._outcome.check(False, "it never said how it is")
            return
        frames, dropped = watcher.health["frames"], watcher.health["drops"]["messages"]
        text = f"{frames} frames classified, {watcher.predictions} predictions arrived"
        self._outcome.check(frames == watcher.predictions, f"{text}, {dropped} dropped")


def soak(
    folder: Path, *, run_s: float, rate_hz: float, seed: int, say: Say, only: str = ""
) -> Outcome:
    """Run everything in `folder` for `run_s` seconds, and say what happens.

    `only` is a regular expression for the names of the faults.
    """
    with Site(folder, rate_hz=rate_hz) as site:
        if site.device is None:
            say("gcc is not installed: no accelerator, no faults of it")
        outcome = Soak(site, run_s=run_s, seed=seed, only=only, say=say).run()
        if not outcome.ok:
            for line in site.daemon.lines[-30:]:
                say(f"daemon: {line}")
    return outcome
