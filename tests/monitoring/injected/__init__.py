"""Put on PYTHONPATH, this folder gives a daemon of the tests another device to run on."""
