"""The running daemon: its loop, what it says of itself, and how it changes while it runs."""
