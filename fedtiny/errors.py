"""The one base class of every error a user can cause; its message names the fix."""


class FedTinyError(Exception):
    """Something the user can put right.

    Commands print the message without a traceback and exit with status 2, so every message says
    what is wrong, where, and what to do about it.

    >>> from fedtiny.devices.catalog import get
    >>> try:
    ...     get("pico9")
    ... except FedTinyError as error:
    ...     print(str(error).split(";")[0])
    unknown board 'pico9'
    """
