"""What the tests of metrics, alerts and dashboard share; real.py is the long one of them."""
