"""Names: what a pickle's global references become. Nothing is looked up or imported for them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modeling_hfr_ame.data.safe_pickle.machine import Machine

Builder = Callable[["Machine", tuple[Any, ...]], Any]


@dataclass(frozen=True, slots=True, eq=False)
class Name:
    """A name from the list of known ones. It stands for itself and isn't callable.

    Attributes:
        module: As the pickle writes it.
        attribute: As the pickle writes it.
        build: Makes the value that a call of the name stands for; None where a call is refused.
        dtype: Element type of a torch storage class or torch dtype, as a numpy code; `bfloat16` has no numpy code.
        encodes_text: Its first argument is text that spells bytes.
        takes_bytes: Its first argument is the content of an array or tensor, so that large bytes need no copy.
    """

    module: str
    attribute: str
    build: Builder | None = None
    dtype: str | None = None
    encodes_text: bool = False
    takes_bytes: bool = False

    def __str__(self) -> str:
        return f"{self.module}.{self.attribute}"


NameTable = Mapping[tuple[str, str], Name]


def make_table(names: list[Name]) -> dict[tuple[str, str], Name]:
    """Keys names by module and attribute."""
    return {(name.module, name.attribute): name for name in names}
