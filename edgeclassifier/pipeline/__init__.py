"""Frames from the camera to results, each stage in a thread of its own."""
