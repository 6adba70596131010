"""What a label in a file means, and what classes may be called."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedtiny.data.errors import DataError, bad_file
from fedtiny.errors import FedTinyError
from fedtiny.escaping.free_text import check_free_text

MAX_CLASSES = 65_536
"""More than any model here has outputs for; labels beyond it are ids of something else."""

_LISTED = 40  # labels in a message

Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LabelMap:
    """From the labels in a file to classes 0, 1, …; without arguments they are the same.

    Attributes:
        offset: the label of class 0, where labels go up by one from another number.
        values: the label of every class, in the order of classes; empty: by ``offset``.

    >>> LabelMap(offset=1).classes(Path("a.npz"), "y", np.array([1, 3])).tolist()
    [0, 2]
    >>> LabelMap(values=(4, 7)).classes(Path("a.npz"), "y", np.array([7, 4])).tolist()
    [1, 0]
    """

    offset: int = 0
    values: tuple[int, ...] = ()

    def classes(self, path: Path, name: str, labels: Labels) -> Labels:
        """The class of each label.

        Args:
            path: of the file, for the message.
            name: of the array in it, for the message.
            labels: (N,) as in the file.

        Raises:
            DataError: a label is none of the map's.
        """
        if not self.values:
            # Beyond 2⁵³ a difference could overflow; no class is there either.
            far = np.flatnonzero((labels < -(2**53)) | (labels > 2**53))
            if len(far):
                raise bad_file(path, f"{name} has label {labels[far[0]]} in row {far[0]}: no class")
            return labels - self.offset
        values = np.array(self.values, np.int64)
        order = np.argsort(values)
        at = order[np.minimum(np.searchsorted(values, labels, sorter=order), len(values) - 1)]
        unknown = np.flatnonzero(values[at] != labels)
        if len(unknown):
            row = unknown[0]
            raise bad_file(
                path, f"{name} has label {labels[row]} in row {row}, which data.label_map lacks"
            )
        return at

    def names(self, path: Path, name: str, classes: Labels) -> tuple[str, ...]:
        """Classes by the labels that files have for them.

        Raises:
            DataError: a class lies beyond :data:`MAX_CLASSES`.
        """
        if self.values:
            return tuple(map(str, self.values))
        top = int(classes.max(initial=-1))
        if top >= MAX_CLASSES:
            raise bad_file(
                path,
                f"{name} has label {top + self.offset}, but there are at most {MAX_CLASSES:,} "
                "classes: name the labels in data.label_map, in the order of classes",
            )
        return tuple(str(k + self.offset) for k in range(top + 1))

    def label_of(self, k: int) -> int:
        """The label of a class."""
        return self.values[k] if self.values else k + self.offset


def check_range(path: Path, name: str, classes: Labels, count: int, labels: LabelMap) -> None:
    """See that every class is one of ``count``.

    Raises:
        DataError: one is not; names its row and, if need be, the setting.
    """
    wrong = np.flatnonzero((classes < 0) | (classes >= count))
    if not len(wrong):
        return
    row, label = wrong[0], labels.label_of(int(classes[wrong[0]]))
    hint = ""
    if (classes < 0).any():
        lowest = labels.label_of(int(classes.min()))
        hint = f"; the lowest label is {lowest}: set data.label_offset = {lowest}"
    raise bad_file(
        path, f"{name} has label {label} in row {row}, but there are {count} classes{hint}"
    )


def check_all_occur(path: Path, classes: Labels, names: Sequence[str], labels: LabelMap) -> None:
    """See that samples have every class: a model learns nothing of one without any.

    Raises:
        DataError: some have none; names them, the labels that do occur, and how to map these.

    >>> check_all_occur(Path("a.npz"), np.array([1, 3, 3]), ("0", "1", "2", "3"), LabelMap())
    Traceback (most recent call last):
    ...
    fedtiny.data.errors.DataError: a.npz: no sample has the label 0, 2, of 4 classes. Labels that
    occur: 1, 3. Say which label is which class: data.label_map = [1, 3]
    """
    found = np.unique(classes)
    lacking = sorted(set(range(len(names))) - set(found.tolist()))
    if not lacking:
        return
    there = [labels.label_of(int(k)) for k in found]
    absent = ", ".join(
        str(labels.label_of(k)) + ("" if names[k] == str(labels.label_of(k)) else f" ({names[k]})")
        for k in lacking[:_LISTED]
    )
    raise bad_file(
        path,
        f"no sample has the label {absent}{_more(lacking)}, of {len(names)} classes. Labels that "
        f"occur: {_list(there)}. Say which label is which class: {_fix(there)}",
    )


def _fix(there: list[int]) -> str:
    """The setting that makes these labels classes 0, 1, …"""
    fix = f"data.label_map = [{_list(there)}]"
    if there and there == list(range(there[0], there[0] + len(there))) and there[0] != 0:
        return f"data.label_offset = {there[0]}, or {fix}"
    if there == list(range(len(there))):
        return fix + ", and remove the other names"
    return fix


def _list(values: list[int]) -> str:
    return ", ".join(map(str, values[:_LISTED])) + _more(values)


def _more(values: list[int]) -> str:
    return f", … ({len(values)} in all)" if len(values) > _LISTED else ""


@cache
def check_names(names: tuple[str, ...]) -> None:
    """See that classes can be told apart, and shown as written.

    Raises:
        DataError: two have one name, or a name is no free text.

    >>> check_names(("walk", "run", "walk"))
    Traceback (most recent call last):
    ...
    fedtiny.data.errors.DataError: classes 0 and 2 are both called 'walk': give each its own name
    in data.label_names
    """
    for k, name in enumerate(names):
        try:
            check_free_text(f"the name of class {k}", name)
        except FedTinyError as error:
            raise DataError(str(error)) from error
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        one, other, *_ = (k for k, name in enumerate(names) if name == twice[0])
        raise DataError(
            f"classes {one} and {other} are both called {twice[0]!r}: give each its own name in "
            "data.label_names"
        )
