"""``python -m nasproxy`` is the command ``nasproxy``."""

from nasproxy.cli import program

program()
