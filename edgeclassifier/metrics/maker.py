"""Makes families of metrics for prometheus_client, which is imported only here."""

from collections.abc import Collection, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING

from edgeclassifier.metrics.tally import BOUNDS_S, Distribution

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_PREFIX = "edgeclassifier_"
_BUCKETS = (*(f"{bound:g}" for bound in BOUNDS_S), "+Inf")


class Maker:
    """Makes families that have the label `device`.

    `name` comes without the prefix of all names, and without what the kind of metric adds to it;
    `text` says what is counted; `label` is another label, with a value for each key.
    """

    def __init__(self, device: str) -> None:
        from prometheus_client import core

        self._core = core
        self._device = _text(device)

    def gauge(self, name: str, text: str, value: float) -> "Metric":
        """Make one series that goes up and down."""
        family = self._core.GaugeMetricFamily(_PREFIX + name, text, labels=["device"])
        family.add_metric([self._device], value)
        return family

    def gauges(self, name: str, text: str, label: str, values: Mapping[str, float]) -> "Metric":
        """Make a series that goes up and down for each key."""
        family = self._core.GaugeMetricFamily(_PREFIX + name, text, labels=["device", label])
        for key, value in values.items():
            family.add_metric([self._device, key], value)
        return family

    def states(
        self, name: str, text: str, label: str, known: Collection[str], now: Collection[str]
    ) -> "Metric":
        """Make a series for each known state: 1 for those that hold now, 0 for the others."""
        return self.gauges(name, text, label, {each: each in now for each in known})

    def info(self, name: str, text: str, labels: Mapping[str, str]) -> "Metric":
        """Make one series with the value 1, whose labels are what there is to say."""
        family = self._core.GaugeMetricFamily(
            f"{_PREFIX}{name}_info", text, labels=["device", *labels]
        )
        family.add_metric([self._device, *map(_text, labels.values())], 1)
        return family

    def counter(self, name: str, text: str, value: float) -> "Metric":
        """Make one series that only goes up."""
        family = self._core.CounterMetricFamily(_PREFIX + name, text, labels=["device"])
        family.add_metric([self._device], value)
        return family

    def counters(self, name: str, text: str, label: str, values: Mapping[str, float]) -> "Metric":
        """Make a series that only goes up for each key."""
        family = self._core.CounterMetricFamily(_PREFIX + name, text, labels=["device", label])
        for key, value in values.items():
            family.add_metric([self._device, key], value)
        return family

    def histogram(
        self,
        name: str,
        text: str,
        values: Mapping[tuple[str, ...], Distribution],
        *,
        labels: Collection[str] = (),
    ) -> "Metric":
        """Make a histogram for each key, which has a value for each of `labels`."""
        family = self._core.HistogramMetricFamily(_PREFIX + name, text, labels=["device", *labels])
        for keys, each in values.items():
            buckets = list(zip(_BUCKETS, accumulate(each.counts), strict=True))
            family.add_metric([self._device, *keys], buckets, each.sum_s)
        return family


def _text(value: str) -> str:
    """Return a label value that UTF-8 has bytes for: the name of a file need not have them."""
    return value.encode(errors="replace").decode()
