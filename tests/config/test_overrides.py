"""What was changed on request, over restarts and edits of the configuration."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgeclassifier.config import Config
from edgeclassifier.config.overrides import Overrides
from edgeclassifier.errors import ConfigError

FILES = Config()
KEPT = "overrides.json"


def changed(folder: Path | None, key: str = "state.threshold", value: object = 0.6) -> Overrides:
    overrides = Overrides(folder)
    overrides.set(FILES, key, value)
    overrides.save()
    return overrides


def test_a_change_is_in_force_and_outlives_a_restart(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    changed(folder)
    again = Overrides(folder)
    assert again.apply(FILES).state.threshold == 0.6
    assert again.values == {"state.threshold": 0.6}
    assert again.apply(FILES) == replace(FILES, state=replace(FILES.state, threshold=0.6))


def test_a_change_can_be_taken_back(tmp_path: Path) -> None:
    overrides = changed(tmp_path)
    overrides.set(FILES, "state.threshold", None)
    overrides.save()
    assert overrides.apply(FILES) == Overrides(tmp_path).apply(FILES) == FILES
    assert json.loads((tmp_path / KEPT).read_text()) == {}


def test_a_change_that_failed_is_undone(tmp_path: Path) -> None:
    overrides = changed(tmp_path)
    overrides.set(FILES, "state.threshold", 0.9)
    overrides.undo()
    assert overrides.apply(FILES).state.threshold == 0.6


def test_a_change_of_one_key_can_be_taken_back_alone(tmp_path: Path) -> None:
    overrides = changed(tmp_path)
    overrides.set(FILES, "model.name", "bad")
    overrides.save()
    overrides.take_back("model.name", in_force="bad")
    assert overrides.values == {"state.threshold": 0.6, "model.name": "bad"}
    overrides.take_back("model.name", in_force="configured")
    assert overrides.values == Overrides(tmp_path).values == {"state.threshold": 0.6}
    assert overrides.apply(FILES) == replace(FILES, state=replace(FILES.state, threshold=0.6))


def test_what_was_asked_for_before_is_in_force_again(tmp_path: Path) -> None:
    overrides = changed(tmp_path, "model.name", "good")
    overrides.set(FILES, "model.name", "bad")
    overrides.save()
    overrides.set(FILES, "state.threshold", 0.6)
    overrides.save()
    overrides.take_back("model.name", in_force="good")
    assert overrides.values == {"model.name": "good", "state.threshold": 0.6}
    assert Overrides(tmp_path).apply(FILES).model.name == "good"


def test_a_change_that_fails_before_it_is_saved_is_not_saved_afterwards(tmp_path: Path) -> None:
    overrides = changed(tmp_path, "model.name", "good")
    overrides.set(FILES, "model.name", "bad")
    overrides.take_back("model.name", in_force="good")
    overrides.save()
    assert overrides.values == Overrides(tmp_path).values == {"model.name": "good"}


def test_taking_back_saves_no_change_that_may_still_be_undone(tmp_path: Path) -> None:
    overrides = changed(tmp_path, "model.name", "bad")
    overrides.set(FILES, "state.threshold", 0.6)
    overrides.take_back("model.name")
    overrides.undo()
    assert overrides.values == Overrides(tmp_path).values == {}


def test_files_that_say_something_else_win_over_an_older_change(tmp_path: Path) -> None:
    changed(tmp_path)
    edited = replace(FILES, state=replace(FILES.state, threshold=0.4))
    overrides = Overrides(tmp_path)
    assert overrides.apply(edited) == edited
    assert overrides.values == {}
    assert Overrides(tmp_path).apply(FILES) == FILES


def test_another_edit_does_not_touch_a_change(tmp_path: Path) -> None:
    overrides = changed(tmp_path)
    edited = replace(FILES, state=replace(FILES.state, hold_s=9.0))
    assert overrides.apply(edited).state == replace(edited.state, threshold=0.6)


def test_another_model_does_not_get_what_the_files_say_of_theirs() -> None:
    theirs = replace(FILES.model, name="own.tflite", labels="own.txt", mean=(1.0,), std=(2.0,))
    accelerator = replace(FILES.accelerator, model="own_edgetpu.tflite")
    files = replace(FILES, model=theirs, accelerator=accelerator)
    overrides = Overrides(None)
    overrides.set(files, "model.name", "mobilenet_v2")
    config = overrides.apply(files)
    assert config.model == replace(FILES.model, name="mobilenet_v2")
    assert config.accelerator == FILES.accelerator


def test_a_change_that_contradicts_the_files_is_refused() -> None:
    files = replace(FILES, state=replace(FILES.state, leave_threshold=0.25))
    overrides = Overrides(None)
    overrides.set(files, "state.threshold", 0.1)
    with pytest.raises(ConfigError, match="leave_threshold"):
        overrides.apply(files)


def test_without_a_folder_a_change_lasts_as_long_as_the_process() -> None:
    assert changed(None).apply(FILES).state.threshold == 0.6


def test_nothing_is_written_where_nothing_changes(tmp_path: Path) -> None:
    overrides = changed(tmp_path)
    (tmp_path / KEPT).unlink()
    overrides.set(FILES, "state.threshold", 0.6)
    overrides.save()
    assert not (tmp_path / KEPT).exists()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"state.threshold": 3}',
        '{"state.threshold": {"value": "high", "instead_of": 0.3}}',
        '{"state.threshold": {"value": 0.6}}',
        '{"mqtt.host": {"value": "elsewhere", "instead_of": "localhost"}}',
        "[" * 3000,
    ],
)
def test_a_damaged_record_is_as_good_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / KEPT).write_text(content)
    assert Overrides(tmp_path).apply(FILES) == FILES


def test_a_disk_that_cannot_be_written_costs_only_the_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    overrides = changed(tmp_path / "file" / "state")
    assert overrides.apply(FILES).state.threshold == 0.6
    assert "will not outlive a restart" in caplog.text
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
