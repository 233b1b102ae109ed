"""What a soak prints."""

from collections.abc import Sequence
from dataclasses import dataclass

from soak.process import Usage
from soak.trends import COUNTED, MIB, Trend

_ROWS = 20
_MEMORY = ("rss", "pss", "anon", "heap")
TRENDED = (*_MEMORY, *COUNTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The daemon at one moment."""

    at_s: float
    """Since the start."""
    usage: Usage
    pending: int
    frames: int
    repeated: int
    state: str
    """What the figures depend on: only samples of the same state can be compared."""
    clearing: bool
    """Whether a thread still clears what is retained of an earlier name."""
    quiet: bool
    """Whether nothing is wrong and nothing else under way."""


def series(samples: Sequence[Sample], name: str) -> list[float]:
    """Return one figure of each sample."""
    return [float(getattr(sample.usage, name)) for sample in samples]


def table(samples: Sequence[Sample], trends: Sequence[Trend]) -> list[str]:
    """Render a few of the samples, and the slopes below them."""
    head = ["minute", *(f"{name} MiB" for name in _MEMORY), *COUNTED, "queue", "frames"]
    step = max(1, -(-len(samples) // _ROWS))
    rows = [_row(sample) for sample in samples[step - 1 :: step]]
    slopes = {trend.name: trend.slope_per_hour for trend in trends}
    memory = [f"{slopes[name] / MIB:+.2f}" for name in _MEMORY]
    counted = [f"{slopes[name]:+.1f}" for name in COUNTED]
    widths = [max(len(title), 8) for title in head]
    return [
        _line(head, widths),
        *(_line(row, widths) for row in rows),
        _line(["per hour", *memory, *counted, "", ""], widths),
    ]


def _row(sample: Sample) -> list[str]:
    usage = sample.usage
    return [
        f"{sample.at_s / 60:.1f}",
        *(f"{getattr(usage, name) / MIB:.2f}" for name in _MEMORY),
        *(str(getattr(usage, name)) for name in COUNTED),
        str(sample.pending),
        str(sample.frames),
    ]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
