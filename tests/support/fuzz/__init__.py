"""Hostile input: what is fed with it, and how it is made.

pytest runs it in tests/faults/test_fuzz.py, and by hand it is `PYTHONPATH=.:tests python -m` with
`support.fuzz.at_random TARGET`, `support.fuzz.guided TARGET` (by coverage, with atheris) or
`support.fuzz.interpreters`.
"""
