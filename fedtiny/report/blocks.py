"""Generated parts of hand-written files, between two marker lines."""

from fedtiny.errors import FedTinyError


def replace_block(text: str, begin: str, end: str, block: str) -> str:
    """``text`` with what stands between the markers replaced by ``block``.

    Raises:
        FedTinyError: a marker is missing.

    >>> replace_block("a <!-- b --> old <!-- /b --> z", "<!-- b -->", "<!-- /b -->", "new")
    'a <!-- b -->\\nnew\\n<!-- /b --> z'
    """
    head, found_begin, rest = text.partition(begin)
    _, found_end, tail = rest.partition(end)
    if not found_begin or not found_end:
        raise FedTinyError(f"the file needs the lines {begin} and {end} around what is generated")
    return f"{head}{begin}\n{block}\n{end}{tail}"
