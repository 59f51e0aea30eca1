"""What a published system has to state so that its weights can be imported and its numbers replayed."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from modeling_hfr_ame.errors import DataError

Tensors = dict[str, torch.Tensor]


@dataclass
class Replay:
    """What one of our models gave for the inputs of a golden folder.

    Args:
        outputs: Tensors by the name in `io.safetensors` (`out.…` and `loss.…`).
        gradients: Per training case (`""` where there is one only) our parameters' gradients by our names; a parameter
            that the loss doesn't reach is missing.
        omitted: Names in `io.safetensors`, or `grads` names, that can't be reproduced → the reason.
    """

    outputs: Tensors = field(default_factory=dict)
    gradients: dict[str, Tensors] = field(default_factory=dict)
    omitted: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ReferenceSystem:
    """A published system.

    Args:
        config_of: (config.json, reference weights) → our configuration with `variant="reference"`. The weights are
            there for sizes that config.json leaves open.
        model_class: Our class.
        our_names: Reference parameter name → our parameters that together hold it, in the order of its first axis;
            empty for one that our model has no use for.
        replay: (our model, inputs by name without `in.`, config.json) → `Replay`.
        tolerances: Name in `io.safetensors` → (absolute, relative), where the default doesn't apply.
        rearranged: Our parameter name → maps the reference tensor's values to our layout, where a reshape isn't enough.
        has_idle_rows: Reference parameter name → whether it is a table along axis 1 with rows behind those that are
            read, which ours lacks.
    """

    config_of: Callable[[Mapping[str, Any], Tensors], PreTrainedConfig]
    model_class: Callable[[Any], PreTrainedModel]
    our_names: Callable[[str], tuple[str, ...]]
    replay: Callable[[Any, Tensors, Mapping[str, Any]], Replay]
    tolerances: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    rearranged: Callable[[str], Callable[[torch.Tensor], torch.Tensor] | None] = lambda name: None
    has_idle_rows: Callable[[str], bool] = lambda name: False

    def convert(self, reference: Tensors, model: PreTrainedModel) -> Tensors:
        """Turns a reference state dict into ours.

        Args:
            reference: Tensors by the reference's names.
            model: A model of the right sizes, for the shapes.

        Returns:
            Float32 tensors by our names.

        Raises:
            DataError: A tensor doesn't fit, comes twice, or one of ours is left without value.
        """
        shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
        converted: Tensors = {}
        for name, tensor in reference.items():
            ours = self.our_names(name)
            unknown = [own for own in ours if own not in shapes]
            if unknown:
                raise DataError(f"weight {name} would become {unknown[0]}, which the model lacks; check the sizes")
            if self.has_idle_rows(name) and ours:
                tensor = tensor[:, : shapes[ours[0]][1]]
            if ours and sum(math.prod(shapes[own]) for own in ours) != tensor.numel():
                raise DataError(
                    f"weight {name} must hold the values of {', '.join(ours)}, but has shape {tuple(tensor.shape)}; "
                    "check that configuration and checkpoint belong together"
                )
            start = 0
            for own in ours:
                if own in converted:
                    raise DataError(f"each weight must come once, but {own} comes again with {name}; report this")
                # Parts of a stacked projection lie one after the other along its first axis.
                size = math.prod(shapes[own])
                part = tensor.detach().float().reshape(-1)[start : start + size]
                rearrange = self.rearranged(own)
                part = part if rearrange is None else rearrange(part.reshape(tensor.shape))
                converted[own] = part.reshape(shapes[own]).clone()
                start += size
        missing = sorted(set(shapes) - set(converted))
        if missing:
            raise DataError(f"every weight must be in the checkpoint; found none for {', '.join(missing[:5])}")
        return converted

    def build(self, settings: Mapping[str, Any], reference: Tensors) -> PreTrainedModel:
        """Builds our model with the reference's weights.

        Args:
            settings: Content of config.json.
            reference: Tensors by the reference's names.

        Raises:
            DataError: Sizes and weights don't fit together.
        """
        model = self.model_class(self.config_of(settings, reference))
        model.load_state_dict(self.convert(reference, model))
        return model
