"""The command line, made from the signatures and docstrings of the functions it calls."""

from nasproxy.cli.program import main, program

__all__ = ["main", "program"]
