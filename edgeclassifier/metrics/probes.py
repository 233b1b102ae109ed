"""Is the daemon healthy, and is it ready? Two decisions, with reasons for people."""

from dataclasses import dataclass

_PAUSED = "classifying is paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """Facts that the decisions are made from."""

    uptime_s: float
    answered_ago_s: float | None
    """Since the newest frame that was answered was captured; None before the first."""
    excused_ago_s: float | None
    """Since the last time at which no frame was due: camera recovery, or a pause."""
    deadline_s: float
    """The longest time from one answered frame to the next."""
    start_deadline_s: float
    """The longest time from the start to the first."""
    paused: bool
    recovering: str | None
    """What is wrong with the camera while it is being reopened; None if it is not."""
    connected: bool
    broker_problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A decision. `reasons` say why it is negative, or what is unusual if it is positive."""

    ok: bool
    reasons: tuple[str, ...] = ()


def health(signs: Signs) -> Verdict:
    """Decide whether the daemon is making progress; if not, it might have to be restarted.

    It is while frames are answered within the deadline, and while none can be: at the start, in a
    pause, and during camera recovery, which the daemon itself gives up in the end.
    """
    if signs.paused:
        return Verdict(ok=True, reasons=(_PAUSED,))
    if signs.recovering is not None:
        return Verdict(ok=True, reasons=(f"no frames: {signs.recovering}",))
    if signs.excused_ago_s is not None and signs.excused_ago_s <= signs.deadline_s:
        return Verdict(ok=True)
    if signs.answered_ago_s is None:
        if signs.uptime_s <= signs.start_deadline_s:
            return Verdict(ok=True, reasons=("starting: no frame was classified yet",))
        limit_s = f"{signs.start_deadline_s:g} s"
        return Verdict(
            ok=False, reasons=(f"no frame was classified within {limit_s} of the start",)
        )
    if signs.answered_ago_s <= signs.deadline_s:
        return Verdict(ok=True)
    return Verdict(ok=False, reasons=(_too_old(signs.answered_ago_s, signs.deadline_s),))


def readiness(signs: Signs) -> Verdict:
    """Decide whether predictions are published: frames are answered, the broker is connected."""
    missing = []
    if signs.paused:
        missing.append(_PAUSED)
    elif signs.recovering is not None:
        missing.append(f"no frames: {signs.recovering}")
    elif signs.answered_ago_s is None:
        missing.append("no frame was classified yet")
    elif signs.answered_ago_s > signs.deadline_s:
        missing.append(_too_old(signs.answered_ago_s, signs.deadline_s))
    if not signs.connected:
        because = f": {signs.broker_problem}" if signs.broker_problem else ""
        missing.append(f"not connected to the broker{because}")
    return Verdict(ok=not missing, reasons=tuple(missing))


def _too_old(age_s: float, limit_s: float) -> str:
    return f"the newest classified frame is {age_s:.1f} s old, more than {limit_s:g} s"
