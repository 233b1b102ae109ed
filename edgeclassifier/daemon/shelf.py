"""What may be asked of the kept pictures, by MQTT and on the page."""

import threading
import time
from collections.abc import Mapping
from typing import Any

from edgeclassifier.contract.kept import Wanted
from edgeclassifier.errors import RequestError
from edgeclassifier.host.rates import TokenBucket
from edgeclassifier.keep.store import Store

_ROWS = 20
_MOST_FOLDERS = 20
"""An answer looks into so many folders of 500 pictures, and then says where to continue."""
_CHANGES_HZ = 0.05
_CHANGES = 500
"""A person labels hundreds at a time; a program must not wear out the card."""


class Shelf:
    """Answers from several threads. Each method raises EdgeclassifierError if it cannot."""

    def __init__(self, store: Store | None) -> None:
        """Take None if there is no folder."""
        self._found = store
        self._changes = TokenBucket(rate_hz=_CHANGES_HZ, burst=_CHANGES)
        self._counting = threading.Lock()

    def rows(
        self, *, wanted: Wanted, limit: int = _ROWS, before: str | None = None
    ) -> dict[str, Any]:
        """List pictures, the newest first."""
        page = self._store.page(
            wanted,
            limit=limit,
            before=None if before is None else int(before),
            most_folders=_MOST_FOLDERS,
        )
        rows = [picture.row() for picture in page.pictures]
        return {"pictures": rows, "before": page.before, "damaged": page.damaged}

    def label(self, number: str, label: str | None) -> Mapping[str, Any]:
        """Note what a picture shows; None takes that back."""
        self._count()
        return self._store.label(int(number), label).row()

    def throw_away(self, number: str) -> None:
        """Remove a picture."""
        self._count()
        self._store.throw_away(int(number))

    def jpeg(self, number: str) -> bytes:
        """Read a picture."""
        return self._store.jpeg(int(number))

    @property
    def _store(self) -> Store:
        if self._found is None:
            raise RequestError(
                "there is no folder for kept pictures: set keep.path or device.state_directory"
            )
        return self._found

    def _count(self) -> None:
        with self._counting:
            if not self._changes.allows(time.monotonic()):
                raise RequestError("too many changes of kept pictures: try again in a minute")
