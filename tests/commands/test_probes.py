"""check, doctor and discovery connect as the daemon, or beside it, and say as whom."""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.brokers import Mosquitto, free_port, needs_mosquitto, wait_until
from support.daemon import isolated, run_cli
from support.device import Site
from support.scripted_broker import Link, ScriptedBroker

from edgeclassifier.host.lock import is_held, locked

_PLUGINS = [
    path
    for folder in ("/usr/lib", "/usr/lib64", "/usr/local/lib")
    for path in Path(folder).glob("**/mosquitto_dynamic_security.so")
]
needs_dynamic_security = pytest.mark.skipif(
    not _PLUGINS or shutil.which("mosquitto_ctrl") is None,
    reason="needs mosquitto's dynamic security plugin and mosquitto_ctrl (apt: mosquitto)",
)
NOT_AUTHORIZED = 135


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return isolated(tmp_path)


def own_id(site: Site) -> str:
    return site.topic.replace("/", "-")


@contextlib.contextmanager
def tied_to(*allowed: str) -> Iterator[ScriptedBroker]:
    """A broker that accepts these client ids alone."""

    def refuse(link: Link) -> int:
        return 0 if link.client_id in allowed else NOT_AUTHORIZED

    with ScriptedBroker(refuse=refuse) as broker:
        yield broker


def site_for(folder: Path, port: int) -> Site:
    site = Site(folder=folder, port=port)
    site.settings["homeassistant"] = {"enabled": False}
    site.write()
    return site


def commands(site: Site, env: dict[str, str]) -> dict[str, subprocess.CompletedProcess[str]]:
    """Run each command that connects to the broker."""
    at = ("--config", site.config)
    return {
        "check": run_cli("check", "--online", "--no-camera", *at, env=env),
        "doctor": run_cli("doctor", *at, env=env, timeout_s=120),
        "discovery": run_cli("discovery", "--remove", *at, env=env),
    }


def test_a_probe_is_the_daemon_if_that_does_not_run(tmp_path: Path, env: dict[str, str]) -> None:
    port = free_port()
    own = own_id(site_for(tmp_path, port))
    with tied_to(own) as broker:
        site = site_for(tmp_path, broker.port)
        done = commands(site, env)
        assert done["check"].returncode == 0, done["check"].stdout
        assert done["discovery"].returncode == 0, done["discovery"].stderr
        assert "broker.refused" not in done["doctor"].stdout
        assert {link.client_id for link in broker.links} == {own}


def test_beside_a_daemon_that_runs_the_refused_id_is_named(
    tmp_path: Path, env: dict[str, str]
) -> None:
    own = own_id(site_for(tmp_path, free_port()))
    with tied_to(own) as broker:
        site = site_for(tmp_path, broker.port)
        with site.daemon():
            assert wait_until(lambda: broker.messages)
            connections = [link for link in broker.links if link.client_id == own]
            done = commands(site, env)
            for name, each in done.items():
                said = each.stdout + each.stderr
                assert each.returncode == 1, name
                assert f"client id '{own}-check'" in said, name
                assert f"'{own}', was not tried" in said, name
                assert "mqtt.probe_client_id" in said, name
            assert [link for link in broker.links if link.client_id == own] == connections
            site.settings["mqtt"]["probe_client_id"] = own
            site.write()
            done = commands(site, env)
            assert done["check"].returncode == 0
            assert done["discovery"].returncode == 0


def test_a_refusal_of_the_daemons_own_id_says_no_more(tmp_path: Path, env: dict[str, str]) -> None:
    with tied_to("somebody-else") as broker:
        site = site_for(tmp_path, broker.port)
        done = run_cli("check", "--online", "--json", "--config", site.config, env=env)
    [found] = [each for each in json.loads(done.stdout) if each["check"] == "broker"]
    assert found["id"] == "broker.refused"
    assert found["detail"].endswith(f"(client id '{own_id(site)}')")


@needs_mosquitto
@needs_dynamic_security
def test_a_real_broker_that_ties_users_to_client_ids(tmp_path: Path, env: dict[str, str]) -> None:
    rules, password = tmp_path / "rules.json", tmp_path / "password"
    password.write_text("secret")
    password.chmod(0o600)
    subprocess.run(
        ["mosquitto_ctrl", "dynsec", "init", rules, "admin", "adminpw"],
        check=True,
        capture_output=True,
    )
    lines = [f"plugin {_PLUGINS[0]}", f"plugin_opt_config_file {rules}"]
    with Mosquitto(tmp_path, lines=[*lines, "allow_anonymous false"]) as broker:
        site = site_for(tmp_path, broker.port)
        site.settings["mqtt"] |= {"username": "porch", "password_file": os.fspath(password)}
        site.write()
        control = ["mosquitto_ctrl", "-h", "127.0.0.1", "-p", str(broker.port)]
        control += ["-u", "admin", "-P", "adminpw", "dynsec"]
        for rule in (
            ["createClient", "porch", "-c", own_id(site), "-p", "secret"],
            ["createRole", "all"],
            ["addRoleACL", "all", "publishClientSend", "#", "allow"],
            ["addRoleACL", "all", "subscribePattern", "#", "allow"],
            ["addClientRole", "porch", "all"],
        ):
            subprocess.run([*control, *rule], check=True, capture_output=True)
        check = ("check", "--online", "--no-camera", "--config", site.config)
        done = run_cli(*check, env=env)
        assert done.returncode == 0, done.stdout
        with site.daemon() as daemon:
            assert daemon.wait_for_line("first prediction")
            done = run_cli(*check, env=env)
            assert done.returncode == 1
            assert f"client id '{own_id(site)}-check'" in done.stdout
            assert not any("closed the connection" in line for line in daemon.lines)


def test_a_folder_is_held_as_long_as_its_lock(tmp_path: Path) -> None:
    assert is_held(tmp_path) is False
    assert is_held(tmp_path / "absent") is False
    with locked(tmp_path, patience_s=0):
        assert is_held(tmp_path) is True
    assert is_held(tmp_path) is False
    (tmp_path / "lock").unlink()
    (tmp_path / "lock").symlink_to("elsewhere")
    assert is_held(tmp_path) is None
