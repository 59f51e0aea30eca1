"""The table of trainable models.

A model is one row: how its configuration is built, its class, and the training defaults it wants. Peers are added as
rows; nothing else in this room names a model.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import nn

from modeling_hfr_ame.configuration_cyin import CyinConfig
from modeling_hfr_ame.configuration_dashfusion import DashFusionConfig
from modeling_hfr_ame.configuration_hfr_ame import HfrAmeConfig
from modeling_hfr_ame.configuration_hme import HmeConfig
from modeling_hfr_ame.configuration_lnln import LnlnConfig
from modeling_hfr_ame.configuration_midg import MidgConfig
from modeling_hfr_ame.configuration_mmslf import MmslfConfig
from modeling_hfr_ame.configuration_sentiment import SentimentConfig
from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.modeling_cyin import CyinForSentiment
from modeling_hfr_ame.modeling_dashfusion import DashFusionForSentiment
from modeling_hfr_ame.modeling_hfr_ame import HfrAmeForSentiment
from modeling_hfr_ame.modeling_hme import HmeForSentiment
from modeling_hfr_ame.modeling_lnln import LnlnForSentiment
from modeling_hfr_ame.modeling_midg import MidgForSentiment
from modeling_hfr_ame.modeling_mmslf import MmslfForSentiment

ROBUST_DROP_RATES = (0.0, 0.3, 0.5, 0.7)
_TEXT_PREFIX = "text_config."


@dataclass(frozen=True)
class ConfigInputs:
    """What the data and the text encoder say about a model's configuration.

    Args:
        text_config: Configuration of the text encoder.
        feature_sizes: Widths of `audio` and `vision` frames.
        label_range: Smallest and largest label.
        metric_scheme: `mosi` or `sims`.
        unk_token_id: The tokenizer's unknown token; None if it has none.
        max_lengths: Longest text (tokens), audio and vision (frames) that the processor lets through.
        overrides: Fields set by the user; keys that start with `text_config.` are applied to the text encoder.
        prompt_encoder: What encodes prompts in a model that reads them, as `MmslfConfig.prompt_encoder`.
    """

    text_config: Any
    feature_sizes: Mapping[str, int]
    label_range: tuple[float, float]
    metric_scheme: str
    unk_token_id: int | None
    overrides: Mapping[str, Any]
    max_lengths: Mapping[str, int] = field(default_factory=dict)
    prompt_encoder: str = "own"

    def fresh_text_config(self) -> Any:
        """Copies the text configuration and applies the overrides that are meant for it.

        Raises:
            ConfigError: If an override names a field that the text encoder doesn't have.
        """
        config = deepcopy(self.text_config)
        for key, value in self.overrides.items():
            name = key.removeprefix(_TEXT_PREFIX)
            if name == key:
                continue
            if not hasattr(config, name):
                raise ConfigError(
                    f"an override must name a field of {type(config).__name__}, but {name!r} is none; correct the key"
                )
            setattr(config, name, value)
        return config

    def model_overrides(self) -> dict[str, Any]:
        """The overrides that are meant for the model itself."""
        return {key: value for key, value in self.overrides.items() if not key.startswith(_TEXT_PREFIX)}


@dataclass(frozen=True)
class Variant:
    """One way to train a model.

    Args:
        train_corruption: Default of `DataArguments.train_corruption`.
        modalities: Default of `DataArguments.modalities`.
        selection_drop_rates: Default of `SentimentTrainingArguments.selection_drop_rates`.
        config: Configuration fields; the user's overrides win.
        matches: Name of the variant whose number of parameters, frozen ones included, this one is widened to. None: as
            it is.
        companions: Whether rows come with companions out of the training split: `drawn`, or `published`, drawn from
            lists that hold what DashFusion's released code writes into them. None: without.
        reads_prompts: Whether the model reads hints out of a prompt store.
        learns_from_teacher: Whether a finished teacher's run is needed.
        training_defaults: Training arguments that differ from the recipe's own defaults.
    """

    train_corruption: str = "mix"
    modalities: str = "tav"
    selection_drop_rates: tuple[float, ...] = ROBUST_DROP_RATES
    config: Mapping[str, Any] = field(default_factory=dict)
    matches: str | None = None
    companions: Literal["drawn", "published"] | None = None
    reads_prompts: bool = False
    learns_from_teacher: bool = False
    training_defaults: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelRecipe:
    """A row of the table.

    Args:
        build_config: (inputs, fields of the variant) → configuration.
        model_class: Builds the model from the configuration.
        variants: The ways to train it, by name; the first is the default.
        widen: Maps a configuration, and a width, to a configuration with a larger model; needed by a variant that
            `matches` another one.
        training_defaults: Training arguments that differ from `SentimentTrainingArguments`' own defaults.
    """

    build_config: Callable[[ConfigInputs, Mapping[str, Any]], Any]
    model_class: Callable[[Any], nn.Module]
    variants: Mapping[str, Variant]
    widen: Callable[[Any, int], Any] | None = None
    training_defaults: Mapping[str, Any] = field(default_factory=dict)

    def variant(self, name: str) -> Variant:
        """Looks a variant up.

        Raises:
            ConfigError: If there is no such variant.
        """
        if name not in self.variants:
            raise ConfigError(f"variant must be one of {', '.join(self.variants)}, but is {name!r}; choose one of them")
        return self.variants[name]

    @property
    def default_variant(self) -> str:
        """Name of the variant that is trained where none is asked for."""
        return next(iter(self.variants))

    def config_of(self, inputs: ConfigInputs, variant_name: str, modalities: str | None = None) -> Any:
        """Builds the configuration of a variant.

        Args:
            inputs: What data and text encoder say.
            variant_name: Name of the variant.
            modalities: Letters of the modalities the model reads; None for the variant's.

        Returns:
            The configuration.

        Raises:
            ConfigError: If the variant is unknown or a field is refused.
        """
        variant = self.variant(variant_name)
        modalities = modalities or variant.modalities
        config = self.build_config(inputs, {**variant.config, "modalities": modalities})
        if variant.matches is None:
            return config
        target = self.config_of(inputs, variant.matches, modalities)
        return self._matched(config, self.count_parameters(target))

    def count_parameters(self, config: Any) -> int:
        """Counts a configuration's parameters without allocating them."""
        with torch.device("meta"):
            model = self.model_class(deepcopy(config))
        return sum(parameter.numel() for parameter in model.parameters())

    def _matched(self, config: Any, target: int) -> Any:
        assert self.widen is not None
        # The count grows with the width, so the nearest one is found by halving.
        low, high = 1, 1
        while self.count_parameters(self.widen(config, high)) < target:
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.count_parameters(self.widen(config, middle)) < target else (low, middle)
        return min(
            (self.widen(config, width) for width in (low, high)),
            key=lambda candidate: abs(self.count_parameters(candidate) - target),
        )


def _config_builder(
    config_class: type[SentimentConfig], *, takes_lengths: bool = False
) -> Callable[[ConfigInputs, Mapping[str, Any]], Any]:
    """A `build_config` for a class; `takes_lengths` for models with a position table per modality."""

    def build(inputs: ConfigInputs, variant_fields: Mapping[str, Any]) -> SentimentConfig:
        values = {
            "text_config": inputs.fresh_text_config(),
            "label_range": list(inputs.label_range),
            "metric_scheme": inputs.metric_scheme,
            "unk_token_id": inputs.unk_token_id,
            **{f"{name}_config": {"feature_size": size} for name, size in inputs.feature_sizes.items()},
        }
        if takes_lengths:
            lengths = {f"max_{name}_length": length for name, length in inputs.max_lengths.items()}
            values |= {name: length for name, length in lengths.items() if hasattr(config_class, name)}
        if hasattr(config_class, "prompt_encoder"):
            values["prompt_encoder"] = inputs.prompt_encoder
        return config_class(**(values | dict(variant_fields) | inputs.model_overrides()))

    return build


def _peer_variants(train_corruption: str) -> Mapping[str, Variant]:
    """Both behaviours of a peer; the first is the default."""
    return MappingProxyType(
        {
            name: Variant(train_corruption=train_corruption, config={"variant": name})
            for name in ("repaired", "reference")
        }
    )


def _mmslf_variants(behaviour: str) -> dict[str, Variant]:
    """A teacher, its student, and a student that learns from labels alone; of the released behaviour the first two."""
    shared: dict[str, Any] = {"train_corruption": "clean", "selection_drop_rates": (0.0,)}
    fields = {"variant": behaviour}
    prefix = "" if behaviour == "repaired" else f"{behaviour}_"
    variants = {
        f"{prefix}student": Variant(**shared, config=fields | {"role": "student"}, learns_from_teacher=True),
        f"{prefix}teacher": Variant(
            **shared,
            config=fields | {"role": "teacher"},
            reads_prompts=True,
            training_defaults=MappingProxyType(
                {"num_train_epochs": 100.0, "learning_rate": 2e-4, "text_learning_rate": 2e-4}
            ),
        ),
    }
    if behaviour == "repaired":
        variants["student_alone"] = Variant(**shared, config=fields | {"role": "student"})
    return variants


def _widened_fusion(config: HfrAmeConfig, width: int) -> HfrAmeConfig:
    widened = deepcopy(config)
    # Twice the attention width, so that the extra parameters aren't all feed-forward; the rest of the way by its size.
    widened.fusion_size = config.fusion_size or 2 * config.hidden_size
    widened.fusion_ffn_size = width
    return widened


# The parts of MIDG by the switches that turn them on.
_MIDG_PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "adapters": ("use_adapters",),
        "disentanglement": ("use_disentanglement", "use_ood_view"),
        "ood_view": ("use_ood_view",),
        "experts": ("use_experts",),
    }
)


def _midg_variants() -> dict[str, Variant]:
    """All parts; none (`erm`); all but one. Trained and selected on clean data."""

    def without(*switches: str) -> Variant:
        config = dict.fromkeys(switches, False)
        return Variant(train_corruption="clean", selection_drop_rates=(0.0,), config=config)

    every = [switch for switches in _MIDG_PARTS.values() for switch in switches]
    variants = {"full": without(), "erm": without(*every)}
    variants["erm"] = replace(variants["erm"], config={**variants["erm"].config, "risk_variance_weight": 0.0})
    return variants | {f"no_{part}": without(*switches) for part, switches in _MIDG_PARTS.items()}


RECIPES: Mapping[str, ModelRecipe] = MappingProxyType(
    {
        # Published for MOSI: AdamW at two constant rates, gradients clipped by value, 30 epochs on complete inputs, the
        # first tenth without translations, and the last epoch's weights. MOSEI: text rate 1e-5, decay 1e-5, clipping at
        # 1, three tenths, and the sizes that `CyinConfig` names. Ours: validation selects the epoch, stages change by
        # step, and biases and norms don't decay.
        "cyin": ModelRecipe(
            build_config=_config_builder(CyinConfig, takes_lengths=True),
            model_class=CyinForSentiment,
            variants=_peer_variants("clean"),
            training_defaults=MappingProxyType(
                {
                    "num_train_epochs": 30.0,
                    "learning_rate": 5e-4,
                    "text_learning_rate": 4e-5,
                    "lr_scheduler_type": "constant",
                    "warmup_steps": 0.0,
                    "weight_decay": 1e-3,
                    "max_grad_norm": 0.0,
                    "max_grad_value": 5.0,
                    "global_batch_size": 128,
                    "early_stopping_patience": None,
                }
            ),
        ),
        "hfr_ame": ModelRecipe(
            build_config=_config_builder(HfrAmeConfig),
            model_class=HfrAmeForSentiment,
            widen=_widened_fusion,
            variants=MappingProxyType(
                {
                    "full": Variant(),
                    # What the FM-UNets add to filled frames and trained readouts.
                    "coarse": Variant(config={"use_fm_unet": False, "band_loss": "off"}, matches="full"),
                    # Without restoration nothing is compared with the clean twin, so its losses go, too.
                    "control": Variant(
                        config={"use_hfr": False, "band_loss": "off", "anchor_weight": 0.0}, matches="full"
                    ),
                    "text_only": Variant(
                        train_corruption="clean",
                        modalities="t",
                        # The reference for what robustness costs on clean input, so it is also selected on clean input.
                        selection_drop_rates=(0.0,),
                        config={
                            "use_hfr": False,
                            "ame": "none",
                            "fusion": "concat",
                            "severity": "none",
                            "band_loss": "off",
                            "anchor_weight": 0.0,
                            "severity_weight": 0.0,
                        },
                    ),
                }
            ),
        ),
        # Published for MOSI: AdamW with one rate and one decay for everything, batches of 16, 100 epochs, of which 10
        # warm up, then a linear decay, no clipping, clean data, and the epoch with the least validation error, on clean
        # data as well. MOSEI: rate 2e-5, batches of 8, 25 epochs of which 1 warms up. Ours: biases and all norms don't
        # decay (the released filter knows only the text encoder's norms), the first epochs can be selected, too, and
        # companions are first ranked by the untrained model, not by raw features.
        "dashfusion": ModelRecipe(
            build_config=_config_builder(DashFusionConfig, takes_lengths=True),
            model_class=DashFusionForSentiment,
            variants=MappingProxyType(
                {
                    "repaired": Variant(train_corruption="clean", selection_drop_rates=(0.0,)),
                    "companions": Variant(train_corruption="clean", selection_drop_rates=(0.0,), companions="drawn"),
                    "reference": Variant(
                        train_corruption="clean",
                        selection_drop_rates=(0.0,),
                        config={"variant": "reference", "dropout": 0.5},
                        companions="published",
                    ),
                }
            ),
            training_defaults=MappingProxyType(
                {
                    "num_train_epochs": 100.0,
                    "learning_rate": 5e-5,
                    "text_learning_rate": 5e-5,
                    "lr_scheduler_type": "linear",
                    "weight_decay": 1e-3,
                    "max_grad_norm": 0.0,
                    "global_batch_size": 16,
                    "early_stopping_patience": None,
                }
            ),
        ),
        # Published: AdamW at one constant rate for everything, no decay on biases and norms, gradients clipped by
        # value, 100 epochs, stopped after 10 without a better validation loss. Ours: one model for all conditions,
        # trained on this package's corruption, where the authors train one model per missing rate; the validation MAE
        # selects; the optimiser keeps its moments, which the released loop loses at each epoch.
        "hme": ModelRecipe(
            build_config=_config_builder(HmeConfig, takes_lengths=True),
            model_class=HmeForSentiment,
            variants=_peer_variants("mix"),
            training_defaults=MappingProxyType(
                {
                    "num_train_epochs": 100.0,
                    "learning_rate": 2e-5,
                    "text_learning_rate": 2e-5,
                    "lr_scheduler_type": "constant",
                    "warmup_steps": 0.0,
                    "weight_decay": 1e-4,
                    "max_grad_norm": 0.0,
                    "max_grad_value": 0.8,
                    "global_batch_size": 256,
                    "early_stopping_patience": 10,
                }
            ),
        ),
        # Published: AdamW with one rate and one decay for everything, 200 epochs, warm-up over the first tenth, then a
        # cosine, no clipping. Ours: the schedule moves by step, not by epoch (whose first has rate 0), biases and norms
        # don't decay, and validation selects one checkpoint where the authors take the best test epoch of each metric.
        "lnln": ModelRecipe(
            build_config=_config_builder(LnlnConfig, takes_lengths=True),
            model_class=LnlnForSentiment,
            variants=_peer_variants("lnln"),
            training_defaults=MappingProxyType(
                {
                    "num_train_epochs": 200.0,
                    "learning_rate": 1e-4,
                    "text_learning_rate": 1e-4,
                    "weight_decay": 1e-4,
                    "max_grad_norm": 0.0,
                    "global_batch_size": 64,
                    "early_stopping_patience": None,
                }
            ),
        ),
        # Published for CH-SIMS: AdamW with one rate and one decay for everything, batches of 64, warm-up over the first
        # tenth, then a cosine, no clipping, and the epoch with the least validation error; the teacher 100 epochs at
        # 2e-4 with a trained text encoder, the student 200 at 1e-4 with a frozen one and a single aligner layer. Ours:
        # the schedule moves by step, not by epoch (whose first has rate 0), biases, norms and positions don't decay,
        # and the first epochs can be selected, too.
        "mmslf": ModelRecipe(
            build_config=_config_builder(MmslfConfig, takes_lengths=True),
            model_class=MmslfForSentiment,
            variants=MappingProxyType(_mmslf_variants("repaired") | _mmslf_variants("reference")),
            training_defaults=MappingProxyType(
                {
                    "num_train_epochs": 200.0,
                    "learning_rate": 1e-4,
                    "text_learning_rate": 1e-4,
                    "weight_decay": 1e-4,
                    "max_grad_norm": 0.0,
                    "global_batch_size": 64,
                    "early_stopping_patience": None,
                }
            ),
        ),
        # Nothing of the published recipe is known: every number is ours, and so are the defaults of the training
        # arguments, which this row leaves alone.
        "midg": ModelRecipe(
            build_config=_config_builder(MidgConfig),
            model_class=MidgForSentiment,
            variants=MappingProxyType(_midg_variants()),
        ),
    }
)


def training_defaults() -> dict[str, Mapping[str, Any]]:
    """Defaults of every recipe by its name, and of its variants by `name/variant`."""
    defaults = {name: recipe.training_defaults for name, recipe in RECIPES.items()}
    for name, recipe in RECIPES.items():
        defaults |= {f"{name}/{key}": variant.training_defaults for key, variant in recipe.variants.items()}
    return defaults


def find_recipe(name: str) -> ModelRecipe:
    """Looks a model up.

    Args:
        name: Name of a row.

    Returns:
        The row.

    Raises:
        ConfigError: If there is no such row.
    """
    if name not in RECIPES:
        raise ConfigError(f"model must be one of {', '.join(RECIPES)}, but is {name!r}; choose one of them")
    return RECIPES[name]
