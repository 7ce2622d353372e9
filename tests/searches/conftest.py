"""A made-up table that searches are replayed on."""

import numpy as np
import pytest

import nasproxy
from nasproxy.searches.pool import draw_pool

CELLS, DISTINCT = 60, 57  # some compute the same


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A made-up truth of some cells, a score that tells it, one that lies, and one of noise."""
    space = nasproxy.load_space("nasbench201")
    pool = draw_pool(space, (3, 32, 32), 10, CELLS, 0)
    generator = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("table") / "cells.csv"
    lines = ["arch,truth,good,lies,noise,cost"]
    for architecture in pool.architectures:
        truth = 90 + architecture.key.count("conv_3x3") - 2 * architecture.key.count("none")
        truth += 0.5 * generator.normal()
        good, noise = truth + generator.normal(), generator.normal()
        cost = 1 + 9 * architecture.key.count("conv")
        lines.append(f"{architecture.key},{truth},{good},{-good},{noise},{cost}")
    path.write_text("\n".join(lines) + "\n")
    return str(path)
