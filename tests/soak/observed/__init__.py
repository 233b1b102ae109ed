"""What is on the daemon's PYTHONPATH."""
