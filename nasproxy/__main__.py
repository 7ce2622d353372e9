"""``python -m nasproxy`` is the command ``nasproxy``."""

import sys

from nasproxy.cli import main

sys.exit(main())
