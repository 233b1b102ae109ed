"""The dashboard, the alert rules, and what they ask of Prometheus."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "edgeclassifier.json"
RULES = DEPLOY / "prometheus" / "edgeclassifier.rules.yml"
SCRAPE = DEPLOY / "prometheus" / "prometheus.example.yml"

_METRIC = re.compile(r"\b((?:edgeclassifier|node)_[a-z_]+|up|ALERTS)\b(?!\s*\()")
_MATCHERS = re.compile(r"\{([^}]*)\}")
_GROUPING = re.compile(r"\b(?:by|without|on|group_right|group_left)\s*\(([^)]*)\)")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """An expression of a panel."""

    panel: str
    expr: str
    legend: str
    instant: bool


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return loaded


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = dashboard()["panels"]
    return found


def queries() -> Iterator[Query]:
    """Give every query of the dashboard, those of its annotations included."""
    for panel in panels():
        for target in panel.get("targets", ()):
            yield Query(
                panel=panel["title"],
                expr=target["expr"],
                legend=target["legendFormat"],
                instant=target["instant"],
            )
    for each in dashboard()["annotations"]["list"]:
        yield Query(panel=each["name"], expr=each["expr"], legend="", instant=False)


def concrete(expr: str, *, device: str = ".*", rate_interval: str = "1m") -> str:
    """Put values in place of Grafana's variables, as it does."""
    return expr.replace("$__rate_interval", rate_interval).replace("$device", device)


def metrics_of(expr: str) -> set[str]:
    """Name the metrics that an expression asks for."""
    return set(_METRIC.findall(_without_labels(expr)))


def labels_of(expr: str) -> set[str]:
    """Name the labels that an expression chooses or groups by."""
    lists = [_STRING.sub("", found) for found in _MATCHERS.findall(expr)]
    lists += _GROUPING.findall(expr)
    return {label for text in lists for label in re.findall(r"[a-z_]+", text)}


def rule_expressions() -> str:
    """Return the alert rules without their texts for people."""
    rules = re.sub(r"^ *#.*$", "", RULES.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return re.sub(r"annotations:.*?(?=- alert:|\Z)", "", rules, flags=re.DOTALL)


def alerts() -> list[str]:
    """Name the alerts."""
    return re.findall(r"- alert: (\w+)", RULES.read_text(encoding="utf-8"))


def _without_labels(expr: str) -> str:
    return _GROUPING.sub("", _MATCHERS.sub("", expr))
