"""Everything that attackers do to a running daemon, with figures: `python -m attack`."""
