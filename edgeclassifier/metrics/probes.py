"""Is it well, and is it of use? Two decisions, with their reasons for people."""

from dataclasses import dataclass


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
        return Verdict(ok=True, reasons=("classifying is paused",))
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
    age_s, limit_s = f"{signs.answered_ago_s:.1f} s", f"{signs.deadline_s:g} s"
    return Verdict(
        ok=False, reasons=(f"the newest classified frame is {age_s} old, more than {limit_s}",)
    )


def readiness(signs: Signs) -> Verdict:
    """Decide whether predictions come out: a frame was classified, and the broker is there."""
    missing = []
    if signs.answered_ago_s is None:
        missing.append("no frame was classified yet")
    if not signs.connected:
        because = f": {signs.broker_problem}" if signs.broker_problem else ""
        missing.append(f"not connected to the broker{because}")
    return Verdict(ok=not missing, reasons=tuple(missing))
