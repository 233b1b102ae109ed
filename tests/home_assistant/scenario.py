"""What a person sees and does in Home Assistant, from the first start to the removal."""

from home_assistant.acting import (
    dies_and_comes_back,
    is_controlled,
    is_removed,
    outlives_home_assistant,
)
from home_assistant.showing import (
    appears,
    has_an_accelerator,
    has_problems,
    has_views,
    notifies_with_the_picture_of_the_event,
    shows_what_is_seen,
)
from home_assistant.world import World


def scenario(world: World) -> None:
    """Go through all of it. What is not as expected is in `world.checks`."""
    appears(world)
    shows_what_is_seen(world)
    notifies_with_the_picture_of_the_event(world)
    has_problems(world)
    is_controlled(world)
    dies_and_comes_back(world)
    outlives_home_assistant(world)
    has_views(world)
    has_an_accelerator(world)
    is_removed(world)
    world.checks.section("Home Assistant's log")
    world.checks.equal("warnings and errors", world.ha.trouble, [], timeout_s=0)
