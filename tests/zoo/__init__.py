"""Runs every model of a folder, and compares with what is expected of it."""
