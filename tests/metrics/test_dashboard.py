"""The dashboard and the alerts ask for what there is, and the alerts fire and clear."""

import re
import subprocess
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from monitoring.alerts import SCENARIOS, Scenario, promtool_test
from monitoring.dashboard import (
    RULES,
    SCRAPE,
    Query,
    alerts,
    dashboard,
    labels_of,
    metrics_of,
    panels,
    queries,
    rule_expressions,
)
from monitoring.prometheus import PROMTOOL, needs_prometheus
from monitoring.sample import result, sample, samples

QUERIES = list(queries())
OF_PROMETHEUS = {
    "up": {"job", "instance"},
    "ALERTS": {"alertname", "alertstate"},
    "node_time_seconds": {"job", "instance"},
    "node_textfile_mtime_seconds": {"job", "instance", "file"},
}
"""Metrics that are not the daemon's, and their labels."""


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The daemon's metrics, as they are rendered, and their labels."""
    metrics = sample(tmp_path_factory.mktemp("pi"))
    metrics.tally.count(result(), None)
    return {each.name: set(each.labels) for each in samples(metrics.render())}


def check(expr: str, known: dict[str, set[str]]) -> None:
    names = metrics_of(expr)
    assert names, expr
    assert names <= known.keys() | OF_PROMETHEUS.keys()
    labels = set().union(*({**known, **OF_PROMETHEUS}[name] for name in names))
    assert labels_of(expr) <= labels


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.panel)
def test_every_query_asks_for_metrics_and_labels_that_exist(
    query: Query, known: dict[str, set[str]]
) -> None:
    check(query.expr, known)
    shown = set(re.findall(r"{{(\w+)}}", query.legend))
    assert shown <= set().union(*(known.get(name, set()) for name in metrics_of(query.expr))) | {
        "alertname"
    }


def test_every_alert_asks_for_metrics_and_labels_that_exist(known: dict[str, set[str]]) -> None:
    expressions = re.findall(r"expr: (.*?)(?:\n +for:|\n +labels:)", rule_expressions(), re.DOTALL)
    assert len(expressions) == len(alerts())
    for each in expressions:
        check(each, known)


def test_every_metric_is_of_use_to_somebody(known: dict[str, set[str]]) -> None:
    asked = set().union(*(metrics_of(query.expr) for query in QUERIES))
    asked |= metrics_of(rule_expressions())
    bases = {re.sub(r"_(bucket|count|sum)$", "", name) for name in known}
    assert bases == {re.sub(r"_bucket$", "", name) for name in asked - OF_PROMETHEUS.keys()}


# Grafana itself is not in the tests: what it asks of a dashboard is.


def test_the_panels_lie_side_by_side_on_grafanas_grid() -> None:
    places = [panel["gridPos"] for panel in panels()]
    for place in places:
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
    for one, other in combinations(places, 2):
        apart = [
            one[at] + one[size] <= other[at] or other[at] + other[size] <= one[at]
            for at, size in (("x", "w"), ("y", "h"))
        ]
        assert any(apart), (one, other)


def test_panels_are_told_apart_and_explained() -> None:
    assert max(Counter(panel["id"] for panel in panels()).values()) == 1
    for panel in panels():
        assert panel["title"]
        if panel["type"] != "row":
            assert panel["description"]
            assert [each["refId"] for each in panel["targets"]] == [
                chr(ord("A") + number) for number in range(len(panel["targets"]))
            ]


def test_the_data_source_is_chosen_by_a_variable_and_nowhere_else() -> None:
    def sources(part: Any) -> list[Any]:
        if isinstance(part, dict):
            own = [part["datasource"]] if "datasource" in part else []
            return own + [each for value in part.values() for each in sources(value)]
        if isinstance(part, list):
            return [each for value in part for each in sources(value)]
        return []

    content = dashboard()
    assert {each["name"]: each["type"] for each in content["templating"]["list"]} == {
        "datasource": "datasource",
        "device": "query",
    }
    found = sources(content)
    assert len(found) > len(panels())
    assert all(each == {"type": "prometheus", "uid": "${datasource}"} for each in found)


def test_what_is_below_a_device_is_about_that_device() -> None:
    rows = [panel for panel in panels() if panel["type"] == "row"]
    assert [row["title"] for row in rows] == ["Fleet", "Device $device"]
    below = rows[1]["gridPos"]["y"]
    for panel in panels():
        for target in panel.get("targets", ()):
            selects = re.findall(r"edgeclassifier_\w+({device=~\"\$device\"})?", target["expr"])
            if panel["gridPos"]["y"] > below:
                assert selects, target["expr"]
                assert all(selects), target["expr"]
            else:
                assert not any(selects), target["expr"]


# Alerts


def test_every_alert_has_a_scenario() -> None:
    assert {scenario.alert for scenario in SCENARIOS} - {""} == set(alerts())


@needs_prometheus
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: f"{each.alert} {each.name}")
def test_the_right_alert_fires_alone_and_clears(scenario: Scenario, tmp_path: Path) -> None:
    done = subprocess.run(
        [PROMTOOL, "test", "rules", promtool_test(scenario, tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_prometheus
@pytest.mark.parametrize(
    "command",
    [("check", "rules", RULES), ("check", "config", "--syntax-only", SCRAPE)],
    ids=["rules", "scrape example"],
)
def test_promtool_accepts_what_prometheus_is_to_load(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [PROMTOOL, *command], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
