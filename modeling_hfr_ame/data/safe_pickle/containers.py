"""Collects stack values into containers. What is hashed is looked at first."""

from typing import Any

from modeling_hfr_ame.data.safe_pickle.literals import LiteralReader
from modeling_hfr_ame.data.safe_pickle.plain_values import check_key, set_items
from modeling_hfr_ame.data.safe_pickle.refusal import Budget, malformed

_SET_BYTES = 216


class ContainerMaker(LiteralReader):
    """The part of the machine that handles the stack, its marks, and containers."""

    marks: list[int]
    budget: Budget

    def _op_mark(self, pos: int) -> int:
        self.marks.append(len(self.stack))
        return pos

    def _op_pop(self, pos: int) -> int:
        # A mark that lies on top is what is taken.
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.stack.pop()
        return pos

    def _op_pop_mark(self, pos: int) -> int:
        self._from_mark()
        return pos

    def _op_dup(self, pos: int) -> int:
        self.push(self.stack[-1])
        return pos

    def _from_mark(self) -> list[Any]:
        """Takes what lies above the last mark."""
        start = self.marks.pop()
        stack = self.stack
        items = stack[start:]
        if len(stack) < start:
            raise malformed("takes a value from below a mark")
        del stack[start:]
        return items

    def _op_empty_list(self, pos: int) -> int:
        self.push([])
        return pos

    def _op_empty_dict(self, pos: int) -> int:
        self.push({})
        return pos

    def _op_empty_tuple(self, pos: int) -> int:
        self.push(())
        return pos

    def _op_empty_set(self, pos: int) -> int:
        # One byte in the file, many in memory.
        self.budget.charge(_SET_BYTES)
        self.push(set())
        return pos

    def _op_list(self, pos: int) -> int:
        self.push(self._from_mark())
        return pos

    def _op_dict(self, pos: int) -> int:
        made: dict[Any, Any] = {}
        set_items(made, self._from_mark(), self.budget)
        self.push(made)
        return pos

    def _op_tuple(self, pos: int) -> int:
        stack = self.stack
        start = self.marks.pop()
        if len(stack) < start:
            raise malformed("takes a value from below a mark")
        items = tuple(stack[start:])
        del stack[start:]
        self.push(items)
        return pos

    def _op_tuple1(self, pos: int) -> int:
        stack = self.stack
        stack[-1] = (stack[-1],)
        return pos

    def _op_tuple2(self, pos: int) -> int:
        stack = self.stack
        last = stack.pop()
        stack[-1] = (stack[-1], last)
        return pos

    def _op_tuple3(self, pos: int) -> int:
        stack = self.stack
        last = stack.pop()
        middle = stack.pop()
        stack[-1] = (stack[-1], middle, last)
        return pos

    def _op_frozenset(self, pos: int) -> int:
        items = self._from_mark()
        self.budget.charge(_SET_BYTES)
        for item in items:
            check_key(item, self.budget)
        self.push(frozenset(items))
        return pos

    def _op_append(self, pos: int) -> int:
        item = self.stack.pop()
        self._target(list).append(item)
        return pos

    def _op_appends(self, pos: int) -> int:
        items = self._from_mark()
        self._target(list).extend(items)
        return pos

    def _op_setitem(self, pos: int) -> int:
        value = self.stack.pop()
        set_items(self._target(dict, depth=2), [self.stack.pop(), value], self.budget)
        return pos

    def _op_setitems(self, pos: int) -> int:
        items = self._from_mark()
        set_items(self._target(dict), items, self.budget)
        return pos

    def _op_additems(self, pos: int) -> int:
        items = self._from_mark()
        for item in items:
            check_key(item, self.budget)
        self._target(set).update(items)
        return pos

    def _target(self, kind: type, depth: int = 1) -> Any:
        target = self.stack[-depth]
        if type(target) is not kind:
            raise malformed(f"adds to a {kind.__name__} where it has a {type(target).__name__}")
        return target
