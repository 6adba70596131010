"""One frozen, typed tree describes a run."""

from fedtiny.config.run import RunConfig, digest, dump, load, parse

__all__ = ["RunConfig", "digest", "dump", "load", "parse"]
