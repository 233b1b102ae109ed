"""What the device listens to, and who answers."""

from edgeclassifier.config import Config
from edgeclassifier.config.schema import CommandsConfig
from edgeclassifier.contract.payloads import Topics
from edgeclassifier.daemon.requests import RequestHandler


def request_handler(config: CommandsConfig, topics: Topics) -> RequestHandler:
    """Build the handler of requests, not yet started."""
    return RequestHandler(base=topics.base, allow=config.allow, max_rate_hz=config.max_rate_hz)


def subscriptions(config: Config, topics: Topics) -> tuple[str, ...]:
    """Name the topics that the session subscribes to."""
    wanted = [topics.requests] if config.commands.allow else []
    if config.homeassistant.enabled:
        from edgeclassifier.homeassistant.announcer import birth_topic

        wanted.append(birth_topic(config.homeassistant.prefix))
    return tuple(wanted)
