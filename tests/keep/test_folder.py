"""Where kept pictures are."""

from pathlib import Path

import pytest

from edgeclassifier.compose.keep import keep_store
from edgeclassifier.config.guests import KeepConfig
from edgeclassifier.errors import ConfigError


def test_the_folder_is_the_configured_one_or_in_the_state_directory(tmp_path: Path) -> None:
    own = keep_store(KeepConfig(path=str(tmp_path / "own")), tmp_path)
    usual = keep_store(KeepConfig(), tmp_path)
    assert own is not None
    assert usual is not None
    assert (own.folder, usual.folder) == (tmp_path / "own", tmp_path / "kept")


def test_without_any_folder_keeping_is_an_error_and_not_keeping_is_none() -> None:
    assert keep_store(KeepConfig(), None) is None
    with pytest.raises(ConfigError, match="no folder for them"):
        keep_store(KeepConfig(kinds=("changed",)), None)
