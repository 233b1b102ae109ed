"""The virtual Pi: a Debian machine with a camera, emulated, for tests of the whole deployment.

Run with `PYTHONPATH=tests python -m system …`; plain pytest does not collect it.
"""
