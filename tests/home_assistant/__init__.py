"""The daemon, a broker and Home Assistant itself: `PYTHONPATH=tests python -m home_assistant`."""
