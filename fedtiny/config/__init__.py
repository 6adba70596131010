"""One frozen, typed tree describes a run."""

from fedtiny.config.run import RunConfig, dump, load, parse

__all__ = ["RunConfig", "dump", "load", "parse"]
