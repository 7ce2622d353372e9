"""nasproxy: rank neural architectures on a condensed data set, and know how far to trust it."""

import lazy_loader

# What is public stands in __init__.pyi; torch is imported by who uses what needs it.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
