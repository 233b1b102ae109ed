"""Makes families of metrics for prometheus_client, which is imported only here."""

from collections.abc import Collection, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING

from edgeclassifier.metrics.tally import BOUNDS_S, Distribution

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_PREFIX = "edgeclassifier_"
_BUCKETS = (*(f"{bound:g}" for bound in BOUNDS_S), "+Inf")


class Maker:
    """Makes families whose series have the label `device`.

    A name comes without the common prefix and without the suffix of the kind of metric; `texts`
    says what each means. With `label` there is one value for each value of that label.
    """

    def __init__(self, device: str, texts: Mapping[str, str]) -> None:
        from prometheus_client import core

        self._core = core
        self._device = _encodable(device)
        self._texts = texts

    def gauges(self, **values: float | None) -> Iterator["Metric"]:
        """Make a family of one series that goes up and down for each name; None makes none."""
        for name, value in values.items():
            if value is not None:
                family = self._core.GaugeMetricFamily(*self._told(name), labels=["device"])
                family.add_metric([self._device], value)
                yield family

    def counters(self, **values: float) -> Iterator["Metric"]:
        """Make a family of one series that only goes up for each name."""
        for name, value in values.items():
            family = self._core.CounterMetricFamily(*self._told(name), labels=["device"])
            family.add_metric([self._device], value)
            yield family

    def counter(
        self,
        name: str,
        values: Mapping[str, float] | Mapping[tuple[str, str], float],
        *,
        label: str | tuple[str, str],
    ) -> "Metric":
        """Make a family of series that only go up; with two labels, a key has two parts."""
        family = self._core.CounterMetricFamily(*self._told(name), labels=["device", *_all(label)])
        for key, value in values.items():
            family.add_metric([self._device, *_all(key)], value)
        return family

    def gauge(self, name: str, values: Mapping[str, float], *, label: str) -> "Metric":
        """Make a family of series that go up and down."""
        family = self._core.GaugeMetricFamily(*self._told(name), labels=["device", label])
        for key, value in values.items():
            family.add_metric([self._device, key], value)
        return family

    def states(
        self, name: str, label: str, known: Collection[str], now: Collection[str]
    ) -> "Metric":
        """Make a family of a series for each known state: 1 for those in `now`, 0 for others."""
        family = self._core.GaugeMetricFamily(*self._told(name), labels=["device", label])
        for state in known:
            family.add_metric([self._device, state], state in now)
        return family

    def info(self, name: str, **labels: str) -> "Metric":
        """Make a family of one series with the value 1, which carries information in labels."""
        name, text = self._told(name)
        family = self._core.GaugeMetricFamily(f"{name}_info", text, labels=["device", *labels])
        family.add_metric([self._device, *map(_encodable, labels.values())], 1)
        return family

    def histogram(
        self, name: str, values: Distribution | Mapping[str, Distribution], *, label: str = ""
    ) -> "Metric":
        """Make a family of histograms."""
        labels = ["device", label] if label else ["device"]
        family = self._core.HistogramMetricFamily(*self._told(name), labels=labels)
        series = {"": values} if isinstance(values, Distribution) else values
        for key, each in series.items():
            buckets = list(zip(_BUCKETS, accumulate(each.counts), strict=True))
            family.add_metric([self._device, key][: len(labels)], buckets, each.sum_s)
        return family

    def _told(self, name: str) -> tuple[str, str]:
        return _PREFIX + name, self._texts[name]


def _all(label: str | tuple[str, str]) -> tuple[str, ...]:
    return (label,) if isinstance(label, str) else label


def _encodable(value: str) -> str:
    """Return a label value that UTF-8 can encode: the name of a file may not be."""
    return value.encode(errors="replace").decode()
