"""Reads what modules return while a model runs."""

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import nn


class ValueCapture:
    """Records the outputs of modules, call by call, while it is open as a context.

    Args:
        modules: Modules by the name they are asked for with.
    """

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self._modules = modules
        self._calls: dict[str, list[Any]] = {}
        self._handles: list[Any] = []

    def __enter__(self) -> Self:
        for name, module in self._modules.items():
            self._handles.append(module.register_forward_hook(self._hook(name)))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _hook(self, name: str) -> Any:
        def record(module: nn.Module, args: Any, output: Any) -> None:
            self._calls.setdefault(name, []).append(output)

        return record

    def of(self, name: str, call: int = 0) -> Any:
        """What a module returned.

        Args:
            name: The module's name.
            call: Number of the call, from 0.
        """
        return self._calls[name][call]


def gradients_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Copies the gradients of all parameters that have one, by name."""
    return {name: p.grad.detach().clone() for name, p in model.named_parameters() if p.grad is not None}
