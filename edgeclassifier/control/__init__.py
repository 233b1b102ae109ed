"""What may be asked of the running daemon, whoever asks."""
