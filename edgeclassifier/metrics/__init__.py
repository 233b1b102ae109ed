"""Counts results, and renders metrics and probes for monitoring."""
