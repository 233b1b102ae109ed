"""The figures of each scenario, their bounds, and the table of both."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from attack.witness import MIB

MOST_AT_PEAK = 150 * MIB
MOST_AFTER = 5 * MIB
LEAST_RATE = 0.8
LEAST_RATE_IF_BUSY = 0.4
"""For a machine that had other work before: it takes from the daemon as much as an attack does."""
BUSY_LOAD = 0.5
"""Load average per core from which a machine counts as busy."""


@dataclass(slots=True, kw_only=True)
class Figures:
    """What one scenario did, and what came of it; None is what it cannot show."""

    name: str
    inputs: int = 0
    crashes: int = 0
    hangs: int = 0
    tracebacks: int = 0
    lost: int = 0
    peak_bytes: int | None = None
    after_bytes: int | None = None
    rate: float | None = None
    """Predictions per second during the attack, divided by those before."""
    took_s: float = 0.0
    remarks: list[str] = field(default_factory=list)
    """What else is wrong: each of them fails the run."""

    def add(self, other: "Figures") -> None:
        """Count another one as one more input of this scenario."""
        self.inputs += 1
        self.crashes += other.crashes
        self.hangs += other.hangs
        self.tracebacks += other.tracebacks
        self.lost += other.lost
        self.peak_bytes = max(self.peak_bytes or 0, other.peak_bytes or 0)
        self.after_bytes = max(self.after_bytes or 0, other.after_bytes or 0)
        self.remarks += other.remarks

    def broken(self, *, least_rate: float) -> list[str]:
        """Name the bounds that do not hold."""
        counts = ("crashes", "hangs", "tracebacks", "lost")
        found = [f"{getattr(self, name)} {name}" for name in counts if getattr(self, name)]
        if (self.peak_bytes or 0) > MOST_AT_PEAK:
            found.append("memory at the peak")
        if (self.after_bytes or 0) > MOST_AFTER:
            found.append("memory after")
        if self.rate is not None and self.rate < least_rate:
            found.append(f"rate {self.rate:.2f}")
        return found + self.remarks


def least_rate() -> float:
    """Return the rate to reach on this machine, as it is now."""
    busy = os.getloadavg()[0] > BUSY_LOAD * (os.cpu_count() or 1)
    return LEAST_RATE_IF_BUSY if busy else LEAST_RATE


_HEAD = ("scenario", "inputs", "crashes", "hangs", "tracebacks", "lost", "peak", "after", "rate")


def table(rows: Sequence[Figures], *, least_rate: float) -> list[str]:
    """Return the lines of the table, with the bounds at its end."""
    lines: list[tuple[str, ...]] = [_HEAD]
    for row in rows:
        memory = (row.peak_bytes, row.after_bytes)
        shown = ["-" if each is None else f"{each / MIB:+.1f}" for each in memory]
        counts = (row.inputs, row.crashes, row.hangs, row.tracebacks, row.lost)
        rate = "-" if row.rate is None else f"{row.rate:.2f}"
        lines.append((row.name, *map(str, counts), *shown, rate))
    bounds = (f"<= {MOST_AT_PEAK / MIB:g}", f"<= {MOST_AFTER / MIB:g}", f">= {least_rate:g}")
    lines.append(("to hold", "", "0", "0", "0", "0", *bounds))
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    return [
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
