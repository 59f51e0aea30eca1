"""LoRA on the text encoder with everything else trained in full, through the same training code as any other run.

* The text encoder keeps its weights and gets low-rank updates; the layers around it start from random weights, so an
  adapter holds them whole (`modules_to_save`).
* A run folder is what every run leaves: the merged model. The adapter and the base it fits lie in it as `adapter/` and
  `base/`.
* An adapter names its base by the id that the user gives. The folder it was trained from belongs to this machine.
"""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.training.optimization import find_text_model

ADAPTER_FOLDER = "adapter"
BASE_FOLDER = "base"

# Query and value projections as BERT and RoBERTa, DistilBERT, and most later encoders call them.
_QUERY_AND_VALUE = r"(.*\.)?text_model\..*\.(query|value|q_lin|v_lin|q_proj|v_proj)"


@dataclass
class LoraArguments:
    """How the text encoder is adapted.

    Args:
        base_id: Hub id, `owner/name`, under which the base is or will be published; the adapter refers to it.
        lora_rank: Rank of the updates, at least 1.
        lora_alpha: Updates are scaled by `lora_alpha / lora_rank`.
        lora_dropout: Dropout rate before the updates.
        lora_targets: Regular expression that a module's whole name must match to be adapted.

    Raises:
        ConfigError: If `base_id` is a path or no id, or the rank is below 1.
    """

    base_id: str = field(metadata={"help": "Hub id under which the base is or will be published: owner/name."})
    lora_rank: int = field(default=8, metadata={"help": "Rank of the updates."})
    lora_alpha: int = field(default=16, metadata={"help": "Updates are scaled by lora_alpha / lora_rank."})
    lora_dropout: float = field(default=0.1, metadata={"help": "Dropout rate before the updates."})
    lora_targets: str = field(
        default=_QUERY_AND_VALUE, metadata={"help": "Regular expression for the names of the adapted modules."}
    )

    def __post_init__(self) -> None:
        owner, _, name = self.base_id.partition("/")
        if not owner or not name or "/" in name or os.path.exists(self.base_id) or owner in (".", "..", "~"):
            raise ConfigError(
                f"base_id is written into the adapter and must be a Hub id of the form owner/name, but is "
                f"{self.base_id!r}; give the id under which the base is published, not a folder"
            )
        if self.lora_rank < 1:
            raise ConfigError(f"lora_rank must be at least 1, but is {self.lora_rank}; 8 is a usual value")


class LoraAdaptation:
    """Turns the model of a run into one with adapters, and back.

    Args:
        args: How the text encoder is adapted.
    """

    def __init__(self, args: LoraArguments) -> None:
        self.args = args

    def describe(self) -> dict[str, Any]:
        """Gives what `run.json` records."""
        return asdict(self.args)

    def prepare(self, model: Any, folder: Path | None) -> PeftModel:
        """Freezes a model and adds what is trained.

        Args:
            model: The model with its pretrained text encoder.
            folder: Run folder, for the base; None: the base isn't written, as on all processes but the main one.

        Returns:
            The model with adapters in the text encoder and trainable copies of all other modules.

        Raises:
            ConfigError: If the model has no text encoder, no module of it matches, or a parameter outside it lies in no
                module that could be copied.
        """
        if find_text_model(model) is None:
            raise ConfigError("LoRA needs a text encoder, but the model reads no text; choose modalities with 't'")
        if folder is not None:
            model.save_pretrained(folder / BASE_FOLDER)
        config = LoraConfig(
            r=self.args.lora_rank,
            lora_alpha=self.args.lora_alpha,
            lora_dropout=self.args.lora_dropout,
            target_modules=self.args.lora_targets,
            modules_to_save=list(modules_outside_text_encoder(model)),
        )
        try:
            adapted = get_peft_model(model, config)
        except ValueError as error:
            raise ConfigError(
                f"lora_targets must match modules of the text encoder, but {self.args.lora_targets!r} can't be used "
                f"({error}); list the names with model.named_modules()"
            ) from error
        # With a name here, each checkpoint would ask the Hub for the base's vocabulary.
        adapted.peft_config["default"].base_model_name_or_path = ""
        return adapted

    def finish(self, model: PeftModel, folder: Path) -> Any:
        """Writes the adapter and merges it.

        Args:
            model: The trained model.
            folder: Run folder.

        Returns:
            The plain model with the updates added to its weights.
        """
        model.peft_config["default"].base_model_name_or_path = self.args.base_id
        # The embeddings are frozen, so nothing has to be found out about them at the base.
        model.save_pretrained(str(folder / ADAPTER_FOLDER), save_embedding_layers=False)
        return model.merge_and_unload()


def modules_outside_text_encoder(model: nn.Module) -> Iterator[str]:
    """Names the largest modules that together hold every parameter outside the text encoder.

    Args:
        model: A model with a text encoder.

    Yields:
        Qualified names of modules with a `forward`; containers are replaced by what they hold.

    Raises:
        ConfigError: If a parameter belongs to the model or to a container itself.
    """
    text_model = find_text_model(model)
    pending: list[tuple[str, nn.Module]] = [("", model)]
    while pending:
        name, module = pending.pop(0)
        if module is text_model or not any(True for _ in module.parameters()):
            continue
        holds_text = any(inner is text_model for inner in module.modules())
        if not holds_text and not isinstance(module, nn.ModuleDict | nn.ModuleList):
            yield name
            continue
        own = [own_name for own_name, _ in module.named_parameters(recurse=False)]
        if own:
            raise ConfigError(
                f"an adapter holds whole modules, but the parameter {own[0]!r} lies in {name or 'the model'!r} beside "
                "the text encoder; move it into a module of its own"
            )
        pending += [(f"{name}.{child}".lstrip("."), inner) for child, inner in module.named_children()]
