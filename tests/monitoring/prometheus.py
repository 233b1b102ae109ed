"""A real Prometheus and a real node exporter, on their own ports, for tests."""

import json
import re
import shutil
import subprocess
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.brokers import PATIENCE_S, free_port

from monitoring.dashboard import RULES
from monitoring.served import fetch_patiently

PROMTOOL = shutil.which("promtool") or ""
PROMETHEUS = shutil.which("prometheus") or ""
NODE_EXPORTER = shutil.which("prometheus-node-exporter") or ""

needs_prometheus = pytest.mark.skipif(
    not PROMTOOL or not PROMETHEUS, reason="needs Prometheus (apt: prometheus)"
)
needs_node_exporter = pytest.mark.skipif(
    not NODE_EXPORTER, reason="needs the node exporter (apt: prometheus-node-exporter)"
)

FASTER = 60
"""A minute of the rules is a second here."""
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_THRESHOLDS_S = {"> 120": "> 4", "> 300": "> 5"}
"""What the rules compare ages with: shorter, too."""


def faster(rules: str) -> str:
    """Shorten all times of the rules."""

    def shorten(found: re.Match[str]) -> str:
        return f"{found[1]}{int(found[2]) * _SECONDS[found[3]] * 1000 // FASTER}ms"

    for usual, short in _THRESHOLDS_S.items():
        assert usual in rules
        rules = rules.replace(usual, short)
    return re.sub(r"(for: |\[)(\d+)([smhd])\b", shorten, rules)


class Prometheus:
    """Scrapes every second, and evaluates the rules as often."""

    def __init__(self, address: str) -> None:
        self._address = address

    def alerts(self) -> set[tuple[str, str]]:
        """Return the alerts that there are: name, and pending or firing."""
        found = self._get("alerts")["alerts"]
        return {(each["labels"]["alertname"], each["state"]) for each in found}

    def value(self, expr: str) -> float | None:
        """Return the value of the one series of an expression now; None if there is none."""
        found = self._get("query", query=expr)["result"]
        assert len(found) <= 1, (expr, found)
        return float(found[0]["value"][1]) if found else None

    def history(self, expr: str, *, begin_s: float, end_s: float) -> list[dict[str, Any]]:
        """Return each series of an expression, second by second; times are those of the clock."""
        found = self._get("query_range", query=expr, start=begin_s, end=end_s, step=1)
        series: list[dict[str, Any]] = found["result"]
        return series

    def _get(self, what: str, **parameters: str | float) -> Any:
        query = urllib.parse.urlencode(parameters)
        answer = json.loads(fetch_patiently(f"{self._address}/api/v1/{what}?{query}"))
        assert answer["status"] == "success", answer
        return answer["data"]


@contextmanager
def prometheus(folder: Path, targets: Mapping[str, int]) -> Iterator[Prometheus]:
    """Run Prometheus on the ports of the jobs `targets`."""
    rules, config = folder / "rules.yml", folder / "prometheus.yml"
    rules.write_text(faster(RULES.read_text(encoding="utf-8")), encoding="utf-8")
    content = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
            for job, port in targets.items()
        ],
    }
    config.write_text(json.dumps(content), encoding="utf-8")
    port = free_port()
    with _running(
        folder / "prometheus.log",
        *(PROMETHEUS, f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}"),
        f"--web.listen-address=127.0.0.1:{port}",
    ):
        fetch_patiently(f"http://127.0.0.1:{port}/-/ready")
        yield Prometheus(f"http://127.0.0.1:{port}")


@contextmanager
def node_exporter(folder: Path, *, textfiles: Path) -> Iterator[int]:
    """Run the node exporter on the files in a folder, and give its port."""
    port = free_port()
    with _running(
        folder / "node_exporter.log",
        *(NODE_EXPORTER, "--collector.disable-defaults", "--collector.time"),
        *("--collector.textfile", f"--collector.textfile.directory={textfiles}"),
        f"--web.listen-address=127.0.0.1:{port}",
    ):
        fetch_patiently(f"http://127.0.0.1:{port}/metrics")
        yield port


@contextmanager
def _running(log: Path, *command: str) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        finally:
            process.kill()
            process.wait()


def finite(series: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether a history has a number in it."""
    return any(
        value not in {"NaN", "+Inf", "-Inf"} for each in series for _, value in each["values"]
    )
