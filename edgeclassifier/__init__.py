"""Image classification daemon for Raspberry Pi: camera in, top-3 predictions out over MQTT."""

__version__ = "0.1.0"
