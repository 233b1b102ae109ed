"""Views: what each may say of its own, and the whole configuration as it is for one of them."""

from collections.abc import Iterator, Mapping
from dataclasses import field, fields, replace
from typing import TYPE_CHECKING, Any

from edgeclassifier.config.options import (
    VIEWS,
    above,
    at_least,
    between,
    each_number,
    matching,
    model_file,
    option,
    view_region,
)
from edgeclassifier.contract.plain import Plain, plain_data

if TYPE_CHECKING:
    from edgeclassifier.config.schema import Config, StateConfig

_RESERVED = ("request", "response")
"""Levels of the device's topics below which something else is said."""


@plain_data
class ViewStateConfig(Plain):
    """What of the section [state] is another one in a view."""

    leave_threshold: float | None = option(None, between(0, 1), applies=VIEWS)
    window_s: float | None = option(None, between(0, 3600), applies=VIEWS)
    hold_s: float | None = option(None, at_least(0), applies=VIEWS)
    heartbeat_s: float | None = option(None, above(0), applies=VIEWS)
    cool_down_s: float | None = option(None, at_least(0), applies=VIEWS)
    exclude: tuple[str, ...] | None = option(None, applies=VIEWS)
    thresholds: dict[str, float] | None = option(None, each_number(between(0, 1)), applies=VIEWS)


@plain_data
class ViewIdleConfig(Plain):
    """What of the section [idle] is another one in a view."""

    skip_unchanged: bool | None = option(None, applies=VIEWS)
    max_age_s: float | None = option(None, above(0), applies=VIEWS)
    min_area: float | None = option(None, between(0.001, 1), applies=VIEWS)


@plain_data
class ViewConfig(Plain):
    """What one question looks at. None: as the sections for all views have it."""

    region: tuple[float, ...] | None = option(None, view_region, applies=VIEWS)
    crop_fraction: float | None = option(None, between(0.05, 1), applies=VIEWS)
    model: str | None = option(
        None,
        matching(r"\S(.*\S)?", '"auto", a name, or a .tflite file'),
        path=model_file,
        applies=VIEWS,
    )
    labels: str | None = option(None, path=True, applies=VIEWS)
    threshold: float | None = option(None, between(0, 1), applies=VIEWS)
    max_rate_hz: float | None = option(None, at_least(0), applies=VIEWS)
    state: ViewStateConfig = field(default_factory=ViewStateConfig)
    idle: ViewIdleConfig = field(default_factory=ViewIdleConfig)


def views_of(config: "Config") -> dict[str, "Config"]:
    """Return the configuration as it is for each view, by the view's id; at least one.

    The only view of a configuration without [views] has the id "": it is called as the camera is.
    """
    if not config.views:
        return {"": config}
    return {name: _for_view(config, view) for name, view in config.views.items()}


def with_model(config: "Config", name: str, labels: str = "") -> "Config":
    """Return the configuration with another model."""
    # What the files say of their model is not true of another one.
    model = replace(config.model, name=name, labels=labels, mean=(), std=(), output="auto")
    return replace(config, model=model, accelerator=replace(config.accelerator, model=""))


def view_problems(config: "Config") -> Iterator[str]:
    """Say what is wrong with the views beyond their single keys."""
    known: dict[str, str] = {}
    for name in config.views:
        other = known.setdefault(name.lower(), name)
        if other != name:
            yield (
                f"views.{other} and views.{name} differ in capital letters only, which Home "
                "Assistant and others do not tell apart: rename one"
            )
        if name in _RESERVED:
            yield f"views.{name}: the device's topics have this level already: rename the view"
    if config.views:
        deadline_s = config.camera.deadline_s
        rates_hz = [view.max_rate_hz or 0.0 for view in config.views.values()]
        # Answers are what shows that the daemon works.
        if all(rate_hz and 1 / rate_hz >= deadline_s for rate_hz in rates_hz):
            yield (
                f"views: one of them needs a max_rate_hz above {1 / deadline_s:g}, so that an "
                f"answer comes within camera.deadline_s ({deadline_s:g})"
            )
        for name, own in views_of(config).items():
            low, high = own.state.leave_threshold, own.state.threshold
            if low > high:
                yield (
                    f"views.{name}: leave_threshold ({low:g}) is greater than threshold "
                    f"({high:g}) in this view"
                )


def _for_view(config: "Config", view: ViewConfig) -> "Config":
    preprocess = config.preprocess
    if view.region is not None:
        preprocess = replace(preprocess, region=view.region)
    elif view.crop_fraction is not None:
        preprocess = replace(preprocess, region=())
    preprocess = replace(preprocess, **_given(view, "crop_fraction"))
    mqtt = replace(config.mqtt, **_given(view, "max_rate_hz"))
    if view.model is not None and view.model != config.model.name:
        config = with_model(config, view.model, view.labels or "")
        # The accelerator has the model of the section [model].
        config = replace(config, accelerator=replace(config.accelerator, delegate="none"))
    elif view.labels is not None:
        config = replace(config, model=replace(config.model, labels=view.labels))
    return replace(
        config,
        preprocess=preprocess,
        mqtt=mqtt,
        state=_state(config.state, view),
        idle=replace(config.idle, **_given(view.idle)),
        views={},
    )


def _state(state: "StateConfig", view: ViewConfig) -> "StateConfig":
    return replace(state, **_given(view.state), **_given(view, "threshold"))


def _given(table: Any, *names: str) -> Mapping[str, Any]:
    """Return those of the keys that are set, of all or of some."""
    keys = names or tuple(each.name for each in fields(table))
    return {key: value for key in keys if (value := getattr(table, key)) is not None}
