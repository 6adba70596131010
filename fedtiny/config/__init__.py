"""One frozen, typed tree describes a run."""

from fedtiny.config.run import RunConfig, absolute, digest, dump, load, parse

__all__ = ["RunConfig", "absolute", "digest", "dump", "load", "parse"]
