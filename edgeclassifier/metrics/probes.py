"""Is it well, and is it of use? Two decisions, with their reasons for people."""

from dataclasses import dataclass

_PAUSED = "classifying is paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What the decisions are made from."""

    uptime_s: float
    answered_ago_s: float | None
    """Since the newest frame that was answered was captured; None before the first."""
    excused_ago_s: float | None
    """Since no frame was due: the camera was being recovered, or classifying was paused."""
    deadline_s: float
    """The longest time from one answered frame to the next."""
    start_deadline_s: float
    """The longest time from the start to the first."""
    paused: bool
    recovering: str | None
    """What is wrong with the camera that is being opened again; None where it is not."""
    connected: bool
    broker_problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A decision. `reasons` say why, or what is out of the ordinary although it is all right."""

    ok: bool
    reasons: tuple[str, ...] = ()


def health(signs: Signs) -> Verdict:
    """Decide whether the daemon gets on: what does not might have to be restarted.

    It does while frames are answered within the deadline, and where that cannot be: while it
    starts, while the camera is being recovered, which the daemon itself gives up in the end, and
    while somebody wants a pause.
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
    """Decide whether predictions come out: frames are answered, and the broker is there."""
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
