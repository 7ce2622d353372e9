"""The options of data, which many commands have."""

from typing import Any

from nasproxy.cli.options import of_data
from nasproxy.data.dataset import load_dataset

Given = dict[str, Any]  # arguments of the function that a command calls


def loaded(given: Given) -> Given:
    """The same with the data set for its name, as the options of data say."""
    how = {option.parameter: given.pop(option.parameter) for option in of_data()}
    return {**given, "data": load_dataset(given["data"], **how)}
