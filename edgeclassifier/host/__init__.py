"""What the machine offers: processes, threads, durable files, secrets, signals, clocks, log."""
