"""From a batch to checked per-modality sequences.

The checks of the batch contract live here, once. Their tensors are reduced to one vector of flags that is read in a
single device-to-host copy, and not at all while the model is being compiled or exported.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from .clean_twin import fit_length
from .configuration_sentiment import MODALITIES, SentimentConfig
from .errors import InputError


@dataclass
class ModalityInput:
    """Received sequence of one modality.

    Args:
        values: (B, L, width) features, zero wherever `mask` is False; for text given as ids, (B, L) int64 ids.
        mask: (B, L) bool valid prefix, False everywhere in rows where the modality is absent.
        present: (B,) bool.
    """

    values: torch.Tensor
    mask: torch.Tensor
    present: torch.Tensor

    def frames(self) -> torch.Tensor:
        """Features as (B, L, width) float32, exactly zero at padding and in absent rows (also where they hold NaN)."""
        return torch.where(self.mask.unsqueeze(-1), self.values.float(), torch.zeros((), device=self.values.device))

    def padded(self, size: int, pad_token_id: int | None) -> "ModalityInput":
        """The same sequence with at least `size` steps; ids of the added ones are `pad_token_id` (None: 0)."""
        length = self.mask.shape[1]
        values, mask = (fit_length(item, max(size, length)) for item in (self.values, self.mask))
        if not values.is_floating_point():
            values[:, length:] = pad_token_id or 0
        return ModalityInput(values, mask, self.present)


def content_mask(attention_mask: torch.Tensor) -> torch.Tensor:
    """Valid steps of the text between the leading and the trailing special token.

    Args:
        attention_mask: (B, Lt) bool over all tokens.

    Returns:
        (B, max(Lt − 2, 1)) bool mask over tokens 1 … Lt − 2.
    """
    length = (attention_mask.sum(-1, keepdim=True) - 2).clamp(min=0)
    size = max(attention_mask.shape[1] - 2, 1)
    return torch.arange(size, device=attention_mask.device) < length


def content_steps(tokens: torch.Tensor) -> torch.Tensor:
    """Drops the special-token ends of (B, Lt, …) so that it lines up with `content_mask`."""
    return tokens[:, 1:-1] if tokens.shape[1] > 2 else tokens[:, :1]


def _wrong_width(name: str, found: int, expected: int) -> InputError:
    return InputError(
        f"{name} feature width {found} does not match the model's {expected} "
        f"(HfrAmeConfig.{name}_config.feature_size); prepare the data with the features the model was trained on, "
        "or build a model for this width"
    )


def _default_mask(values: torch.Tensor) -> torch.Tensor:
    return torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)


def _check_shapes(name: str, values: torch.Tensor, mask: torch.Tensor, batch_size: int) -> None:
    if values.shape[0] != batch_size or mask.shape != values.shape[:2]:
        raise InputError(
            f"{name} inputs and mask must share batch and length; found values {tuple(values.shape)} and mask "
            f"{tuple(mask.shape)} in a batch of {batch_size}; build batches with HfrAmeProcessor.pad"
        )


def _flag_report(flags: dict[str, torch.Tensor]) -> dict[str, bool]:
    if torch.compiler.is_compiling() or not flags:
        return {}
    found = torch.stack([flag.reshape(()).bool() for flag in flags.values()]).tolist()
    return dict(zip(flags, found, strict=True))


_FLAG_MESSAGES = {
    "absent": (
        "each row needs at least one present modality of the model's ({letters}); found a row with none; give it text, "
        "audio or vision, or leave the row out"
    ),
    "gap": (
        "valid steps must form a prefix of each row (padding at the end); found a {name} mask with a gap or "
        "front padding; left-align the frames"
    ),
    "nan": (
        "{name} features must be finite; found NaN or infinity in valid frames; pass raw features through "
        "HfrAmeProcessor, which replaces and counts them"
    ),
    "label": (
        "labels must lie in the model's label_range {low} to {high}; found a value outside or NaN; rescale the labels "
        "or set HfrAmeConfig.label_range"
    ),
    "severity": "severity must lie in 0 to 1; found a value outside; use the collator's severity",
}


class ModalityReader:
    """Checks a batch against the contract and hands out one `ModalityInput` per modality of the model."""

    def __init__(self, config: SentimentConfig) -> None:
        self.config = config

    def _text(
        self,
        batch: Mapping[str, torch.Tensor | None],
        batch_size: int,
        device: torch.device,
        prefix: str,
        name: str = "text",
    ) -> tuple[torch.Tensor, torch.Tensor]:
        states, ids = batch.get(f"{prefix}text_states"), batch.get(f"{prefix}input_ids")
        mask = batch.get(f"{prefix}attention_mask")
        if states is not None:
            if states.dim() != 3 or states.shape[-1] != self.config.text_config.hidden_size:
                raise InputError(
                    f"{name}_states must be (batch, length, {self.config.text_config.hidden_size}), the text encoder's "
                    f"width; found {tuple(states.shape)}; cache the states of the model's own text encoder"
                )
            values = states
        elif ids is not None:
            values = ids
        else:
            values = torch.zeros(batch_size, 1, dtype=torch.long, device=device)
            mask = torch.zeros(batch_size, 1, dtype=torch.bool, device=device)
        mask = _default_mask(values) if mask is None else mask.bool()
        _check_shapes(name, values, mask, batch_size)
        return values, mask

    def _signal(
        self, name: str, batch: Mapping[str, torch.Tensor | None], batch_size: int, device: torch.device, prefix: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        width = getattr(self.config, f"{name}_config").feature_size
        values, mask = batch.get(f"{prefix}{name}_values"), batch.get(f"{prefix}{name}_mask")
        if values is None:
            values = torch.zeros(batch_size, 1, width, device=device)
            mask = torch.zeros(batch_size, 1, dtype=torch.bool, device=device)
        if values.dim() != 3:
            raise InputError(
                f"{name}_values must be (batch, frames, features); found shape {tuple(values.shape)}; add the batch "
                "axis or pass the item through HfrAmeProcessor"
            )
        if values.shape[-1] != width:
            raise _wrong_width(name, values.shape[-1], width)
        mask = _default_mask(values) if mask is None else mask.bool()
        _check_shapes(name, values, mask, batch_size)
        return values, mask

    def read(self, batch: Mapping[str, torch.Tensor | None], prefix: str = "") -> dict[str, ModalityInput]:
        """Reads the received (`prefix=""`) or the clean (`prefix="clean_"`) inputs.

        Args:
            batch: Tensors by their names in the batch contract; None or missing = not given.
            prefix: `""` or `"clean_"`.

        Returns:
            One entry per modality of the config, in the order text, audio, vision.

        Raises:
            InputError: A width, shape, mask or value breaks the contract, or a row has no modality.
        """
        given = [
            tensor
            for name in ("input_ids", "text_states", "audio_values", "vision_values")
            if (tensor := batch.get(f"{prefix}{name}")) is not None
        ]
        if not given:
            raise InputError(
                "at least one of input_ids, text_states, audio_values and vision_values is needed; found none; "
                "build the batch with HfrAmeProcessor"
            )
        batch_size, device = given[0].shape[0], given[0].device
        for name, shape in (
            ("modality_mask", (batch_size, 3)),
            ("severity", (batch_size, 3)),
            ("labels", (batch_size,)),
        ):
            tensor = batch.get(name)
            if tensor is not None and tensor.shape != shape:
                raise InputError(
                    f"{name} must have shape {shape} in a batch of {batch_size}; found {tuple(tensor.shape)}; build "
                    "batches with HfrAmeProcessor.pad"
                )
        # The clean twin also holds what corruption removed; its own masks say what is there.
        modality_mask = None if prefix else batch.get("modality_mask")
        inputs = {}
        for column, name in enumerate(MODALITIES):
            if name not in self.config.modality_names:
                continue
            reader = self._text if name == "text" else lambda *args, name=name: self._signal(name, *args)
            values, mask = reader(batch, batch_size, device, prefix)
            present = mask.any(-1)
            if modality_mask is not None:
                present = present & modality_mask[:, column].bool()
            inputs[name] = ModalityInput(values, mask & present.unsqueeze(-1), present)
        self._check_values(inputs, batch, training_inputs=not prefix)
        return inputs

    def read_prompts(
        self,
        batch_size: int,
        prompt_input_ids: torch.Tensor | None,
        prompt_attention_mask: torch.Tensor | None,
        prompt_states: torch.Tensor | None,
    ) -> ModalityInput | None:
        """Reads the prompts of a batch; a row without one has an all-False mask.

        Args:
            batch_size: B.
            prompt_input_ids: (B, Lp) token ids.
            prompt_attention_mask: (B, Lp). None: all are valid.
            prompt_states: (B, Lp, H) the prompt encoder's states, instead of ids.

        Returns:
            Ids or states; None without both.

        Raises:
            InputError: A shape, mask or value breaks the contract.
        """
        values = prompt_input_ids if prompt_states is None else prompt_states
        if values is None:
            return None
        given = {"input_ids": prompt_input_ids, "text_states": prompt_states, "attention_mask": prompt_attention_mask}
        values, mask = self._text(given, batch_size, values.device, "", "prompt")
        prompts = ModalityInput(values, mask, mask.any(-1))
        flags = {"gap:prompt": (mask[:, 1:] & ~mask[:, :-1]).any()}
        if values.is_floating_point():
            flags["nan:prompt"] = ~torch.isfinite(prompts.frames()).all()
        self._raise_for(flags)
        return prompts

    def _check_values(
        self, inputs: dict[str, ModalityInput], batch: Mapping[str, torch.Tensor | None], training_inputs: bool
    ) -> None:
        flags = {"absent:": ~torch.stack([item.present for item in inputs.values()]).any(0).all()}
        for name, item in inputs.items():
            flags[f"gap:{name}"] = (item.mask[:, 1:] & ~item.mask[:, :-1]).any()
            if item.values.is_floating_point():
                flags[f"nan:{name}"] = ~torch.isfinite(item.frames()).all()
        low, high = self.config.label_range
        labels, severity = batch.get("labels"), batch.get("severity")
        if training_inputs and labels is not None:
            flags["label:"] = ~((labels >= low) & (labels <= high)).all()
        if training_inputs and severity is not None and self.config.reads_severity:
            flags["severity:"] = ~((severity >= 0) & (severity <= 1)).all()
        self._raise_for(flags)

    def _raise_for(self, flags: dict[str, torch.Tensor]) -> None:
        low, high = self.config.label_range
        for flag, raised in _flag_report(flags).items():
            if raised:
                rule, _, name = flag.partition(":")
                raise InputError(
                    _FLAG_MESSAGES[rule].format(name=name, low=low, high=high, letters=self.config.modalities)
                )
