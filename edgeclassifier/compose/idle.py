"""What a still scene is."""

from edgeclassifier.config import Config
from edgeclassifier.pipeline.idle import IdleSettings


def idle_settings(config: Config) -> IdleSettings | None:
    """Take them from the configuration; None where every frame is to be classified."""
    if not config.idle.skip_unchanged:
        return None
    return IdleSettings(
        max_age_s=config.idle.max_age_s,
        min_area=config.idle.min_area,
        crop_fraction=config.preprocess.crop_fraction,
        region=config.preprocess.region,
    )
