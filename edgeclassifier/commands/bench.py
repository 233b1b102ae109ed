"""`edgeclassifier bench`: how much the daemon costs beside its interpreter."""

import argparse
import dataclasses
import json
import os
import platform
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgeclassifier.commands.common import (
    Subparsers,
    add_config_options,
    add_model_option,
    frame_size,
    read_config,
)
from edgeclassifier.host.terminal import lines

if TYPE_CHECKING:
    from edgeclassifier.bench.freshness import Freshness
    from edgeclassifier.bench.isolation import Isolation
    from edgeclassifier.bench.processes import Processes
    from edgeclassifier.bench.throughput import Throughput
    from edgeclassifier.bench.views import ViewsCost
    from edgeclassifier.config import Config

_SIZES = "320x320,640x480,1920x1080"
_MB = 1e6


def add_parser(subparsers: "Subparsers[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "bench",
        help="measure speed, memory and start-up on this machine",
        description="Compare the whole pipeline with the bare interpreter, by turns in one run.",
    )
    parser.add_argument(
        "--sizes", type=_sizes, default=_SIZES, metavar="WxH,…", help=f"default: {_SIZES}"
    )
    parser.add_argument(
        "--threads",
        type=_counts,
        default=_default_threads(),
        metavar="N,…",
        help="threads of the interpreter (default: all cores, then all but one)",
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (default: 5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each turn (default: 3)")
    parser.add_argument("--starts", type=int, default=5, help="starts of the daemon (default: 5)")
    parser.add_argument("--vs", metavar="NAME|FILE", help="compare with another model, in turns")
    parser.add_argument(
        "--camera", action="store_true", help="measure the configured camera as well"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_model_option(parser)
    add_config_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, and print each figure when it is known."""
    config = read_config(args)
    from edgeclassifier.bench.freshness import measure_freshness
    from edgeclassifier.bench.isolation import measure_isolation
    from edgeclassifier.bench.processes import measure_processes
    from edgeclassifier.bench.throughput import measure_camera, measure_throughput
    from edgeclassifier.bench.views import measure_views
    from edgeclassifier.compose.model import find_model
    from edgeclassifier.engine.runtime import runtime_module
    from edgeclassifier.host.localbroker import any_broker

    model = find_model(config.model)
    say = _Printer(as_json=args.json)
    with any_broker() as broker:
        say.conditions(model.name, broker.name)
        for count in args.threads:
            chosen = _with(config, threads=count)
            for width, height in args.sizes:
                say.throughput(
                    measure_throughput(
                        chosen,
                        broker,
                        width=width,
                        height=height,
                        rounds=args.rounds,
                        seconds=args.seconds,
                    )
                )
        for count in args.threads:
            chosen = _with(config, threads=count)
            say.freshness(measure_freshness(chosen, broker, seconds=args.seconds * args.rounds))
        for count in args.threads:
            chosen = _with(config, threads=count)
            say.isolation(
                measure_isolation(
                    chosen, broker, size=args.sizes[0], rounds=args.rounds, seconds=args.seconds
                )
            )
        chosen = _with(config, threads=args.threads[0])
        say.views(measure_views(chosen, broker, rounds=args.rounds, seconds=args.seconds))
        if args.camera:
            say.camera(measure_camera(config, broker, seconds=args.seconds * args.rounds))
        if args.starts:
            say.processes(
                measure_processes(
                    config,
                    broker,
                    model=model.path,
                    module=runtime_module(config.model.runtime),
                    threads=args.threads[0],
                    starts=args.starts,
                )
            )
    if args.vs:
        say.comparison(*_compare(config, args))
    say.end()
    return 0


def _compare(config: "Config", args: argparse.Namespace) -> tuple[str, float, float]:
    from edgeclassifier.bench.throughput import compare_models
    from edgeclassifier.compose.model import find_model

    ours = find_model(config.model)
    theirs = find_model(_with(config, name=args.vs).model)
    size_ratio = theirs.path.stat().st_size / ours.path.stat().st_size
    latency_ratio = compare_models(
        theirs.path, ours.path, config.model, rounds=args.rounds, seconds=args.seconds
    )
    return theirs.name, size_ratio, latency_ratio


def _with(config: "Config", **model: Any) -> "Config":
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **model))


def _default_threads() -> list[int]:
    cores = len(os.sched_getaffinity(0))
    return [cores, cores - 1] if cores > 1 else [1]


def _sizes(text: str) -> list[tuple[int, int]]:
    return [frame_size(each) for each in text.split(",") if each]


def _counts(text: str) -> list[int]:
    if not all(each.isdecimal() and int(each) for each in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text}: expected numbers, such as 4,3")
    return [int(each) for each in text.split(",")]


class _Printer:
    """Prints for people as figures come, or collects them for programs."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._data: dict[str, Any] = {"throughput": [], "freshness": [], "isolation": []}

    def conditions(self, model: str, broker: str) -> None:
        cores = len(os.sched_getaffinity(0))
        self._data |= {
            "model": model,
            "broker": broker,
            "machine": platform.machine(),
            "cores": cores,
            "python": platform.python_version(),
        }
        self._say(
            f"{model} on {platform.machine()}, {cores} cores, Python {platform.python_version()}, "
            f"broker {broker}\n"
        )
        self._say(
            "frames      threads  bare/s  pipeline/s  ratio   preprocess  inference  (p50, ms)"
        )

    def throughput(self, figures: "Throughput") -> None:
        self._data["throughput"].append(dataclasses.asdict(figures))
        self._say(self._row(f"{figures.width}x{figures.height}", figures))

    def freshness(self, figures: "Freshness") -> None:
        if not self._data["freshness"]:
            self._say("\nlive camera threads  frames/s   results/s  answer's age ÷ an inference")
        self._data["freshness"].append(dataclasses.asdict(figures))
        self._say(
            f"            {figures.threads:>7} {figures.camera_hz:>9.1f} "
            f"{figures.results_hz:>11.2f}  p50 {figures.p50:.2f}, p99 {figures.p99:.2f}"
        )

    def isolation(self, figures: "Isolation") -> None:
        if not self._data["isolation"]:
            self._say("\nprocesses   threads  same/s     other/s  ratio  of pipelines")
        self._data["isolation"].append(dataclasses.asdict(figures))
        self._say(
            f"model       {figures.threads:>7} {figures.inside_hz:>7.2f} "
            f"{figures.isolated_hz:>11.2f} {figures.ratio:>6.3f} {figures.pipeline_ratio:>13.3f}"
        )

    def views(self, figures: "Sequence[ViewsCost]") -> None:
        self._data["views"] = [dataclasses.asdict(each) for each in figures]
        self._say(
            "\n1920x1080   views  moving/s  ÷ bare    busy  still: CPU ÷ that of one that moves"
        )
        for each in figures:
            self._say(
                f"            {each.views:>5} {each.moving_hz:>9.2f} {each.moving_ratio:>7.3f} "
                f"{each.busy:>7.3f} {each.still_ratio:>6.3f}"
            )

    def camera(self, figures: "Throughput") -> None:
        self._data["camera"] = dataclasses.asdict(figures)
        self._say(self._row("camera", figures))

    def processes(self, figures: "Processes") -> None:
        self._data["processes"] = {
            **dataclasses.asdict(figures),
            "peak_above_bytes": figures.peak_above_bytes,
        }
        self._say(
            f"\nstart-up    bare {figures.bare_start_s * 1000:.0f} ms, "
            f"first prediction at a subscriber {figures.daemon_start_s * 1000:.0f} ms, "
            f"ratio {figures.start_ratio:.2f}\n"
            f"peak memory bare {figures.bare_peak_bytes / _MB:.1f} MB, "
            f"daemon {figures.daemon_peak_bytes / _MB:.1f} MB, "
            f"above {figures.peak_above_bytes / _MB:.1f} MB"
        )

    def comparison(self, other: str, size_ratio: float, latency_ratio: float) -> None:
        self._data["vs"] = {
            "model": other,
            "size_ratio": size_ratio,
            "latency_ratio": latency_ratio,
        }
        self._say(f"vs {other}: size {size_ratio:.2f} times, latency {latency_ratio:.2f} times")

    def end(self) -> None:
        if self._as_json:
            sys.stdout.write(json.dumps(self._data, indent=2) + "\n")

    def _row(self, name: str, figures: "Throughput") -> str:
        stages = figures.stages
        preprocess = stages["preprocess"].p50 * 1000 if stages else 0.0
        inference = stages["inference"].p50 * 1000 if stages else 0.0
        return (
            f"{name:<11} {figures.threads:>7} {figures.bare_hz:>7.2f} {figures.pipeline_hz:>11.2f} "
            f"{figures.ratio:>6.3f} {preprocess:>12.2f} {inference:>10.2f}"
        )

    def _say(self, line: str) -> None:
        if not self._as_json:
            sys.stdout.write(lines(line) + "\n")
            sys.stdout.flush()
