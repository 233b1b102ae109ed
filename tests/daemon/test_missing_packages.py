"""What comes with the daemon where the configuration says so."""

from pathlib import Path

import pytest
from support.brokers import Mosquitto, free_port, needs_mosquitto
from support.daemon import Daemon, isolated
from support.device import Site

INJECTED = """
import sys
sys.modules[{package!r}] = None
"""


@needs_mosquitto
@pytest.mark.parametrize(
    ("package", "key", "needed"),
    [
        ("starlette", "web", "the packages starlette and uvicorn"),
        ("uvicorn", "web", "the packages starlette and uvicorn"),
        ("prometheus_client", "metrics", "the package prometheus-client"),
    ],
)
def test_a_package_that_is_missing_is_named(
    tmp_path: Path, broker: Mosquitto, package: str, key: str, needed: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(INJECTED.format(package=package))
    site = Site(folder=tmp_path, port=broker.port)
    site.settings["web"] = {"enabled": key == "web", "port": free_port()}
    site.settings["metrics"] = {"textfile": "m.prom"}
    site.write()
    with Daemon(env=isolated(tmp_path, PYTHONPATH=str(tmp_path)), config=site.config) as daemon:
        assert daemon.wait() == 78, daemon.lines
    last = daemon.lines[-1]
    assert package in last
    assert needed in last
    assert not any("Traceback" in line for line in daemon.lines)
