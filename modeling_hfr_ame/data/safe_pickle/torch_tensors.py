"""Builds numpy arrays from the storages, shapes and strides of pickled torch tensors.

bfloat16, which numpy lacks, becomes float32, which holds every one of its values. `requires_grad` is dropped.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modeling_hfr_ame.data.safe_pickle.arrays import check_shape, check_values
from modeling_hfr_ame.data.safe_pickle.names import Name
from modeling_hfr_ame.data.safe_pickle.refusal import Budget, PickleError, malformed
from modeling_hfr_ame.data.safe_pickle.spans import Span

if TYPE_CHECKING:
    from modeling_hfr_ame.data.safe_pickle.machine import Machine


@dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """The memory behind tensors. Never part of a result.

    Attributes:
        code: Element type as a numpy code, or `bfloat16`.
        content: The bytes; None while an archive is read for the first time and they haven't been found.
        byte_order: `<` or `>`.
    """

    code: str
    content: Span | None
    byte_order: str = "<"


def item_size(code: str) -> int:
    """Bytes per element of a storage."""
    return 2 if code == "bfloat16" else np.dtype(code).itemsize


def parse_storage_id(identifier: Any) -> tuple[str, str, int]:
    """Reads the persistent id of a storage.

    Args:
        identifier: ("storage", storage class, key, location, number of elements[, view]).

    Returns:
        Numpy code, key, and number of elements.
    """
    if type(identifier) is not tuple or len(identifier) not in (5, 6) or identifier[0] != "storage":
        raise malformed("has a torch storage of an unknown form")
    kind, key, _, count = identifier[1:5]
    if len(identifier) == 6 and identifier[5] is not None:
        raise PickleError("a torch storage has to be whole, and this one is a view of another")
    if type(kind) is not Name or kind.dtype is None or not kind.attribute.endswith("Storage"):
        raise malformed("has a torch storage without a class")
    if type(key) is not str or type(count) is not int or count < 0:
        raise malformed("has a torch storage without a key or a size")
    return kind.dtype, key, count


def build_tensor(machine: "Machine", args: tuple[Any, ...]) -> np.ndarray:
    """Stands for `_rebuild_tensor(storage, offset, size, stride)` and `_rebuild_tensor_v2(…, requires_grad, hooks)`."""
    if len(args) not in (4, 6, 7) or type(args[0]) is not Storage:
        raise malformed("rebuilds a torch tensor in an unknown way")
    if len(args) > 4:
        _check_extras(args[5:])
    return _view(args[0], args[0].code, args[1], args[2], args[3], machine.budget)


def build_tensor_of_dtype(machine: "Machine", args: tuple[Any, ...]) -> np.ndarray:
    """Stands for `_rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype[, metadata])`."""
    if len(args) not in (7, 8) or type(args[0]) is not Storage:
        raise malformed("rebuilds a torch tensor in an unknown way")
    _check_extras((args[5], *args[7:]))
    dtype = args[6]
    if type(dtype) is not Name or dtype.dtype is None or not dtype.attribute.startswith("uint"):
        raise malformed("rebuilds a torch tensor of an unknown dtype")
    return _view(args[0], dtype.dtype, args[1], args[2], args[3], machine.budget)


def build_parameter(machine: "Machine", args: tuple[Any, ...]) -> np.ndarray:
    """Stands for `_rebuild_parameter(tensor, requires_grad, hooks)`."""
    if len(args) != 3 or type(args[0]) is not np.ndarray:
        raise malformed("rebuilds a torch parameter in an unknown way")
    _check_extras(args[2:])
    return args[0]


def _check_extras(extras: tuple[Any, ...]) -> None:
    # Backward hooks are functions; metadata says that the values are to be conjugated or negated.
    for extra in extras:
        if extra is not None and (type(extra) is not dict or extra):
            raise PickleError("a torch tensor has values only, and this one has hooks or metadata")


def _view(storage: Storage, code: str, offset: Any, size: Any, stride: Any, budget: Budget) -> np.ndarray:
    """Views a storage as an array, with offset and strides in elements, within the storage's bytes."""
    check_shape(size)
    check_shape(stride)
    if len(size) != len(stride) or type(offset) is not int or offset < 0:
        raise malformed("has a torch tensor whose strides don't fit its shape")
    if storage.content is None:
        return np.empty(0)
    width, content = item_size(code), storage.content
    count = math.prod(size)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True)) if count else 0
    if count and (last + 1) * width > len(content):
        raise malformed(f"has a torch tensor that ends at element {last} of a storage of {len(content)} bytes")
    # A stride of 0 repeats values, so that a few bytes can pass for terabytes.
    budget.charge(count * width)
    dtype = np.dtype(storage.byte_order + ("u2" if code == "bfloat16" else code))
    if not count:
        array: np.ndarray = np.ndarray(size, dtype, b"")
    else:
        steps = tuple(step * width for step in stride)
        array = np.ndarray(size, dtype, content.source, content.start + offset * width, steps)
    if code == "bfloat16":
        budget.charge(4 * count)
        array = (array.astype("<u4") << 16).view("<f4")
    if code == "b1":
        check_values(array, budget)
    array.setflags(write=False)
    return array
