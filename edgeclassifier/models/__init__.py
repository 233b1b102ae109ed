"""Models: which ones are known, where they are installed, how they are fetched and read."""
