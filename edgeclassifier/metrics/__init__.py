"""Numbers for those who look after many devices: counted, rendered, written, judged."""
