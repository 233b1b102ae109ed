"""Hostile files: whatever is in them, they are taken, or refused in one line."""

import contextlib
import dataclasses
import importlib.util
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from conftest import Figures
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.daemon import REPOSITORY
from support.fuzz.targets import GUIDED, TARGETS
from support.shared_data import FOLDER, needs_shared_data
from support.tiny_models import LABELS, classifier, normalization_metadata, with_files

from edgeclassifier.config import Config
from edgeclassifier.config.render import to_toml

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")]),
}
MOST_GROWTH_KIB = 4 << 10
MODELS_S = 50
"""For the damaged copies of one model, however many that are."""
LIBFUZZER_COUNTS = re.compile(r"cov: (\d+) ft: (\d+)")


def some_seed() -> int:
    return int(os.environ.get("FUZZ_SEED") or random.SystemRandom().randrange(2**32))


def fuzz(program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", f"support.fuzz.{program}", *arguments],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=280,
    )


def fuzz_target(
    program: str, name: str, *, seed: int, cases: int, folder: Path
) -> "subprocess.CompletedProcess[str]":
    """Feed a target; fail with what it says, and where the input is, where it broke a promise."""
    options = ["--cases", str(cases), "--seed", str(seed), "--folder", str(folder)]
    done = fuzz(program, name, *options)
    said = done.stderr.partition("Uncaught Python exception")[2] or done.stderr[-2000:]
    assert done.returncode == 0, f"seed {seed}, saved as {kept(folder, name)}:\n{said}"
    return done


def kept(folder: Path, name: str) -> list[str]:
    """Move inputs that broke a promise from the test's folder to where they stay."""
    found = [*folder.glob("crash-*"), *folder.glob("timeout-*")]
    place = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-")) if found else folder
    return [str(file.rename(place / file.name)) for file in found]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", TARGETS)
def test_random_damage_is_taken_or_refused_and_leaves_nothing(
    name: str, long: bool, figures: Figures, tmp_path: Path
) -> None:
    """Set FUZZ_SEED to run the cases of a seed that was printed again."""
    seed, cases = some_seed(), 10_000 if long else 150
    done = fuzz_target("at_random", name, seed=seed, cases=cases, folder=tmp_path)
    counts = json.loads(done.stdout)
    figures(
        f"seed {seed}: {cases} cases, {counts['accepted']} accepted, "
        f"memory {counts['memory_kib']:+} KiB"
    )
    assert counts["files"] <= 0
    assert counts["memory_kib"] < MOST_GROWTH_KIB


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = (
    st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["auto", "stream", "replay", "~/a", "~nobody-of-this-name/a", "\0", "a/b.c"])
    | TEXT
)
VALUES = SCALARS | st.lists(SCALARS, max_size=4) | st.dictionaries(TEXT, SCALARS, max_size=3)
Entry = tuple[tuple[str, ...], Any]
"""A key, as the parts of its name, and its value."""
DEFAULTS = [
    ((table, key), value)
    for table, keys in dataclasses.asdict(Config()).items()
    for key, value in keys.items()
]
KEYS = st.sampled_from([*(path for path, _ in DEFAULTS), ("camera",), ("camera", "no", "such")])
ENTRIES = st.lists(st.sampled_from(DEFAULTS) | st.tuples(KEYS, VALUES), max_size=4)


@pytest.mark.timeout(300)
def test_any_values_of_any_keys_are_taken_or_refused(
    long: bool, figures: Figures, tmp_path: Path
) -> None:
    """Whole documents, that are TOML at least, in the file, a drop-in and on the command line."""
    counts = {"config": 0, "drop_in": 0, "override": 0}

    @settings(
        max_examples=5_000 if long else 80,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(ENTRIES, st.sampled_from(sorted(counts)))
    @example(DEFAULTS[:1], "config")
    @example(DEFAULTS[:1], "drop_in")
    @example(DEFAULTS[:1], "override")
    def check(entries: list[Entry], name: str) -> None:
        table: dict[str, Any] = {}
        for path, value in entries:
            inner = table
            for part in path[:-1]:
                nested = inner.setdefault(part, {})
                inner = nested if isinstance(nested, dict) else {}
            inner[path[-1]] = value
        if name == "override":
            words = [f"{'.'.join(path)}={json.dumps(value)}" for path, value in entries]
            data = "\0".join(words).encode()
        else:
            data = to_toml(table).encode()
        counts[name] += TARGETS[name].read(data, tmp_path)

    check()
    figures(f"accepted: {counts}")
    assert all(counts.values()), "nothing is ever accepted: the test tests too little"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def test_any_json_is_a_record_or_a_damaged_one(long: bool, tmp_path: Path) -> None:
    @settings(
        max_examples=10_000 if long else 100,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(JSON | st.dictionaries(st.sampled_from(["sha256", "source"]), JSON))
    def check(record: Any) -> None:
        TARGETS["record"].read(json.dumps(record).encode(), tmp_path)

    check()


@pytest.mark.timeout(300)
@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris is not installed (it has wheels for x86-64 alone)",
)
@pytest.mark.parametrize("name", GUIDED)
def test_damage_guided_by_coverage_is_taken_or_refused(
    name: str, long: bool, figures: Figures, tmp_path: Path
) -> None:
    seed, cases = some_seed() % 2**31 or 1, 20_000 if long else 300
    done = fuzz_target("guided", name, seed=seed, cases=cases, folder=tmp_path)
    coverage = LIBFUZZER_COUNTS.findall(done.stderr)[-1]
    figures(f"seed {seed}: {cases} cases, coverage {coverage[0]}, features {coverage[1]}")


def tiny(folder: Path, dtype: str) -> Path:
    quantized = dtype != "float32"
    content = classifier(
        dtype,
        scale=1 / 128 if quantized else 0.0,
        zero_point=128 if dtype == "uint8" else 0,
        last="SOFTMAX",
        metadata=normalization_metadata([127.5], [127.5]),
    )
    path = folder / f"tiny-{dtype}.tflite"
    path.write_bytes(with_files(content, {"labels.txt": "\n".join(LABELS).encode()}))
    return path


def shared(name: str, labels: str | None = None) -> list[str]:
    models = FOLDER / "models"
    return [str(models / name), *(["--labels", str(models / labels)] if labels else [])]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("kind", "cases"),
    [
        ("float32", 4_000),
        ("uint8", 4_000),
        ("int8", 4_000),
        ("bundled", 2_000),
        pytest.param("mobilenet v1", 2_000, marks=needs_shared_data),
        pytest.param("mobilenet v2", 2_000, marks=needs_shared_data),
    ],
)
def test_a_damaged_model_that_passes_the_check_never_ends_the_daemon(
    kind: str, cases: int, long: bool, figures: Figures, tmp_path: Path
) -> None:
    """Nor does it raise anything that is not for users."""
    arguments = {
        "bundled": [],
        "mobilenet v1": shared("mobilenet_v1_0.25_128_quant.tflite", "imagenet_labels.txt"),
        "mobilenet v2": shared("mobilenet_v2_1.0_224_quant.tflite"),
    }
    model = arguments[kind] if kind in arguments else [str(tiny(tmp_path, kind))]
    seed, saved = some_seed(), tempfile.mkdtemp(prefix="fuzz-models-")
    if not long:
        cases = 25
    options = ["--cases", str(cases), "--seconds", str(MODELS_S), "--saved", saved]
    done = fuzz("interpreters", *model, "--seed", str(seed), *options)
    assert done.returncode == 0, f"seed {seed}: {done.stderr}"
    counts = json.loads(done.stdout)
    figures(
        f"seed {seed}: {counts['cases']} cases, the check says {counts['check']}, "
        f"of those that pass the daemon {counts['passed']}"
    )
    unexpected = set(counts["passed"]) - {"accepted", "refused"}
    assert not unexpected, f"seed {seed}, saved in {saved}: {counts}"
    assert counts["check"].get("accepted") or not long, "the check accepts nothing"
    with contextlib.suppress(OSError):
        Path(saved).rmdir()
