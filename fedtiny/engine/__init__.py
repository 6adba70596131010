"""The sparse training engine: compiled kernels, static training plans, an executor on numpy arrays.

Needs numpy only. Where the package was installed without a C++ compiler, :func:`available` is
False and :func:`unavailable_reason` says what to do.
"""

from fedtiny.engine.executor import Executor
from fedtiny.engine.library import EngineError, available, unavailable_reason
from fedtiny.engine.options import EngineOptions
from fedtiny.engine.plan import Plan, plan

__all__ = [
    "EngineError",
    "EngineOptions",
    "Executor",
    "Plan",
    "available",
    "plan",
    "unavailable_reason",
]
