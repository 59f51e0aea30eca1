"""Builds numpy arrays and scalars from the states that pickles store.

Every array is read-only. A large one is a view of the file; a small one has its own bytes.
"""

import math
import re
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from modeling_hfr_ame.data.safe_pickle.refusal import Budget, PickleError, malformed
from modeling_hfr_ame.data.safe_pickle.spans import Span

if TYPE_CHECKING:
    from modeling_hfr_ame.data.safe_pickle.machine import Machine

MAX_DIMENSIONS = 32
# An array inside an array inside … is freed by recursion in C.
MAX_NESTED_ARRAYS = 16
_MAX_CODE_POINT = 0x10FFFF

_PLAIN_CODE = re.compile(r"b1|[iu][1248]|f[248]|c(?:8|16)")
_TEXT_CODE = re.compile(r"[SU][1-9][0-9]{0,8}")
_TIME_CODE = re.compile(r"[mM]8")
_OBJECT_CODE = re.compile(r"O[48]?")
_TIME_UNITS = frozenset({"Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as", "generic"})
_MAX_TIME_STEP = 2**31 - 1


class DtypeSpec:
    """A dtype that is known once its state has been read.

    Attributes:
        code: Kind and size, such as `f4`.
        dtype: None until the state has been read.
    """

    __slots__ = ("code", "dtype")

    def __init__(self, code: str) -> None:
        self.code = code
        self.dtype: np.dtype[Any] | None = None


class PendingArray:
    """An array whose content comes later in the pickle.

    Attributes:
        array: None until then.
    """

    __slots__ = ("array",)

    def __init__(self) -> None:
        self.array: np.ndarray | None = None


def _refused_dtype(found: str) -> PickleError:
    return PickleError(
        f"an array holds numbers, booleans, text, bytes, times or a list of plain values, and this one has {found}",
        "ask for an export with one plain array per column",
    )


def build_dtype(machine: "Machine", args: tuple[Any, ...]) -> DtypeSpec:
    """Stands for `numpy.dtype(code, align, copy)`."""
    if len(args) != 3 or type(args[0]) is not str:
        raise malformed("names a dtype in an unknown way")
    code = args[0]
    for pattern in (_PLAIN_CODE, _TEXT_CODE, _TIME_CODE, _OBJECT_CODE):
        if pattern.fullmatch(code):
            return DtypeSpec(code)
    raise _refused_dtype(f"dtype {code[:40]!r}")


def set_dtype_state(spec: DtypeSpec, state: Any) -> None:
    """Reads byte order and, for times, the unit.

    Args:
        spec: Receives the dtype.
        state: (version, byte order, subdtype, names, fields, item size, alignment, flags[, metadata]).
    """
    if type(state) is not tuple or len(state) not in (8, 9) or state[0] not in (3, 4) or spec.dtype is not None:
        raise malformed("has an unknown dtype state")
    order, parts, size = state[1], state[2:5], state[5]
    if parts != (None, None, None):
        raise _refused_dtype("fields or sub-arrays")
    if type(order) is not str or order not in ("<", ">", "|", "=") or type(size) is not int:
        raise malformed("has an unknown dtype state")
    if _OBJECT_CODE.fullmatch(spec.code):
        spec.dtype = np.dtype(object)
        return
    # Only the plain kinds of one byte, and bytes, have no byte order.
    if order == "|" and spec.code[0] != "S" and spec.code not in ("b1", "i1", "u1"):
        raise malformed(f"has no byte order for dtype {spec.code}")
    unit = _time_unit(state) if _TIME_CODE.fullmatch(spec.code) else ""
    dtype = np.dtype(f"{order}{spec.code}{unit}")
    if size not in (-1, dtype.itemsize):
        raise malformed(f"gives dtype {spec.code} an item size of {size}")
    spec.dtype = dtype


def _time_unit(state: tuple[Any, ...]) -> str:
    metadata = state[8] if len(state) == 9 else None
    if type(metadata) is not tuple or len(metadata) != 2 or metadata[0] not in (None, {}):
        raise malformed("has times without a unit")
    if type(metadata[1]) is not tuple or len(metadata[1]) != 4:
        raise malformed("has times without a unit")
    unit, step, divisor, _ = metadata[1]
    if type(unit) is bytes:
        unit = unit.decode("ascii")
    if type(unit) is not str or unit not in _TIME_UNITS or type(step) is not int or divisor != 1:
        raise malformed("has times in an unknown unit")
    if not 1 <= step <= _MAX_TIME_STEP:
        raise malformed(f"has times in steps of {step}")
    return "" if unit == "generic" else f"[{step}{unit}]"


def _known_dtype(spec: Any) -> np.dtype[Any]:
    if type(spec) is not DtypeSpec or spec.dtype is None:
        raise malformed("has an array without a dtype")
    return spec.dtype


def check_shape(shape: Any) -> None:
    """Holds that a shape is a tuple of at most 32 sizes."""
    if type(shape) is not tuple or len(shape) > MAX_DIMENSIONS:
        raise malformed("has an array without a shape")
    for size in shape:
        if type(size) is not int or size < 0:
            raise malformed("has an array with an impossible shape")


def check_values(array: np.ndarray, budget: Budget) -> None:
    """Holds that every value is one of its type: numpy itself believes the bytes, and fails or miscounts later."""
    if array.dtype.kind == "b":
        highest, codes = 1, array.view(np.uint8)
    elif array.dtype.kind == "U":
        # Element by element: the array may lie in the file in either order, and its last axis need not be contiguous.
        highest = _MAX_CODE_POINT
        codes = np.ndarray(
            (*array.shape, array.dtype.itemsize // 4),
            f"{'>' if array.dtype.byteorder == '>' else '<' if array.dtype.byteorder == '<' else '='}u4",
            buffer=array,
            strides=(*array.strides, 4),
        )
    else:
        return
    budget.charge(array.nbytes)
    if codes.size and int(codes.max()) > highest:
        raise malformed(f"has an array of {array.dtype} with a value that isn't one")


def _make_array(payload: Any, dtype: np.dtype[Any], shape: Any, order: Literal["C", "F"], budget: Budget) -> np.ndarray:
    """Views bytes as an array.

    Args:
        payload: Bytes, a span, or text of Python 2.
        dtype: Without objects.
        shape: Sizes; their product times the item size has to be the length of the payload exactly.
        order: `C` or `F`.
        budget: Pays for what is copied.
    """
    check_shape(shape)
    if type(payload) is str:
        payload = _bytes_of_text(payload, budget)
    if type(payload) is Span:
        source, start = payload.source, payload.start
    elif type(payload) is bytes:
        source, start = payload, 0
    else:
        raise malformed("has an array without bytes")
    if math.prod(shape) * dtype.itemsize != len(payload):
        raise malformed(f"has {len(payload)} bytes for an array of shape {shape} and {dtype}")
    array: np.ndarray = np.ndarray(shape, dtype, source, start, None, order)
    if type(source) is bytearray:
        array.setflags(write=False)
    if dtype.kind in "bU":
        check_values(array, budget)
    return array


def _bytes_of_text(payload: str, budget: Budget) -> bytes:
    # Python 2 shares its one-character strings, so an array of one byte can arrive as text that was read elsewhere.
    # Longer text could have been UTF-8 or Latin-1 in the file; only ASCII is the same in both.
    if len(payload) > 1 and not payload.isascii():
        raise malformed("has text where the bytes of an array are due")
    budget.charge(len(payload))
    return payload.encode("latin-1")


def build_pending_array(machine: "Machine", args: tuple[Any, ...]) -> PendingArray:
    """Stands for `_reconstruct(numpy.ndarray, (0,), b"b")`, which makes an empty array to be filled."""
    known = machine.names.get(("numpy", "ndarray"))
    if len(args) != 3 or args[0] is not known or args[1] != (0,) or args[2] not in (b"b", "b"):
        raise malformed("reconstructs an array in an unknown way")
    return PendingArray()


def fill_array(machine: "Machine", pending: PendingArray, state: Any) -> np.ndarray:
    """Gives a pending array its content.

    Args:
        machine: Pays and counts.
        pending: Receives the array, so that later references to it find it.
        state: (version, shape, dtype, Fortran order, payload).
    """
    if type(state) is not tuple or len(state) != 5 or pending.array is not None:
        raise malformed("has an unknown array state")
    version, shape, spec, is_fortran, payload = state
    if version != 1 or is_fortran not in (0, 1):
        raise malformed("has an unknown array state")
    dtype = _known_dtype(spec)
    if dtype.hasobject:
        array = _object_array(machine, payload, shape)
    else:
        array = _make_array(payload, dtype, shape, "F" if is_fortran else "C", machine.budget)
        if not dtype.isnative:
            array = _to_native(array, machine.budget)
    pending.array = array
    return array


def _to_native(array: np.ndarray, budget: Budget) -> np.ndarray:
    # As numpy does when it reads this state; torch takes no other arrays.
    budget.charge(array.nbytes)
    native = array.astype(array.dtype.newbyteorder("="))
    native.setflags(write=False)
    return native


def _object_array(machine: "Machine", payload: Any, shape: Any) -> np.ndarray:
    check_shape(shape)
    if type(payload) is not list or math.prod(shape) != len(payload):
        raise malformed("has an object array whose elements don't fit its shape")
    machine.budget.charge(8 * len(payload))
    flat = np.fromiter(payload, object, len(payload))
    level = 1
    if np.ndarray in set(map(type, payload)):
        inner = (value for value in payload if type(value) is np.ndarray and value.dtype.hasobject)
        level += max((machine.array_levels[id(value)] for value in inner), default=0)
    if level > MAX_NESTED_ARRAYS:
        raise malformed(f"nests object arrays more than {MAX_NESTED_ARRAYS} levels deep")
    array = flat.reshape(shape)
    array.setflags(write=False)
    machine.array_levels[id(array)] = level
    return array


def build_from_buffer(machine: "Machine", args: tuple[Any, ...]) -> np.ndarray:
    """Stands for protocol 5's `_frombuffer(buffer, dtype, shape, order[, axis_order])`."""
    if len(args) not in (4, 5):
        raise malformed("takes an array from a buffer in an unknown way")
    payload, spec, shape, order = args[:4]
    dtype = _known_dtype(spec)
    if dtype.hasobject or order not in ("C", "F", "K"):
        raise malformed("takes an array from a buffer in an unknown way")
    axes = args[4] if len(args) == 5 else None
    array = _make_array(payload, dtype, shape, "F" if order == "F" else "C", machine.budget)
    if axes is None:
        return array
    if order != "K" or type(axes) is not tuple or sorted(axes) != list(range(len(shape))):
        raise malformed("takes an array from a buffer in an unknown way")
    return array.transpose(axes)


def build_scalar(machine: "Machine", args: tuple[Any, ...]) -> Any:
    """Stands for `scalar(dtype, bytes)`."""
    if len(args) != 2:
        raise malformed("has an unknown numpy scalar")
    dtype = _known_dtype(args[0])
    if dtype.hasobject:
        raise _refused_dtype("a scalar of dtype object")
    machine.budget.charge(dtype.itemsize)
    return _make_array(args[1], dtype, (), "C", machine.budget)[()]
