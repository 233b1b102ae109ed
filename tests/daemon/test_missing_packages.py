"""What comes with the daemon only if the configuration says so: all of it is named, and at once."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Collection
from pathlib import Path

import pytest
from support.brokers import Mosquitto, Subscriber, free_port, needs_mosquitto, wait_until
from support.daemon import REPOSITORY, Daemon, isolated, run_cli
from support.device import Site, has_predictions, newest, reload_is

from edgeclassifier.compose.packages import USES, listed

INJECTED = """
import sys
sys.modules.update(dict.fromkeys({packages!r}))
"""
DISTRIBUTIONS = {
    "av": "av",
    "prometheus_client": "prometheus-client",
    "starlette": "starlette",
    "uvicorn": "uvicorn",
}


def without(folder: Path, packages: Collection[str]) -> dict[str, str]:
    """Return an environment in which `packages` cannot be imported."""
    (folder / "sitecustomize.py").write_text(INJECTED.format(packages=sorted(packages)))
    return isolated(folder, PYTHONPATH=str(folder))


@pytest.fixture
def site(tmp_path: Path, broker: Mosquitto) -> Site:
    site = Site(folder=tmp_path, port=broker.port)
    site.settings["web"] = {"enabled": True, "port": free_port()}
    site.settings["metrics"] = {"textfile": "m.prom"}
    return site


def named(text: str) -> set[str]:
    """List the packages that a pip command in `text` installs."""
    (command,) = re.findall(r"pip install ([^`]+)", text)
    return set(re.findall(r"[a-z][a-z-]+(?=>=)", command))


@needs_mosquitto
@pytest.mark.parametrize(
    "packages",
    [
        {"starlette"},
        {"uvicorn"},
        {"prometheus_client"},
        {"prometheus_client", "starlette", "uvicorn"},
    ],
    ids=lambda each: "+".join(sorted(each)),
)
def test_check_and_the_daemon_name_every_missing_package_in_one_round(
    site: Site, packages: set[str]
) -> None:
    site.write()
    env = without(site.folder, packages)
    wanted = {DISTRIBUTIONS[each] for each in packages}

    with Daemon(env=env, config=site.config) as daemon:
        assert daemon.wait() == 78, daemon.lines
    last = daemon.lines[-1]
    assert last.startswith("edgeclassifier: packages are missing: web.enabled = true needs ")
    assert named(last) == wanted
    assert f"{sys.executable} -m pip install" in last
    assert not any("Traceback" in line for line in daemon.lines)

    done = run_cli("check", "--no-camera", "--json", "--config", site.config, env=env)
    assert done.returncode == 78
    failures = [each for each in json.loads(done.stdout) if each["level"] == "failure"]
    ids = {each["id"] for each in failures}
    assert ids == {"web.no_package"} | (
        {"metrics.no_package"} if "prometheus_client" in packages else set()
    )
    assert set().union(*(named(each["remedy"]) for each in failures)) == wanted


@needs_mosquitto
def test_a_stream_without_pyav_is_refused_at_once_by_both(site: Site) -> None:
    """It cannot come by itself, so that trying again and again would help nobody."""
    site.settings["camera"]["source"] = "stream"
    site.settings["camera.stream"] = {"url": str(site.folder / "clip.mp4")}
    site.write()
    env = without(site.folder, {"av", "uvicorn"})
    with Daemon(env=env, config=site.config) as daemon:
        assert daemon.wait() == 78, daemon.lines
    assert named(daemon.lines[-1]) == {"av", "uvicorn"}
    done = run_cli("check", "--json", "--config", site.config, env=env)
    found = {each["id"]: each["remedy"] for each in json.loads(done.stdout)}
    assert named(found["camera.no_pyav"].partition(";")[0]) == {"av"}
    assert named(found["web.no_package"]) == {"uvicorn"}


@needs_mosquitto
def test_what_is_not_asked_for_may_be_missing(site: Site) -> None:
    del site.settings["web"], site.settings["metrics"]
    site.write()
    env = without(site.folder, DISTRIBUTIONS)
    done = run_cli("check", "--config", site.config, env=env)
    assert done.returncode == 0, done.stdout
    with (
        Subscriber(site.port, f"{site.topic}/#") as watching,
        Daemon(env=env, config=site.config) as daemon,
    ):
        assert watching.wait_for(has_predictions(1)), daemon.lines


@needs_mosquitto
def test_a_reload_that_would_keep_the_daemon_from_its_next_start_is_refused(site: Site) -> None:
    """The page is read at the next start only, which would end with 78."""
    web = site.settings.pop("web")
    del site.settings["metrics"]
    site.write()
    with (
        Subscriber(site.port, f"{site.topic}/#") as watching,
        Daemon(env=without(site.folder, {"uvicorn"}), config=site.config) as daemon,
    ):
        assert watching.wait_for(has_predictions(1)), daemon.lines
        site.settings["web"] = web
        site.write()
        watching.publish(f"{site.topic}/request/reload", "")
        assert watching.wait_for(reload_is("refused")), daemon.lines
        problem = newest(watching.messages, "health")["reload"]["problem"]
        assert "web.enabled = true needs uvicorn" in problem
        assert wait_until(lambda: daemon.wait_for_line("kept as it was"))


def test_check_and_the_daemon_refuse_a_buffer_without_a_folder(tmp_path: Path) -> None:
    """Neither the configuration, nor systemd, nor a home says where that might be."""
    (config := tmp_path / "my.toml").write_text('[buffer]\nstorage = "disk"\n')
    env = {k: v for k, v in isolated(tmp_path).items() if k != "HOME"}
    for command in (("run",), ("check", "--no-camera")):
        done = subprocess.run(
            [sys.executable, "-m", "edgeclassifier", *command, "--config", config],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 78
        assert "set buffer.path or device.state_directory" in done.stdout + done.stderr


def test_the_table_has_the_versions_of_the_extras() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {each for one in project["optional-dependencies"].values() for each in one}
    assert {each.requirement for use in USES for each in use.packages} <= extras


def test_names_are_joined_as_in_a_sentence() -> None:
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(["a", "b", "c"]) == "a, b and c"
