"""A pickle machine that knows data and no code.

It walks over the instructions once, with a stack, the positions of open marks and a memo. Each instruction takes at
least one byte and there are no jumps, so a file of n bytes takes at most n steps. Names are looked up in a table and
stay inert; a call looks up how the table builds the value. Scan and execution are one pass: every length, index and
count is checked before memory is taken for it.
"""

import struct
from collections.abc import Callable
from itertools import repeat
from typing import Any

from modeling_hfr_ame.data.safe_pickle.arrays import DtypeSpec, PendingArray, fill_array, set_dtype_state
from modeling_hfr_ame.data.safe_pickle.containers import ContainerMaker
from modeling_hfr_ame.data.safe_pickle.names import Name, NameTable
from modeling_hfr_ame.data.safe_pickle.opcodes import (
    BINGET,
    BININT1,
    HANDLED,
    LONG_BINGET,
    LONG_BINPUT,
    MEMOIZE,
    REFUSED,
    STOP,
)
from modeling_hfr_ame.data.safe_pickle.refusal import (
    MALFORMED_RAISES,
    Budget,
    PickleError,
    PickleLimits,
    malformed,
    malformed_by,
)
from modeling_hfr_ame.data.safe_pickle.spans import Buffer

_MAX_NAME = 256
_UINT4 = struct.Struct("<I").unpack_from

FindStorage = Callable[[Any], Any]


def _filled(pending: PendingArray) -> Any:
    if pending.array is None:
        raise malformed("refers to an array within itself")
    return pending.array


def _high_index(index: int) -> PickleError:
    # Picklers number what they write from 0 or 1 on, and every value takes at least a byte, also where a tool has
    # removed numbers that weren't needed: a sound index is never above the position.
    return malformed(f"numbers a value {index}, more than it can hold")


class Machine(ContainerMaker):
    """Runs pickles, one after the other.

    Args:
        names: The names that a pickle may use.
        limits: Bounds.
        budget: Shared by all pickles of one file.
        archive_names: The names for archives within; None where no archive may be.
    """

    def __init__(
        self, names: NameTable, limits: PickleLimits, budget: Budget, archive_names: NameTable | None = None
    ) -> None:
        self.names = names
        self.limits = limits
        self.budget = budget
        self.archive_names = archive_names
        # Levels of each object array by identity; all of them live in the memo or on the stack.
        self.array_levels: dict[int, int] = {}
        self.data: Buffer = b""
        self.stop = 0
        self.position = 0
        self.stack: list[Any] = []
        self.push = self.stack.append
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self._find_storage: FindStorage | None = None
        self._archive_machine: Machine | None = None
        self._handlers: list[Callable[[int], int]] = [self._unknown] * 256
        for opcode in REFUSED:
            self._handlers[opcode[0]] = self._refused
        for opcode, name in HANDLED.items():
            self._handlers[opcode[0]] = getattr(self, f"_op_{name}")

    def for_archives(self) -> "Machine":
        """The machine for torch archives inside this one's pickle."""
        if self.archive_names is None:
            raise malformed("has an archive within an archive")
        if self._archive_machine is None:
            self._archive_machine = Machine(self.archive_names, self.limits, self.budget)
        return self._archive_machine

    def run(self, data: Buffer, start: int, stop: int, find_storage: FindStorage | None = None) -> Any:
        """Runs one pickle; `position` is then behind it.

        Args:
            data: The pickle starts at `data[start]` and ends before `stop`.
            start: First byte.
            stop: End of the bytes that may be read.
            find_storage: Gives the object for a persistent id. None: persistent ids are refused.

        Returns:
            The value, which may still hold names and half-made arrays: `check_tree` has to see it.

        Raises:
            PickleError: Anything is wrong.
        """
        self.data, self.stop, self._find_storage = data, stop, find_storage
        self._start = start
        self.stack.clear()
        self.marks.clear()
        self.memo.clear()
        self.position = start
        try:
            return self._walk(start)
        except PickleError as error:
            if error.offset is None:
                error.offset = self.position
            raise
        except MALFORMED_RAISES as error:
            failure = malformed_by(error, is_at_end=self.position >= stop - 1)
            failure.offset = self.position
            raise failure from error

    def _walk(self, pos: int) -> Any:
        data, stack, push, memo, handlers = self.data, self.stack, self.push, self.memo, self._handlers
        start = pos
        try:
            for _ in repeat(None, self.limits.max_opcodes):
                opcode = data[pos]
                # What makes up most of a pickle is done here, without a call.
                if opcode == MEMOIZE:
                    memo[len(memo)] = stack[-1]
                    pos += 1
                elif opcode == BINGET:
                    value = memo[data[pos + 1]]
                    push(value if type(value) is not PendingArray else _filled(value))
                    pos += 2
                elif opcode == BININT1:
                    push(data[pos + 1])
                    pos += 2
                elif opcode == LONG_BINGET:
                    value = memo[_UINT4(data, pos + 1)[0]]
                    push(value if type(value) is not PendingArray else _filled(value))
                    pos += 5
                elif opcode == LONG_BINPUT:
                    index = _UINT4(data, pos + 1)[0]
                    if index > pos - start:
                        raise _high_index(index)
                    memo[index] = stack[-1]
                    pos += 5
                elif opcode == STOP:
                    return self._finish(pos + 1)
                else:
                    pos = handlers[opcode](pos + 1)
        finally:
            self.position = max(self.position, pos)
        raise PickleError(
            f"a pickle has at most {self.limits.max_opcodes} instructions, and this one has more",
            "if the file is sound, raise PickleLimits.max_opcodes",
        )

    def _finish(self, pos: int) -> Any:
        if pos > self.stop:
            raise malformed("ends before it is complete")
        if len(self.stack) != 1 or self.marks:
            raise malformed(f"ends with {len(self.stack)} values and {len(self.marks)} open marks")
        self.position = pos
        return self.stack[0]

    def _unknown(self, pos: int) -> int:
        raise malformed(f"has an unknown instruction {self.data[pos - 1]:#04x}")

    def _refused(self, pos: int) -> int:
        meaning = REFUSED[bytes([self.data[pos - 1]])]
        raise PickleError(f"a pickle may hold data only, and this one uses {meaning}")

    def _op_proto(self, pos: int) -> int:
        if pos != self._start + 1:
            raise malformed("states its protocol in the middle")
        if self.data[pos] > 5:
            raise PickleError(
                f"pickles of protocols 0 to 5 are known, and this one says {self.data[pos]}",
                "save it again with an older protocol",
            )
        return pos + 1

    def _op_frame(self, pos: int) -> int:
        self.end_of(pos + 8, struct.unpack_from("<Q", self.data, pos)[0])
        return pos + 8

    def _put(self, index: int, pos: int) -> None:
        if not 0 <= index <= pos - self._start:
            raise _high_index(index)
        self.memo[index] = self.stack[-1]

    def _op_put_text(self, pos: int) -> int:
        digits, end = self.line(pos)
        self._put(self.decimal(digits), pos)
        return end

    def _op_put1(self, pos: int) -> int:
        self._put(self.data[pos], pos)
        return pos + 1

    def _op_get_text(self, pos: int) -> int:
        digits, pos = self.line(pos)
        value = self.memo[self.decimal(digits)]
        self.push(value if type(value) is not PendingArray else _filled(value))
        return pos

    def _push_name(self, module: Any, attribute: Any) -> None:
        if type(module) is not str or type(attribute) is not str:
            raise malformed("has a name that isn't text")
        name = self.names.get((module, attribute))
        if name is None:
            found = ascii(f"{module[:_MAX_NAME]}.{attribute[:_MAX_NAME]}")[1:-1]
            raise PickleError(
                f"a pickle may hold plain data, numpy arrays and torch tensors only, and this one refers to {found}"
            )
        self.push(name)

    def _op_global_text(self, pos: int) -> int:
        module, pos = self.line(pos)
        attribute, pos = self.line(pos)
        self._push_name(module.decode("utf-8"), attribute.decode("utf-8"))
        return pos

    def _op_stack_global(self, pos: int) -> int:
        attribute = self.stack.pop()
        self._push_name(self.stack.pop(), attribute)
        return pos

    def _op_reduce(self, pos: int) -> int:
        stack = self.stack
        args = stack.pop()
        name = stack[-1]
        if type(name) is not Name or type(args) is not tuple:
            raise malformed(f"calls a {type(name).__name__}")
        if name.build is None:
            raise PickleError(f"a pickle may hold data only, and this one calls {name}")
        stack[-1] = name.build(self, args)
        return pos

    def _op_build(self, pos: int) -> int:
        stack = self.stack
        state = stack.pop()
        target = stack[-1]
        if type(target) is PendingArray:
            stack[-1] = fill_array(self, target, state)
        elif type(target) is DtypeSpec:
            set_dtype_state(target, state)
        else:
            raise PickleError(
                f"only arrays and dtypes have a state, and this pickle sets that of a {type(target).__name__}"
            )
        return pos

    def _op_persistent_id(self, pos: int) -> int:
        if self._find_storage is None:
            raise PickleError("a pickle may hold data only, and this one asks the program for an object of its own")
        self.stack[-1] = self._find_storage(self.stack[-1])
        return pos
