"""The engines: the contract that all of them keep, and one folder each."""

DEFAULT_ENGINE = "puppet"
"""The engine where none is asked for: it needs no download and no GPU."""
