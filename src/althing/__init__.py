"""Althing: a Blockchain of Things. See ARCHITECTURE.md for the order in which to read the packages."""

__version__ = "0.1.0"
