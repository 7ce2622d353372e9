from .data.dataset import Dataset, from_arrays, load_dataset
from .errors import BrokenArchitecture, UserError
from .estimators.estimator import Estimator
from .pipeline import RunOptions, run
from .proxies.importing import import_proxy
from .proxies.methods import condense
from .proxies.proxy_set import ProxySet
from .proxies.quality import evaluate
from .report.calibration import Calibration, calibrate
from .report.report import Report, correlate
from .report.sources import Reading
from .searches.result import SearchResult
from .searches.sampler import ProxySampler
from .searches.search import search
from .spaces.space import Architecture, Space, copy_space, load_space
from .studies.rank import rank
from .training.predicting import Prediction
from .training.recipe import Recipe
from .training.saved import describe_network, load_network, save_network
from .training.trained import TrainedNetwork

__all__ = [
    "Architecture",
    "BrokenArchitecture",
    "Calibration",
    "Dataset",
    "Estimator",
    "Prediction",
    "ProxySampler",
    "ProxySet",
    "Reading",
    "Recipe",
    "Report",
    "RunOptions",
    "SearchResult",
    "Space",
    "TrainedNetwork",
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
    "search",
]
