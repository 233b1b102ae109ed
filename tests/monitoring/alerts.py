"""Faults as Prometheus sees them, minute by minute, and the one alert that each has to raise."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from monitoring.dashboard import RULES
from monitoring.sample import result, sample, samples

Series = Mapping[str, Callable[[int], float | None]]
"""By name and labels: the value in each minute, None if there is none."""

DEVICE = 'device="porch"'
BEGIN = 10
"""The minute in which faults begin."""
_HALF_A_DAY = 720
"""Rules that wait for so long are evaluated less often, which saves seconds."""
_TARGET = 'instance="porch:8080",job="edgeclassifier"'
_FILE = 'file="/run/metrics/edgeclassifier.prom",' + _TARGET


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A fault. Only `alert` fires, and in the minutes `fires`; nothing does in those of `quiet`."""

    alert: str
    series: Series
    fires: tuple[int, ...] = ()
    quiet: tuple[int, ...] = ()
    name: str = ""


def always(value: float) -> Callable[[int], float | None]:
    return lambda _minute: value


def during(
    value: float | None, end: int, *, otherwise: float | None = 0
) -> Callable[[int], float | None]:
    """Return a series that has `value` from BEGIN up to the minute `end`."""
    return lambda minute: value if BEGIN <= minute < end else otherwise


def counting(per_minute: float, end: int) -> Callable[[int], float | None]:
    """Return a counter that goes up from BEGIN to the minute `end`."""
    return lambda minute: per_minute * min(max(minute - BEGIN, 0), end - BEGIN)


def own(name: str, labels: str = "") -> str:
    return f"edgeclassifier_{name}{{{','.join(filter(None, (DEVICE, labels)))}}}"


def age(end: int) -> Callable[[int], float | None]:
    return lambda minute: (minute - BEGIN) * 60.0 if BEGIN <= minute < end else 0.1


NODE_TIME = f"node_time_seconds{{{_TARGET}}}"
MTIME = f"node_textfile_mtime_seconds{{{_FILE}}}"

SCENARIOS = [
    Scenario(
        alert="EdgeclassifierDown",
        name="out of reach",
        series={
            f"up{{{_TARGET}}}": during(0, 30, otherwise=1),
            own("running"): during(None, 30, otherwise=1),
        },
        quiet=(9, 14, 31),
        fires=(16, 29),
    ),
    Scenario(
        alert="EdgeclassifierDown",
        name="ended, with a last word in its file",
        series={own("running"): during(0, 30, otherwise=1)},
        quiet=(9, 14, 31),
        fires=(16, 29),
    ),
    Scenario(
        alert="EdgeclassifierTextfileStale",
        series={MTIME: lambda minute: 60.0 * (BEGIN if BEGIN <= minute < 30 else minute)},
        quiet=(9, 17, 31),
        fires=(18, 29),
    ),
    Scenario(
        alert="EdgeclassifierNoFrames",
        name="no more",
        series={own("frame_age_seconds"): age(30)},
        quiet=(9, 12, 31),
        fires=(13, 29),
    ),
    Scenario(
        alert="EdgeclassifierNoFrames",
        name="never one",
        series={
            own("frame_age_seconds"): lambda minute: None if minute < 30 else 0.1,
            own("uptime_seconds"): lambda minute: 60.0 * minute,
        },
        quiet=(5, 7, 31),
        fires=(8, 29),
    ),
    Scenario(
        alert="",
        name="a pause is no fault",
        series={own("frame_age_seconds"): age(30), own("paused"): during(1, 29)},
        quiet=(9, 15, 29, 30, 31),
    ),
    Scenario(
        alert="EdgeclassifierDisconnected",
        series={own("mqtt_connected"): during(0, 30, otherwise=1)},
        quiet=(9, 19, 31),
        fires=(20, 29),
    ),
    Scenario(
        alert="EdgeclassifierReconnecting",
        series={own("mqtt_reconnects_total"): counting(0.5, 60)},
        quiet=(9, 20, 125),
        fires=(40, 60),
    ),
    Scenario(
        alert="EdgeclassifierMessagesDropped",
        series={own("dropped_messages_total"): counting(3, 30)},
        quiet=(9, 10, 41),
        fires=(12, 30, 38),
    ),
    Scenario(
        alert="EdgeclassifierBufferProblem",
        series={own("buffer_problem"): during(1, 30)},
        quiet=(9, 19, 31),
        fires=(20, 29),
    ),
    *(
        Scenario(
            alert="EdgeclassifierCameraBroken",
            name=state,
            series={
                own("camera_state", f'state="{state}"'): during(1, 30),
                own("camera_state", 'state="ok"'): during(0, 30, otherwise=1),
            },
            quiet=(9, 14, 31),
            fires=(15, 29),
        )
        for state in ("frozen", "undecodable")
    ),
    Scenario(
        alert="EdgeclassifierCameraUnsteady",
        series={own("camera_recoveries_total"): counting(0.2, 60)},
        quiet=(9, 20, 125),
        fires=(40, 60),
    ),
    Scenario(
        alert="EdgeclassifierDegraded",
        series={own("degraded"): during(1, 60)},
        quiet=(9, 39, 61),
        fires=(40, 59),
    ),
    Scenario(
        alert="EdgeclassifierRestarting",
        series={own("start_time_seconds"): counting(15, 40)},
        quiet=(9, 11, 101),
        fires=(14, 60),
    ),
    Scenario(
        alert="EdgeclassifierCameraCovered",
        series={own("camera_view", 'view="covered"'): during(1, 60)},
        quiet=(9, 39, 61),
        fires=(40, 59),
    ),
    Scenario(
        alert="EdgeclassifierDarkForLong",
        series={own("camera_view", 'view="dark"'): during(1, 1500)},
        quiet=(9, 1440, 1501),
        fires=(1450, 1499),
    ),
    Scenario(
        alert="",
        name="two starts, and a clock that was set",
        series={own("start_time_seconds"): during(5, 30)},
        quiet=(9, 15, 40),
    ),
    Scenario(
        alert="EdgeclassifierConfigRefused",
        series={own("config_last_reload_successful"): during(0, 30, otherwise=1)},
        quiet=(9, 14, 31),
        fires=(15, 29),
    ),
    Scenario(
        alert="EdgeclassifierPausedForLong",
        series={own("paused"): during(1, 800)},
        quiet=(9, 600, 801),
        fires=(730, 799),
    ),
    Scenario(
        alert="EdgeclassifierHot",
        series={own("cpu_temperature_celsius"): during(81, 30, otherwise=80)},
        quiet=(9, 19, 31),
        fires=(20, 29),
    ),
    *(
        Scenario(
            alert="EdgeclassifierThrottled",
            name=condition,
            series={own("throttling", f'condition="{condition}"'): during(1, 30)},
            quiet=(9, 19, 31),
            fires=(20, 29),
        )
        for condition in ("throttled", "soft_temperature_limit")
    ),
    Scenario(
        alert="EdgeclassifierUndervoltage",
        series={own("throttling", 'condition="under_voltage"'): during(1, 11)},
        quiet=(9, 26),
        fires=(10, 20),
    ),
]


def healthy(folder: Path) -> Series:
    """Return what Prometheus has of a device that is well, histograms apart."""
    metrics = sample(folder)
    metrics.tally.count(result(), None)
    series: dict[str, Callable[[int], float | None]] = {
        f"up{{{_TARGET}}}": always(1),
        NODE_TIME: lambda minute: 60.0 * minute,
        MTIME: lambda minute: 60.0 * minute,
    }
    for each in samples(metrics.render()):
        if "le" not in each.labels:
            labels = ",".join(f'{key}="{value}"' for key, value in each.labels.items())
            rest = labels.removeprefix(DEVICE).removeprefix(",").replace(f",{DEVICE}", "")
            key = own(each.name.removeprefix("edgeclassifier_"), rest)
            series[key] = always(each.value)
    return {
        **series,
        own("frame_age_seconds"): always(0.1),
        own("uptime_seconds"): lambda minute: 6e4 + 60.0 * minute,
        own("frames_total", 'answer="classified"'): lambda minute: 600.0 * minute,
    }


def promtool_test(scenario: Scenario, folder: Path) -> Path:
    """Write the scenario for `promtool test rules`: JSON, which is YAML."""
    usual = healthy(folder)
    assert scenario.series.keys() <= usual.keys()
    minutes = range(max((*scenario.fires, *scenario.quiet)) + 1)
    expected = [(minute, 1.0) for minute in scenario.fires]
    expected += [(minute, 0.0) for minute in scenario.quiet]
    checks = []
    for minute, firing in expected:
        for of in ("", f'alertname="{scenario.alert}",') if firing else ("",):
            expr = f'count(ALERTS{{{of}alertstate="firing"}}) or vector(0)'
            checks.append(
                {
                    "expr": expr,
                    "eval_time": f"{minute}m",
                    "exp_samples": [{"labels": "{}", "value": firing}],
                }
            )
    content = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "5m" if len(minutes) > _HALF_A_DAY else "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": key, "values": " ".join(map(_notation, map(values, minutes)))}
                    for key, values in {**usual, **scenario.series}.items()
                ],
                "promql_expr_test": checks,
            }
        ],
    }
    path = folder / "scenario.yml"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def _notation(value: float | None) -> str:
    return "_" if value is None else f"{value:.10g}"
