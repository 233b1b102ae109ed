"""MQTT: what is said about a device and its cameras, and the session that delivers it."""
