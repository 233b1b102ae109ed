"""Makes families of metrics for prometheus_client, which is imported only here."""

from collections.abc import Collection, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, TypeVar

from edgeclassifier.metrics.tally import BOUNDS_S, Distribution

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_PREFIX = "edgeclassifier_"
_BUCKETS = (*(f"{bound:g}" for bound in BOUNDS_S), "+Inf")

T = TypeVar("T")


class Maker:
    """Makes families whose series have the label `device`.

    `name` comes without the common prefix and without the suffix of the kind of metric. With
    `label`, `value` has one value for each value of that label.
    """

    def __init__(self, device: str) -> None:
        from prometheus_client import core

        self._core = core
        self._device = _text(device)

    def gauge(
        self, name: str, text: str, value: float | Mapping[str, float], *, label: str | None = None
    ) -> "Metric":
        """Make series that go up and down."""
        family = self._core.GaugeMetricFamily(_PREFIX + name, text, labels=_labels(label))
        for keys, each in _series(value):
            family.add_metric([self._device, *keys], each)
        return family

    def counter(
        self, name: str, text: str, value: float | Mapping[str, float], *, label: str | None = None
    ) -> "Metric":
        """Make series that only go up."""
        family = self._core.CounterMetricFamily(_PREFIX + name, text, labels=_labels(label))
        for keys, each in _series(value):
            family.add_metric([self._device, *keys], each)
        return family

    def histogram(
        self,
        name: str,
        text: str,
        value: Distribution | Mapping[str, Distribution],
        *,
        label: str | None = None,
    ) -> "Metric":
        """Make histograms."""
        family = self._core.HistogramMetricFamily(_PREFIX + name, text, labels=_labels(label))
        for keys, each in _series(value):
            buckets = list(zip(_BUCKETS, accumulate(each.counts), strict=True))
            family.add_metric([self._device, *keys], buckets, each.sum_s)
        return family

    def states(
        self, name: str, text: str, label: str, known: Collection[str], now: Collection[str]
    ) -> "Metric":
        """Make a series for each known state: 1 for those in `now`, 0 for the others."""
        return self.gauge(name, text, {each: each in now for each in known}, label=label)

    def info(self, name: str, text: str, labels: Mapping[str, str]) -> "Metric":
        """Make one series with the value 1, which carries information in its labels."""
        family = self._core.GaugeMetricFamily(
            f"{_PREFIX}{name}_info", text, labels=["device", *labels]
        )
        family.add_metric([self._device, *map(_text, labels.values())], 1)
        return family


def _labels(label: str | None) -> list[str]:
    return ["device"] if label is None else ["device", label]


def _series(value: T | Mapping[str, T]) -> list[tuple[tuple[str, ...], T]]:
    if isinstance(value, Mapping):
        return [((key,), each) for key, each in value.items()]
    return [((), value)]


def _text(value: str) -> str:
    """Return a label value that UTF-8 can encode: the name of a file may not be."""
    return value.encode(errors="replace").decode()
