"""Finds out what keeps a device from working, and says what to do about it."""
