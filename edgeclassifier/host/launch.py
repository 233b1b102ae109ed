"""Runs a module of this package as a program: python -P launch.py MODULE [ARGUMENT ...].

`python -m MODULE` would look into the current folder first, and run whatever has the name there.
"""

import sys
from pathlib import Path


def command(module: str, *, python: str = sys.executable) -> list[str]:
    """Return the command that runs `module`; its arguments follow."""
    return [python, "-P", __file__, module]


def _run() -> None:
    import runpy

    # For a package that is not installed. Once it is imported, it finds its modules by itself, and
    # what lies beside it hides nothing.
    sys.path.insert(0, str(Path(__file__).parents[2]))
    import edgeclassifier  # noqa: F401

    del sys.path[0], sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _run()
