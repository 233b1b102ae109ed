"""Which pictures are held back together: those of one moment, so that none is known by another."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_MOMENT_S = 10.0
"""A picture taken that soon after another one shows nothing new."""
_ALIKE = 2.0
"""Mean difference of the thumbnails of near-duplicates, in levels of brightness."""
FOLDS = 10
"""And the number of pictures in a class below which they are held back one by one."""
_MOST_SINGLE = 100
_CHUNK = 256

Ids = NDArray[np.intp]


def near_duplicates(thumbnails: NDArray[np.float32], classes: Ids) -> list[tuple[int, int]]:
    """Return pairs of pictures of one class that look nearly the same: each with an earlier one."""
    found = []
    for class_id in np.unique(classes):
        members = np.flatnonzero(classes == class_id)
        small = thumbnails[members]
        for at in range(1, len(members)):
            # The nearest in a list sorted by name are those of a burst.
            earlier = small[max(0, at - _CHUNK) : at]
            differences = np.abs(earlier - small[at]).mean(axis=1)
            nearest = int(differences.argmin())
            if differences[nearest] < _ALIKE:
                found.append((int(members[max(0, at - _CHUNK) + nearest]), int(members[at])))
    return found


def group(
    classes: Ids, times: Sequence[tuple[float, bool]], alike: Sequence[tuple[int, int]]
) -> tuple[Ids, list[int]]:
    """Return the moment of each picture, and the classes whose pictures are all of one moment.

    Times and likeness count if they tell the pictures of a class apart: files that were copied
    together say nothing, nor does a scene in which nothing moves.
    """
    moments = np.arange(len(classes), dtype=np.intp)
    single = []
    for class_id in np.unique(classes):
        members = [int(each) for each in np.flatnonzero(classes == class_id)]
        for from_exif in (True, False):
            chosen = [each for each in members if times[each][1] == from_exif]
            chosen.sort(key=lambda each: times[each][0])
            near = [
                (one, other)
                for one, other in pairwise(chosen)
                if times[other][0] - times[one][0] <= _MOMENT_S
            ]
            if _join(moments, chosen, near) or not from_exif or len(chosen) < len(members):
                continue
            if len(members) > 1:
                single.append(int(class_id))
        inside = set(members)
        _join(moments, members, [pair for pair in alike if pair[0] in inside])
    return moments, single


def _join(moments: Ids, members: Sequence[int], pairs: Sequence[tuple[int, int]]) -> bool:
    """Give pairs one moment, unless that makes more than half of the members one."""
    joined = moments.copy()
    for one, other in pairs:
        joined[joined == joined[other]] = joined[one]
    counts = np.unique(joined[list(members)], return_counts=True)[1] if members else np.ones(1)
    if len(members) > 1 and 2 * counts.max() > len(members):
        return False
    moments[:] = joined
    return True


def assign_folds(classes: Ids, moments: Ids) -> Ids:
    """Return the fold in which each picture is held back, stratified by class.

    It is the only one of its fold if a class has fewer than FOLDS moments, and they are not too
    many in all. -1: never held back, because its class has no other moment.
    """
    folds = np.full(len(classes), -1, np.intp)
    order = np.random.default_rng(0)
    by_class = {int(each): np.unique(moments[classes == each]) for each in np.unique(classes)}
    few = any(len(each) < FOLDS for each in by_class.values())
    one_by_one = few and sum(map(len, by_class.values())) <= _MOST_SINGLE
    first = 0
    for class_id, own in by_class.items():
        if len(own) == 1:
            continue
        for place, moment in enumerate(order.permutation(own)):
            fold = first + place if one_by_one else place % FOLDS
            folds[(moments == moment) & (classes == class_id)] = fold
        if one_by_one:
            first += len(own)
    return folds
