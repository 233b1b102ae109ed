"""Where kept pictures are, and which are kept."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgeclassifier.compose.identity import NO_KEEP_FOLDER
from edgeclassifier.config.guests import KeepConfig
from edgeclassifier.daemon.guests import Guest
from edgeclassifier.daemon.shelf import Shelf
from edgeclassifier.errors import ConfigError
from edgeclassifier.host.threads import OnDeath
from edgeclassifier.keep.keeper import Describe, Keeper
from edgeclassifier.keep.policy import KeepRules, Limit
from edgeclassifier.keep.store import Store

if TYPE_CHECKING:
    from edgeclassifier.contract.results import Result, State
    from edgeclassifier.contract.status import KeepStatus

_FOLDER = "kept"

log = logging.getLogger(__name__)


def keep_store(config: KeepConfig, state_directory: Path | None) -> Store | None:
    """Return the store, also if nothing is added to it any more; None if there is no folder.

    Raises ConfigError if one is needed.
    """
    if config.path:
        return Store(Path(config.path))
    if state_directory is not None:
        return Store(state_directory / _FOLDER)
    if config.kinds:
        raise ConfigError([NO_KEEP_FOLDER])
    return None


def keep_rules(config: KeepConfig) -> KeepRules:
    """Take from the configuration what is worth keeping."""
    uncertain, changed, by_chance = config.uncertain, config.changed, config.random
    limits = {
        "uncertain": Limit(per_hour=uncertain.per_hour, per_day=uncertain.per_day),
        "changed": Limit(per_hour=changed.per_hour, per_day=changed.per_day),
        "random": Limit(per_hour=by_chance.per_hour, per_day=by_chance.per_day),
    }
    return KeepRules(
        limits={kind: limit for kind, limit in limits.items() if kind in config.kinds},
        lowest=config.uncertain.lowest,
        highest=config.uncertain.highest,
        margin=config.uncertain.margin,
    )


class Keeping:
    """Lets the keeper see every result, also the one that takes the place of another."""

    def __init__(
        self,
        config: KeepConfig,
        state_directory: Path | None,
        *,
        describe: Describe,
        clock_synchronized: Callable[[], bool],
        nice: int,
    ) -> None:
        """Take what renders the payload of a result's prediction.

        Raises ConfigError if pictures are to be kept, and there is no folder for them.
        """
        self._config = config
        self._store = keep_store(config, state_directory)
        self.shelf = Shelf(self._store)
        """Answers what is asked of the pictures, also of those of earlier runs."""
        self._describe = describe
        self._clock_synchronized = clock_synchronized
        self._nice = nice
        self._keeper: Keeper | None = None
        self._on_death: OnDeath | None = None

    def build(self, on_death: OnDeath) -> Guest:
        """Make a keeper: a guest of the daemon."""
        if self._store is None:
            raise ConfigError([NO_KEEP_FOLDER])
        self._on_death = on_death
        self._keeper = Keeper(
            store=self._store,
            rules=keep_rules(self._config),
            max_bytes=int(self._config.max_mib * 1024 * 1024),
            quality=self._config.quality,
            describe=self._describe,
            clock_synchronized=self._clock_synchronized,
            nice=self._nice,
            on_death=on_death,
        )
        return self._keeper

    def handle(self, result: "Result", changed: "State | None") -> None:
        """Let a fault end the keeper, not the daemon."""
        if self._keeper is None:
            return
        try:
            self._keeper.handle(result, changed)
        except Exception as error:
            log.exception("the keeping of pictures died of a fault")
            self._keeper = None
            if self._on_death is not None:
                self._on_death(error)

    @property
    def status(self) -> "KeepStatus | None":
        """How it is; None if no pictures are kept."""
        keeper = self._keeper
        return None if keeper is None else keeper.status
