"""Views in the configuration: what each has of its own, what it shares, and what is wrong."""

import dataclasses
import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeclassifier.config import Config, load_config, masked, to_toml
from edgeclassifier.config.changeable import override_key
from edgeclassifier.config.changes import at, changed_keys, declared
from edgeclassifier.config.options import VIEWS
from edgeclassifier.config.overrides import Overrides, kept_changes
from edgeclassifier.config.schema import StateConfig
from edgeclassifier.config.views import ViewConfig, ViewIdleConfig, ViewStateConfig, views_of
from edgeclassifier.errors import ConfigError

REGION = (0.1, 0.2, 0.3, 0.4)


def read(folder: Path, text: str, **drop_ins: str) -> Config:
    (folder / "conf.d").mkdir(exist_ok=True)
    for name, content in drop_ins.items():
        (folder / "conf.d" / f"{name}.toml").write_text(content)
    file = folder / "config.toml"
    file.write_text(text)
    return load_config(file)


def with_views(**views: ViewConfig) -> Config:
    return replace(Config(), views=views)


def test_without_views_there_is_one_and_it_is_the_configuration() -> None:
    assert views_of(Config()) == {"": Config()}


def test_what_a_view_leaves_out_comes_from_the_sections(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        "[state]\nthreshold = 0.4\nhold_s = 9\n[idle]\nskip_unchanged = true\n"
        "[preprocess]\ncrop_fraction = 0.7\n"
        "[views.gate]\nregion = [0.1, 0.2, 0.3, 0.4]\nthreshold = 0.6\nmax_rate_hz = 2\n"
        "[views.gate.state]\nwindow_s = 3\nexclude = ['cat']\nthresholds = {dog = 0.9}\n"
        "[views.gate.idle]\nmin_area = 0.1\n[views.door]\n",
    )
    gate, door = views_of(config).values()
    assert [*views_of(config)] == ["gate", "door"]
    assert gate.preprocess == replace(config.preprocess, region=REGION)
    assert gate.state == replace(
        config.state, threshold=0.6, window_s=3.0, exclude=("cat",), thresholds={"dog": 0.9}
    )
    assert gate.idle == replace(config.idle, min_area=0.1)
    assert gate.mqtt.max_rate_hz == 2.0
    assert door == replace(config, views={})


def test_every_key_of_a_view_is_one_of_a_section() -> None:
    sections = Config()
    for table, section in ((ViewStateConfig, sections.state), (ViewIdleConfig, sections.idle)):
        assert {each.name for each in dataclasses.fields(table)} <= set(vars(section))
    kept_apart = {"threshold"}
    assert set(vars(StateConfig())) - set(vars(ViewStateConfig())) == kept_apart
    assert set(vars(sections.idle)) == set(vars(ViewIdleConfig()))


def test_another_model_has_labels_and_normalization_of_its_own(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        '[model]\nname = "birds"\nlabels = "birds.txt"\nmean = [1]\nstd = [2]\n'
        '[views.a]\n[views.b]\nmodel = "birds"\n[views.c]\nmodel = "./gate.tflite"\n'
        '[views.d]\nmodel = "gate"\nlabels = "gate.txt"\n',
    )
    a, b, c, d = views_of(config).values()
    assert a.model == b.model == config.model
    assert a.accelerator == b.accelerator == config.accelerator
    assert (c.model.name, c.model.labels) == (str(tmp_path / "gate.tflite"), "")
    assert (c.model.mean, c.model.std, c.accelerator.delegate) == ((), (), "none")
    assert d.model.labels == str(tmp_path / "gate.txt")


def test_a_square_of_its_own_takes_the_place_of_a_shared_region(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        "[preprocess]\nregion = [0, 0, 0.5, 0.5]\n"
        "[views.a]\n[views.b]\ncrop_fraction = 0.5\n[views.c]\nregion = []\n",
    )
    regions = [each.preprocess.region for each in views_of(config).values()]
    assert regions == [(0.0, 0.0, 0.5, 0.5), (), ()]


def test_drop_ins_and_overrides_are_merged_into_views(tmp_path: Path) -> None:
    text = "[views.a]\nthreshold = 0.5\nmax_rate_hz = 1\n"
    config = read(tmp_path, text, b="[views.a]\nthreshold = 0.6\n[views.b]\n")
    config = load_config(tmp_path / "config.toml", overrides=["views.b.region=[0, 0, 0.5, 0.5]"])
    assert config.views["a"] == ViewConfig(threshold=0.6, max_rate_hz=1.0)
    assert config.views["b"] == ViewConfig(region=(0.0, 0.0, 0.5, 0.5))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[views.'ga#te']", "letters, digits, '_' and '-' only"),
        ("[views.'']", "letters, digits, '_' and '-' only"),
        ("[views.'a/b']", "letters, digits, '_' and '-' only"),
        ("[views.'café']", "letters, digits, '_' and '-' only"),
        ("[views.a]\n[views.a]", "not valid TOML"),
        ("[views.Gate]\n[views.gate]", "differ in capital letters only"),
        ("[views.request]", "the device's topics have this level already"),
        ("views = 1", "expected tables, [views.NAME]"),
        ("[[views]]\nid = 'a'", "expected tables, [views.NAME]"),
        ("[views]\ngate = 1", "views.gate = 1: expected a table, [views.gate]"),
        ("[views.a]\nregin = []", "views.a.regin: unknown key, did you mean region?"),
        ("[views.a.state]\nhold = 1", "views.a.state.hold: unknown key, did you mean hold_s?"),
        ("[views.a]\nregion = [0.8, 0, 0.3, 1]", "fractions of the frame, inside it"),
        ("[views.a]\nregion = [0, 0, 640, 480]", "fractions of the frame, inside it"),
        ("[views.a]\nregion = [0, 0, 0, 1]", "fractions of the frame, inside it"),
        ("[views.a]\nregion = [0, 0, 0.5, -0.1]", "fractions of the frame, inside it"),
        ("[views.a]\nregion = [0, 0, 0.0005, 0.0009]", "at least 0.01 wide and high"),
        ("[views.a]\nregion = [0, 0, nan, 1]", "a list of numbers"),
        ("[views.a]\nthreshold = 2", "views.a.threshold = 2: expected a number from 0 to 1"),
        ("[views.a]\nthreshold = true", "views.a.threshold = true: expected a number"),
        ("[views.a]\nmodel = ''", 'views.a.model = "": expected "auto", a name'),
        ("[views.a]\nthreshold = 0.1\n[state]\nleave_threshold = 0.2", "views.a: leave_threshold"),
        ("[views.a]\nmax_rate_hz = 0.1", "one of them needs a max_rate_hz above 0.1"),
        ("[views.a.state]\nthresholds = {dog = 3}", "for each label a number from 0 to 1"),
    ],
)
def test_what_is_wrong_with_a_view_is_said_in_one_line(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert any(said in problem for problem in caught.value.problems), caught.value.problems
    assert not any("\n" in problem for problem in caught.value.problems)


def test_a_view_may_be_asked_seldom_beside_another(tmp_path: Path) -> None:
    assert read(tmp_path, "[views.a]\nmax_rate_hz = 0.01\n[views.b]\n").views


def test_views_may_overlap_and_be_many(tmp_path: Path) -> None:
    text = "".join(f"[views.v{number}]\nregion = [0, 0, 1, 1]\n" for number in range(50))
    assert len(views_of(read(tmp_path, text))) == 50


def test_what_is_shown_can_be_read_again(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        "[views.gate]\nregion = [0.1, 0.2, 0.3, 0.4]\nmodel = 'x'\n[views.gate.state]\n"
        "exclude = ['a']\nthresholds = {'b c' = 0.5}\n[views.door]\nmax_rate_hz = 1\n",
    )
    shown = to_toml(masked(config))
    assert load_config(_written(tmp_path / "shown.toml", shown)) == config
    assert "None" not in shown
    assert json.loads(json.dumps(masked(config)))["views"]["door"]["max_rate_hz"] == 1.0
    assert tomllib.loads(to_toml(masked(Config())))["views"] == {}


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_each_change_of_a_view_has_its_key() -> None:
    old = with_views(a=ViewConfig(), b=ViewConfig())
    new = with_views(a=ViewConfig(region=REGION, state=ViewStateConfig(hold_s=1.0)), c=ViewConfig())
    changed = changed_keys(old, new)
    assert changed == {"views.a.region", "views.a.state.hold_s", "views.b", "views.c"}
    assert at(VIEWS, changed) == changed
    assert changed_keys(old, with_views(b=ViewConfig(), a=ViewConfig())) == {"views"}
    assert all(places == (VIEWS,) for _, places in declared(ViewConfig, ""))


# Changed on request

VALUES: list[tuple[str, Any]] = [
    ("state.threshold", 0.6),
    ("model.name", "other"),
    ("preprocess.region", REGION),
]


@pytest.mark.parametrize(("key", "value"), VALUES)
def test_a_change_of_a_view_is_kept_and_taken_back_as_any(
    tmp_path: Path, key: str, value: Any
) -> None:
    files = with_views(a=ViewConfig(labels="mine.txt"), b=ViewConfig(threshold=0.5))
    overrides = Overrides(tmp_path)
    name = override_key(files, "a", key)
    overrides.set(files, name, value)
    overrides.save()
    again = Overrides(tmp_path)
    assert again.values == {name: value}
    config = again.apply(files)
    assert config.views["b"] == files.views["b"]
    assert getattr(config.views["a"], name.rpartition(".")[2]) == value
    assert config.views["a"].labels == (None if key == "model.name" else "mine.txt")
    [change] = kept_changes(tmp_path, files)
    assert (change.view, change.key) == ("a", name)
    assert "none of its own" in str(change)
    again.set(files, name, None)
    again.save()
    assert Overrides(tmp_path).apply(files) == files


@pytest.mark.parametrize(("key", "value"), VALUES)
def test_files_that_say_something_else_of_a_view_win(tmp_path: Path, key: str, value: Any) -> None:
    files = with_views(a=ViewConfig())
    name = override_key(files, "a", key)
    for edited in (
        with_views(a=ViewConfig(region=(0.0, 0.0, 1.0, 1.0), threshold=0.9, model="new")),
        with_views(b=ViewConfig()),
        Config(),
    ):
        overrides = Overrides(tmp_path)
        overrides.set(files, name, value)
        overrides.save()
        assert Overrides(tmp_path).apply(edited) == edited
        assert Overrides(tmp_path).values == {}


def test_a_change_without_views_is_outdated_once_there_are_some(tmp_path: Path) -> None:
    overrides = Overrides(tmp_path)
    overrides.set(Config(), "preprocess.region", REGION)
    overrides.save()
    assert Overrides(tmp_path).apply(Config()).preprocess.region == REGION
    files = with_views(a=ViewConfig())
    assert Overrides(tmp_path).apply(files) == files


@pytest.mark.parametrize(
    "entry",
    [
        '{"views.a.region": {"value": [0, 0, 2, 2], "instead_of": null}}',
        '{"views.a.region": {"value": "all", "instead_of": null}}',
        '{"views.a.region": {"value": [0, 0, 0.1], "instead_of": null}}',
        '{"views.a.mqtt": {"value": 1, "instead_of": null}}',
        '{"views": {"value": 1, "instead_of": null}}',
        '{"views.a.threshold": {"value": 3, "instead_of": null}}',
    ],
)
def test_a_damaged_change_of_a_view_is_as_good_as_none(tmp_path: Path, entry: str) -> None:
    (tmp_path / "overrides.json").write_text(entry)
    files = with_views(a=ViewConfig())
    assert Overrides(tmp_path).apply(files) == files
