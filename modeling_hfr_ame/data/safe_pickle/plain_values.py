"""Builds the plain values for which pickles call a name, and guards what is hashed."""

from typing import TYPE_CHECKING, Any

import numpy as np

from modeling_hfr_ame.data.safe_pickle.names import Name
from modeling_hfr_ame.data.safe_pickle.refusal import Budget, PickleError, malformed
from modeling_hfr_ame.data.safe_pickle.spans import LatinText, Span

if TYPE_CHECKING:
    from modeling_hfr_ame.data.safe_pickle.machine import Machine

# A tuple's hash visits everything below it once per path, so that 40 tuples of two can take years.
_MAX_KEY_PARTS = 1000
_LONG_KEY = 256
_ENTRY_BYTES = 64
_FLAT_KEYS = frozenset({int, float, complex, bool, type(None)})


def check_key(key: Any, budget: Budget) -> None:
    """Holds that hashing and comparing a value is cheap and safe.

    Raises:
        PickleError: It is a container that can change, nothing that a result may hold, or too large.
    """
    kind = type(key)
    if kind is str or kind is bytes:
        if len(key) > _LONG_KEY:
            budget.charge(len(key))
        return
    if kind in _FLAT_KEYS:
        return
    parts, num_parts = [key], 1
    while parts:
        part = parts.pop()
        kind = type(part)
        if kind is tuple or kind is frozenset:
            num_parts += len(part)
            if num_parts > _MAX_KEY_PARTS:
                raise PickleError(
                    f"a dict key or set element has at most {_MAX_KEY_PARTS} parts, and one here has more"
                )
            parts.extend(part)
        elif kind is str or kind is bytes:
            budget.charge(len(part))
        elif isinstance(part, np.generic):
            budget.charge(part.nbytes)
        elif kind not in _FLAT_KEYS:
            raise malformed(f"has a dict key or set element of type {kind.__name__}")
    budget.charge(8 * num_parts)


def set_items(target: dict[Any, Any], items: list[Any], budget: Budget) -> None:
    """Puts keys and values, which alternate, into a dict."""
    if len(items) % 2:
        raise malformed("has a key without a value")
    for index in range(0, len(items), 2):
        key = items[index]
        if type(key) is not str or len(key) > _LONG_KEY:
            check_key(key, budget)
        target[key] = items[index + 1]


def _one_list(args: tuple[Any, ...], name: str) -> list[Any]:
    if not args:
        return []
    if len(args) != 1 or type(args[0]) is not list:
        raise malformed(f"makes a {name} in an unknown way")
    return args[0]


def build_set(machine: "Machine", args: tuple[Any, ...]) -> set[Any]:
    """Stands for `set(list)`, which protocols up to 3 write."""
    items = _one_list(args, "set")
    # Charged, since one list can be turned into a set again and again.
    machine.budget.charge(_ENTRY_BYTES * len(items))
    for item in items:
        check_key(item, machine.budget)
    return set(items)


def build_frozenset(machine: "Machine", args: tuple[Any, ...]) -> frozenset[Any]:
    """Stands for `frozenset(list)`."""
    return frozenset(build_set(machine, args))


def build_dict(machine: "Machine", args: tuple[Any, ...]) -> dict[Any, Any]:
    """Stands for `OrderedDict()`, and for the list of pairs that Python 2 gives it."""
    pairs = _one_list(args, "dict")
    machine.budget.charge(_ENTRY_BYTES * len(pairs))
    result: dict[Any, Any] = {}
    for pair in pairs:
        if type(pair) not in (list, tuple) or len(pair) != 2:
            raise malformed("makes a dict in an unknown way")
        check_key(pair[0], machine.budget)
        result[pair[0]] = pair[1]
    return result


def build_default_dict(machine: "Machine", args: tuple[Any, ...]) -> dict[Any, Any]:
    """Stands for `defaultdict(factory)`. The factory, which has to be a known name, is dropped."""
    if len(args) > 1 or (args and args[0] is not None and type(args[0]) is not Name):
        raise malformed("makes a defaultdict in an unknown way")
    return {}


def build_complex(machine: "Machine", args: tuple[Any, ...]) -> complex:
    """Stands for `complex(real, imaginary)`."""
    if len(args) != 2 or type(args[0]) is not float or type(args[1]) is not float:
        raise malformed("makes a complex number in an unknown way")
    return complex(args[0], args[1])


def build_encoded(machine: "Machine", args: tuple[Any, ...]) -> bytes | Span:
    """Stands for `_codecs.encode(text, "latin1")`, which is how protocols up to 2 write bytes."""
    if len(args) != 2 or args[1] not in ("latin1", "latin-1"):
        raise PickleError("text stands for bytes in Latin-1 only, and this pickle asks for another codec")
    text = args[0]
    if type(text) is LatinText:
        machine.budget.charge(len(text))
        return text.encode()
    if type(text) is not str:
        raise malformed("encodes something other than text")
    machine.budget.charge(len(text))
    return text.encode("latin-1")


def build_bytes(machine: "Machine", args: tuple[Any, ...]) -> bytes:
    """Stands for `bytes()`, `bytearray(bytes)` and Python 2's `bytearray(text, "latin-1")`."""
    if not args:
        return b""
    if len(args) == 1 and type(args[0]) is bytes:
        return args[0]
    if len(args) != 2 or type(args[0]) is not str:
        raise malformed("makes bytes in an unknown way")
    encoded = build_encoded(machine, args)
    assert type(encoded) is bytes
    return encoded


def build_size(machine: "Machine", args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Stands for `torch.Size(tuple)`."""
    if len(args) != 1 or type(args[0]) is not tuple:
        raise malformed("makes a torch.Size in an unknown way")
    return args[0]
