"""Holds that a result is a finite tree of plain values, before anybody else walks over it."""

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from modeling_hfr_ame.data.safe_pickle.refusal import PickleError, malformed

_LEAVES = frozenset({str, bytes, int, float, complex, bool, type(None)})
_CONTAINERS = frozenset({list, tuple, dict, set, frozenset, np.ndarray})


def _containers_in(container: Any) -> Collection[Any]:
    """Gives what has to be looked into, after every item's type has been looked at."""
    if type(container) is dict:
        items: Collection[Any] = [*container, *container.values()]
    elif type(container) is np.ndarray:
        items = container.ravel().tolist()
    else:
        items = container
    # The set of types is built in C, and most containers hold leaves of one or two types.
    kinds = set(map(type, items))
    kinds -= _LEAVES
    if not kinds:
        return ()
    for kind in kinds - _CONTAINERS:
        if not issubclass(kind, np.generic):
            raise malformed(f"leaves a {kind.__name__} in its result")
    return [
        item for item in items if type(item) in _CONTAINERS and (type(item) is not np.ndarray or item.dtype.hasobject)
    ]


def _too_deep(max_depth: int) -> PickleError:
    return PickleError(
        f"values are nested at most {max_depth} levels deep, and these are nested deeper",
        "if the file is sound, raise PickleLimits.max_depth",
    )


def check_tree(root: Any, max_depth: int) -> None:
    """Looks at everything that can be reached from a value.

    Args:
        root: The value.
        max_depth: Levels of containers, along the longest path.

    Raises:
        PickleError: Something is no plain value, a container holds itself, or the nesting is too deep.
    """
    # Levels from each finished container down. The result keeps every container alive, so that an identity stands for
    # one object.
    levels: dict[int, int] = {}
    open_ids: set[int] = set()
    # Each frame: identity of a container, what is left to look at in it, levels below it so far.
    frames: list[tuple[int, Iterator[Any], list[int]]] = [(0, iter(_containers_in((root,))), [0])]
    while frames:
        own_id, rest, below = frames[-1]
        for child in rest:
            child_id = id(child)
            if child_id in open_ids:
                raise malformed("has a container that holds itself")
            if child_id not in levels:
                inner = _containers_in(child)
                if inner:
                    if len(frames) >= max_depth:
                        raise _too_deep(max_depth)
                    open_ids.add(child_id)
                    frames.append((child_id, iter(inner), [0]))
                    break
                levels[child_id] = 1
            below[0] = max(below[0], levels[child_id])
            if len(frames) - 1 + below[0] > max_depth:
                raise _too_deep(max_depth)
        else:
            frames.pop()
            open_ids.discard(own_id)
            levels[own_id] = below[0] + 1
            if frames:
                above = frames[-1][2]
                above[0] = max(above[0], below[0] + 1)
