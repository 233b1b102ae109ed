"""Time zones by name, as far as this machine has them."""

import difflib
from datetime import UTC, tzinfo


def zone(name: str) -> tzinfo | None:
    """Return the time zone of that name, such as "Europe/Zurich"; None if it is not known here."""
    if name == "UTC":
        return UTC  # needs no data
    import zoneinfo

    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None  # a folder of zones, such as "Europe", is an OSError


def zone_problem(name: str) -> str:
    """Say what would be expected in place of a name that zone() does not know."""
    import zoneinfo

    known = zoneinfo.available_timezones()
    if not known:
        return (
            'no time zone but "UTC" or "", because this machine has no data of time zones: '
            "install them with `apt install tzdata`"
        )
    close = difflib.get_close_matches(name, known, n=1)
    hint = f": did you mean {close[0]}?" if close else ""
    return f'the name of a time zone, such as "Europe/Berlin"{hint}'
