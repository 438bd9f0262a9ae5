"""The version of this installation, as the wheel says."""

from importlib.metadata import version

__version__ = version("legato")
