"""The commands. Nothing is imported for them before one of them is called."""

from nasproxy.cli.options import Command

_IN_FILE = {"storage": "sqlite:///nasproxy.db"}  # without a storage all would be forgotten
_RANKINGS = {"rankings": "study"}
COMMANDS = {
    "search": Command(
        "Find the best architecture for a budget of full trainings.",
        "nasproxy.searches.search:search",
    ),
    "run": Command(
        "Condense a data set, rank architectures on it, and say how far to trust the ranking.",
        "nasproxy.pipeline:run",
    ),
    "condense": Command(
        "Make a proxy set, and a picture of it.",
        "nasproxy.proxies.methods:condense",
        "nasproxy.cli.handlers.proxy_sets:on_condense",
        {"data": "digits"},
        without=("checkpoint",),
        by_choice="nasproxy.proxies.methods:OPTIONS",
    ),
    "import": Command(
        "Take a proxy set that another program made.",
        "nasproxy.proxies.importing:import_proxy",
        "nasproxy.cli.handlers.proxy_sets:on_import",
        {"data": "cifar10"},
        positional=("path",),
    ),
    "evaluate": Command(
        "Train ConvNets on a proxy set and on as many random real images, and test both.",
        "nasproxy.proxies.quality:evaluate",
        "nasproxy.cli.handlers.proxy_sets:on_evaluate",
        {"data": "digits"},
        positional=("proxy",),
    ),
    "rank": Command(
        "Score architectures; the study that keeps them is the ranking.",
        "nasproxy.studies.rank:rank",
        "nasproxy.cli.handlers.rankings:on_rank",
        {"space": "convnet_small", "data": "digits", **_IN_FILE},
        without=("recipe", "workers"),  # `by` has a recipe's options
    ),
    "correlate": Command(
        "Correlate rankings with the study named as truth.",
        "nasproxy.report.report:correlate",
        "nasproxy.cli.handlers.rankings:on_correlate",
        _IN_FILE,
        _RANKINGS,
    ),
    "calibrate": Command(
        "Rank all architectures by cheap rankings, calibrated by the full trainings of a few.",
        "nasproxy.report.calibration:calibrate",
        "nasproxy.cli.handlers.rankings:on_calibrate",
        _IN_FILE,
        _RANKINGS,
    ),
    "predict": Command(
        "Name the classes of pictures, with a trained network.",
        handler="nasproxy.cli.handlers.networks:on_predict",
        positional=("network", "images"),
    ),
    "export": Command(
        "Write a trained network as ONNX, TorchScript or torch.export's, its normalisation inside.",
        "nasproxy.training.exporting:export_network",
        positional=("network",),
    ),
    "studies": Command(
        "List the studies of a storage, show one, rename one or delete some.",
        handler="nasproxy.cli.handlers.studies:on_studies",
        positional=("action", "names"),
    ),
    "dashboard": Command(
        "Look into studies in a browser, with optuna-dashboard.",
        "nasproxy.studies.dashboard:serve",
        "nasproxy.cli.handlers.studies:on_dashboard",
        {"url": _IN_FILE["storage"]},
        {"url": "storage"},
    ),
    "list": Command(
        "Name what can be chosen from.",
        handler="nasproxy.cli.handlers.listings:on_list",
        positional=("what",),
    ),
    "copy": Command(
        "Copy a search space's file, to be edited and used as your own.",
        "nasproxy.spaces.space:copy_space",
        "nasproxy.cli.handlers.listings:on_copy",
        names={"name": "space"},
        positional=("name", "path"),
    ),
}
