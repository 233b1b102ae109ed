"""Builds the parts from the configuration. Only this package knows both."""
