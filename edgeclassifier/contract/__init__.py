"""What is said and passed on: frames, results, states, messages, commands. Plain data."""
