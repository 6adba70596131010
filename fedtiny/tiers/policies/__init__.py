"""Ways to share a model out among unequal devices, one file each, and the table of them."""

from fedtiny.tiers.config import PolicyName, TiersConfig
from fedtiny.tiers.policies.density_only import DensityOnly
from fedtiny.tiers.policies.exclude import Exclude
from fedtiny.tiers.policies.fedrolex import FedRolex
from fedtiny.tiers.policies.fiarse import Fiarse
from fedtiny.tiers.policies.heterofl import HeteroFl
from fedtiny.tiers.policies.nested import Nested
from fedtiny.tiers.policies.shapes import Shapes
from fedtiny.tiers.policies.weakest import Weakest
from fedtiny.tiers.policy import Policy

POLICIES: dict[str, type[Policy]] = {
    one.name: one
    for one in (Nested, Shapes, Weakest, Exclude, DensityOnly, HeteroFl, FedRolex, Fiarse)
}
"""By ``tiers.policy``, in the order of tables."""


def policy_of(config: TiersConfig, density: float) -> Policy | None:
    """The one that a run's ``[tiers]`` section names; None if all devices train all of the model.

    >>> list(policy_of(TiersConfig(policy=PolicyName.HETEROFL, widths=(1.0, 0.5)), 0.1).ladder())
    [[Tier(width=1.0, density=1.0)], [Tier(width=0.5, density=0.1)]]
    >>> policy_of(TiersConfig(), 0.1)
    """
    return POLICIES[config.policy](config, density) if config.is_on else None


__all__ = ["POLICIES", "PolicyName", "policy_of"]
