"""What a board may use to adapt."""

from fedtiny.config import RunConfig
from fedtiny.devices.fleet import profile_of
from fedtiny.devices.profile import DeviceProfile

SHARE = 0.75
"""Of all RAM, on boards that do not train: that which the catalogue gives a step on a board with
internal RAM only. Such a board learns its wearer alone: it has no update to send, and no next model
beside the one that it adapts."""


def budget_bytes(profile: DeviceProfile) -> int:
    """Bytes of one step: the board's training budget, or its RAM's share.

    >>> from fedtiny.devices.catalog import get
    >>> board = get("nrf52840")
    >>> board.trains, budget_bytes(board) == 192 * 1024
    (False, True)
    """
    return profile.training_budget_bytes or int(SHARE * profile.ram_bytes)


def budget_of(config: RunConfig, partition: int, board: str) -> int | None:
    """Bytes of one step on the device that holds ``partition``; None without a board.

    What the config says of the partition comes first, then its group in the fleet.
    """
    if not board:
        return None
    own = config.devices.budget_bytes.get(partition)
    return own or budget_bytes(profile_of(config, partition, board))
