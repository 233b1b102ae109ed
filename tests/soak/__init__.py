"""The whole daemon at full speed, with faults, for as long as wanted: `python -m soak`."""
