"""Measures the daemon against its own interpreter: ratios taken in one run, never promises."""
