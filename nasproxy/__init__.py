"""nasproxy: rank neural architectures on a condensed data set, and know how far to trust it."""

from nasproxy.calibration import Calibration, calibrate
from nasproxy.comparison import Reading
from nasproxy.condense import condense
from nasproxy.data import Dataset, from_arrays, load_dataset
from nasproxy.errors import BrokenArchitecture, UserError
from nasproxy.evaluate import evaluate
from nasproxy.foreign import import_proxy
from nasproxy.network import describe_network, load_network, save_network
from nasproxy.proxy import ProxySet
from nasproxy.report import Report, correlate
from nasproxy.run import RunOptions, run
from nasproxy.spaces import Space, copy_space, load_space
from nasproxy.study import rank
from nasproxy.train import Recipe

__all__ = [
    "BrokenArchitecture",
    "Calibration",
    "Dataset",
    "ProxySet",
    "Reading",
    "Recipe",
    "Report",
    "RunOptions",
    "Space",
    "UserError",
    "calibrate",
    "condense",
    "copy_space",
    "correlate",
    "describe_network",
    "evaluate",
    "from_arrays",
    "import_proxy",
    "load_dataset",
    "load_network",
    "load_space",
    "rank",
    "run",
    "save_network",
]
