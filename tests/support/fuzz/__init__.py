"""Hostile input: what is fed with it, and how it is made.

pytest runs it in tests/faults/test_fuzz.py, and by hand it is `PYTHONPATH=.:tests python -m` with
`fuzz.at_random TARGET`, `fuzz.guided TARGET` (by coverage, with atheris) or `fuzz.interpreters`.
"""
