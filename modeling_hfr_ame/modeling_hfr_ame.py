"""HFR-AME for multimodal sentiment analysis with corrupted inputs.

Independent implementation from the abstract of "Frequency Restoration and Modality Enforcement towards
Resisting-corruption Multimodal Sentiment Analysis" (ACM TOMM 21(12):359, 2025) and public work around it; the paper's
body and code were not available.

Received inputs → encoders → filled gaps → band analysis → HFR → AME → fusion → score. In training the clean twin of
each input passes through the same encoders without gradient and serves as the target of the restoration.

Shape legend: B batch, L padded time, K bands, D width, M modalities of the model.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import initialization as init
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from .attention import MultimodalAttention, TransformerLayer, ZeroLinear
from .clean_twin import CleanTarget, as_target, clean_target
from .coarse_restoration import CoarseEstimate, CoarseRestoration, EncodedSequence
from .configuration_hfr_ame import HfrAmeConfig
from .configuration_sentiment import MODALITIES
from .encoders import FeatureEncoder, build_text_model, encode_text
from .errors import InputError
from .frequency import analyse_bands, band_edges
from .frequency_restoration import FrequencyRestoration, ModalityFeatures, SeverityHead
from .fusion import FusionTransformer, RegressionHead, SentimentFusion
from .losses import task_loss, weighted_sum
from .modality_enforcement import build_enforcement
from .modality_inputs import ModalityInput, ModalityReader, content_mask, content_steps
from .modeling_outputs import HfrAmeModelOutput, SentimentOutput
from .repository_checks import CheckedPreTrainedModel
from .restoration_quality import restoration_sums
from .training_loss import loss_weights, restoration_losses, severity_term


class HfrAmePreTrainedModel(CheckedPreTrainedModel):
    """Weight initialisation and the library's switches for all HFR-AME models."""

    config: HfrAmeConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    input_modalities = ("text", "audio", "video")
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False
    _no_split_modules: ClassVar[list[str]] = ["FMUNet", "TransformerLayer"]
    # Bands, gates and losses need float32; a model loaded in half precision keeps only its text encoder there.
    _keep_in_fp32_modules_strict: ClassVar[list[str]] = [
        "encoders",
        "severity_heads",
        "coarse",
        "restoration",
        "enforcement",
        "fusion",
        "head",
        "anchors",
    ]
    _supports_sdpa = True
    _supports_attention_backend = True
    _can_record_outputs: ClassVar[dict[str, OutputRecorder]] = {
        "hidden_states": OutputRecorder(TransformerLayer, index=0),
        "attentions": OutputRecorder(MultimodalAttention, index=1, layer_name="transformer"),
    }

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        std = self.config.initializer_range
        if isinstance(module, nn.Linear):
            if isinstance(module, ZeroLinear):
                init.zeros_(module.weight)
            else:
                init.xavier_uniform_(module.weight)
        elif isinstance(module, FusionTransformer):
            init.normal_(module.query, std=std)
            init.normal_(module.type_embedding, std=std)
        elif isinstance(module, nn.ParameterDict):  # the priors of the coarse stage, which has no parameter of its own
            for prior in module.values():
                init.zeros_(prior)
        elif isinstance(module, FrequencyRestoration):
            if module.uses_tokens:
                init.normal_(module.modality_embedding, std=std)
            if module.uses_code:
                init.normal_(module.band_embedding, std=std)


class HfrAmeModel(HfrAmePreTrainedModel):
    """Encoders, HFR, AME and fusion; everything but the regression head."""

    def __init__(self, config: HfrAmeConfig) -> None:
        super().__init__(config)
        names = config.modality_names
        self.text_model: Any = build_text_model(config.text_config) if "text" in names else None
        widths = config.input_sizes
        self.encoders = nn.ModuleDict(
            {
                name: FeatureEncoder(widths[name], config.hidden_size, False)
                if name == "text"
                else FeatureEncoder(widths[name], config.hidden_size, True, config.frame_kernel_size)
                for name in names
            }
        )
        self.severity_heads = nn.ModuleDict(
            {name: SeverityHead(config) for name in names} if config.severity == "predicted" else {}
        )
        self.coarse = CoarseRestoration(config) if config.fills_gaps else None
        self.restoration = FrequencyRestoration(config) if config.restores_bands else None
        self.enforcement = build_enforcement(config)
        self.fusion = SentimentFusion(config)
        self.training_progress = 1.0
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The text encoder's token embeddings."""
        if self.text_model is None:
            raise InputError("token embeddings exist only in a model that reads text; found modalities without 't'")
        return self.text_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces the text encoder's token embeddings."""
        if self.text_model is None:
            raise InputError("token embeddings exist only in a model that reads text; found modalities without 't'")
        self.text_model.set_input_embeddings(value)

    @property
    def _edges(self) -> tuple[float, ...]:
        return tuple(self.config.band_edges or band_edges(self.config.num_bands, self.config.band_layout))

    def _observed(self, name: str, item: ModalityInput, steps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if name == "text" and not item.values.is_floating_point():
            unknown = self.config.unk_token_id
            seen = mask if unknown is None else content_steps(item.values) != unknown
        else:
            seen = (steps != 0).any(-1)
        return (seen & mask).float()

    def _encoded(self, name: str, steps: torch.Tensor, mask: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
        """(B, L, D) features; a frame that wasn't observed is zero, as padding is, not a constant that looks like data.

        A word that could not be read keeps its features: the text encoder has filled them from its context.
        """
        states = self.encoders[name](steps, mask)
        return states * observed.unsqueeze(-1) if self.config.use_observed and name != "text" else states

    def encode(
        self, inputs: dict[str, ModalityInput], token_type_ids: torch.Tensor | None = None
    ) -> tuple[dict[str, ModalityFeatures], torch.Tensor | None, torch.Tensor | None]:
        """Encodes received inputs, splits them into bands, and fills unobserved audio and vision frames.

        Args:
            inputs: From `ModalityReader.read`.
            token_type_ids: (B, Lt) for text encoders that use them. None: the encoder's own default.

        Returns:
            Features per modality, the (B, H) sentence state (None without text), and the text states (B, Lt, H).
        """
        features, sentence, text_states = {}, None, None
        for name, item in inputs.items():
            if name == "text":
                text_states = encode_text(self.text_model, item, token_type_ids)
                sentence = text_states[:, 0]
                steps, mask = content_steps(text_states), content_mask(item.mask)
            else:
                steps, mask = item.frames(), item.mask
            observed = self._observed(name, item, steps, mask)
            states = self._encoded(name, steps, mask, observed)
            analysis = analyse_bands(
                mask,
                self.config.hidden_size,
                self._edges,
                self.config.band_softness,
                self.config.transform,
                self.config.freq_axis,
            )
            bands = analysis.split(states)
            features[name] = ModalityFeatures(states, mask, item.present, observed, analysis, bands, start=bands)
        for name, estimate in self._coarse(features).items():
            features[name].coarse = estimate
            features[name].start = features[name].analysis.split(estimate.filled)
        return features, sentence, text_states

    def _coarse(self, features: Mapping[str, ModalityFeatures | EncodedSequence]) -> dict[str, CoarseEstimate]:
        """Filled audio and vision, for the modalities that have gaps to be filled; empty without that stage."""
        if self.coarse is None:
            return {}
        return self.coarse({name: EncodedSequence(f.states, f.observed, f.mask) for name, f in features.items()})

    def encode_clean(
        self,
        clean: dict[str, ModalityInput],
        features: dict[str, ModalityFeatures],
        text_index: torch.Tensor | None = None,
    ) -> dict[str, CleanTarget]:
        """Encodes the clean twin without gradient and dropout, on the grid of the received sequences.

        Args:
            clean: Clean inputs.
            features: Received features, for their grid.
            text_index: (B, Lt) clean position of each received token, −1 for none. None: same positions.

        Returns:
            One target per modality in `clean`; all its steps are masked where either side lacks the modality.
        """
        # Token positions count the leading special token, content steps don't.
        index = {} if text_index is None else {"text": content_steps(text_index) - 1}
        twins: dict[str, CleanTarget] = {}
        observed: dict[str, torch.Tensor] = {}
        with as_target(self):
            for name, item in clean.items():
                if name == "text":
                    raw, mask = content_steps(encode_text(self.text_model, item)), content_mask(item.mask)
                else:
                    raw, mask = item.frames(), item.mask
                observed[name] = self._observed(name, item, raw, mask)
                states = self._encoded(name, raw, mask, observed[name])
                twins[name] = CleanTarget(states, states, raw, mask, known=mask)
            sequences = {name: EncodedSequence(twin.states, observed[name], twin.mask) for name, twin in twins.items()}
            # Clean frames can be unobserved as well (no face was found): both sides fill them alike.
            for name, estimate in self._coarse(sequences).items():
                twins[name].states, twins[name].known = estimate.filled, observed[name] > 0
            return {name: clean_target(twin, features[name].mask, index.get(name)) for name, twin in twins.items()}

    def _severity(self, features: dict[str, ModalityFeatures], given: torch.Tensor | None) -> torch.Tensor:
        first = next(iter(features.values()))
        if self.config.severity == "oracle" and given is None:
            raise InputError("severity='oracle' needs the batch's true severity; found none; pass severity (batch, 3)")
        columns = []
        for column, name in enumerate(MODALITIES):
            if name not in features:
                columns.append(torch.ones(len(first.present), device=first.present.device))
            elif self.config.severity == "predicted":
                columns.append(self.severity_heads[name](features[name]))
            elif self.config.severity == "oracle" and given is not None:
                columns.append(torch.where(features[name].present, given[:, column].float(), 1.0))
            else:
                columns.append(torch.zeros(len(first.present), device=first.present.device))
        return torch.stack(columns, dim=-1)

    def _teacher_rows(self, batch_size: int, device: torch.device) -> torch.Tensor | None:
        rate = self.config.teacher_forcing_prob * max(0.0, 1 - self.training_progress / 0.2)
        return torch.rand(batch_size, device=device) < rate if self.training and rate > 0 else None

    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        inputs: dict[str, ModalityInput],
        token_type_ids: torch.Tensor | None = None,
        severity: torch.Tensor | None = None,
        clean: dict[str, ModalityInput] | None = None,
        clean_text_index: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> HfrAmeModelOutput:
        """Runs encoders, restoration, enforcement and fusion on checked inputs.

        Args:
            inputs: From `ModalityReader.read`.
            token_type_ids: (B, Lt) for text encoders that use them.
            severity: (B, 3) true severities; read only with `severity="oracle"`.
            clean: Clean twin; read only for teacher forcing in training.
            clean_text_index: (B, Lt) clean position of each received token.
        """
        features, sentence, _ = self.encode(inputs, token_type_ids)
        levels = self._severity(features, severity)
        restored = {name: item.start for name, item in features.items()}
        if self.restoration is not None:
            rows, clean_bands = self._teacher_rows(len(levels), levels.device), None
            if rows is not None and clean is not None:
                targets = self.encode_clean(clean, features, clean_text_index)
                clean_bands = {name: features[name].analysis.split(target.states) for name, target in targets.items()}
            restored = self.restoration(features, levels, clean_bands, rows)
        enforced, gates = self.enforcement(restored, features, levels)
        fused = self.fusion(enforced, features, sentence)
        return HfrAmeModelOutput(
            pooler_output=fused, severity=levels, features=features, restored=restored, gates=gates
        )


class HfrAmeForSentiment(HfrAmePreTrainedModel):
    """HFR-AME with its regression head: the class that `AutoModel` returns."""

    def __init__(self, config: HfrAmeConfig) -> None:
        super().__init__(config)
        self.model = HfrAmeModel(config)
        self.head = RegressionHead(config, self.model.fusion.output_size)
        anchored = config.input_sizes if config.anchor_weight > 0 else {}
        self.anchors = nn.ModuleDict({name: nn.Linear(config.hidden_size, size) for name, size in anchored.items()})
        self.reader = ModalityReader(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The text encoder's token embeddings."""
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces the text encoder's token embeddings."""
        self.model.set_input_embeddings(value)

    def set_training_progress(self, fraction: float) -> None:
        """Tells how much of training is done, for the band-loss ramp and teacher forcing.

        Args:
            fraction: 0 at the first step, 1 at the end. Without this call the terms have their final weights.
        """
        self.model.training_progress = float(fraction)

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.LongTensor | None = None,
        text_states: torch.FloatTensor | None = None,
        audio_values: torch.FloatTensor | None = None,
        audio_mask: torch.Tensor | None = None,
        vision_values: torch.FloatTensor | None = None,
        vision_mask: torch.Tensor | None = None,
        modality_mask: torch.Tensor | None = None,
        clean_input_ids: torch.LongTensor | None = None,
        clean_attention_mask: torch.Tensor | None = None,
        clean_text_states: torch.FloatTensor | None = None,
        clean_audio_values: torch.FloatTensor | None = None,
        clean_audio_mask: torch.Tensor | None = None,
        clean_vision_values: torch.FloatTensor | None = None,
        clean_vision_mask: torch.Tensor | None = None,
        clean_text_index: torch.LongTensor | None = None,
        severity: torch.FloatTensor | None = None,
        labels: torch.FloatTensor | None = None,
        output_losses: bool = False,
        output_severity: bool = False,
        output_restored: bool = False,
        output_gates: bool = False,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> SentimentOutput | tuple:
        """Scores a batch; in training also computes the complete loss.

        Args: the batch contract of `docs/architecture.md` (all shapes there). `clean_*` and `severity` are read only in
            training, except that a model with `severity="oracle"` always reads `severity`.
            output_losses, output_severity, output_restored, output_gates, output_hidden_states, output_attentions: what
            to return besides the logits.

        Returns:
            `SentimentOutput`; `logits` is (B, 1) in the label range, not clipped.

        Raises:
            InputError: An input breaks the batch contract.
        """
        received = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "text_states": text_states,
            "audio_values": audio_values,
            "audio_mask": audio_mask,
            "vision_values": vision_values,
            "vision_mask": vision_mask,
            "modality_mask": modality_mask,
            # A true severity is a training input; only the oracle analysis reads it in eval mode.
            "severity": severity if self.training or self.config.severity == "oracle" else None,
            "labels": labels,
        }
        clean = {
            "clean_input_ids": clean_input_ids,
            "clean_attention_mask": clean_attention_mask,
            "clean_text_states": clean_text_states,
            "clean_audio_values": clean_audio_values,
            "clean_audio_mask": clean_audio_mask,
            "clean_vision_values": clean_vision_values,
            "clean_vision_mask": clean_vision_mask,
        }
        inputs = self.reader.read(received)
        clean_inputs = self._read_clean(clean) if self.training and labels is not None else None
        output = self.model(
            inputs,
            token_type_ids=token_type_ids,
            severity=severity if self.config.severity == "oracle" else None,
            clean=clean_inputs,
            clean_text_index=clean_text_index,
            output_hidden_states=self.config.output_hidden_states
            if output_hidden_states is None
            else output_hidden_states,
            output_attentions=self.config.output_attentions if output_attentions is None else output_attentions,
            return_dict=True,
        )
        logits = self.head(output.pooler_output)
        loss, losses = None, None
        if labels is not None:
            losses = {"task": task_loss(logits, labels, self.config.task_loss)}
            if self.training:
                losses |= self._auxiliary_losses(output, clean_inputs, clean_text_index, severity, labels)
            loss = weighted_sum(losses, loss_weights(self.config, self.model.training_progress))
        result = SentimentOutput(
            loss=loss,
            logits=logits,
            losses=losses if output_losses else None,
            severity=output.severity if output_severity else None,
            restored=self._restored(output) if output_restored else None,
            gates=output.gates if output_gates else None,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )
        as_dict = self.config.return_dict if return_dict is None else return_dict
        return result if as_dict else result.to_tuple()

    @torch.no_grad()
    def measure_restoration(self, **batch: torch.Tensor) -> dict[str, dict[str, torch.Tensor]]:
        """Compares received and restored features of a corrupted batch with its clean twin.

        It reads the clean twin and produces no prediction; see `restore_beside_clean`.

        Args:
            batch: The batch contract with `clean_*` and, where text was corrupted, `clean_text_index`.

        Returns:
            Per modality, sums over the batch: `error_before`, `error_after` and `energy` (K,), the squared distance of
            the received and of the restored bands to the clean ones and the energy of the latter; `gates` (K,), the
            summed mean gate of each present row; `rows` (), the number of present rows.

        Raises:
            InputError: The batch has no clean twin or breaks the batch contract.
        """
        output, targets = self.restore_beside_clean(**batch)
        return {
            name: restoration_sums(features, output.restored[name], targets[name], output.gates[:, index])
            for index, (name, features) in enumerate(output.features.items())
        }

    @torch.no_grad()
    def restore_beside_clean(self, **batch: torch.Tensor) -> tuple[HfrAmeModelOutput, dict[str, CleanTarget]]:
        """Gives the received and restored features of a corrupted batch beside those of its clean twin.

        Together with `measure_restoration`, which sums over what this returns, this is the one place outside training
        that reads the clean twin; it produces no prediction.

        Args:
            batch: As for `measure_restoration`.

        Returns:
            The output, whose `features` and `restored` count here, and the clean twin on the received time grid.

        Raises:
            InputError: The batch has no clean twin or breaks the batch contract.
        """
        inputs = self.reader.read(batch)
        clean = self.reader.read(batch, prefix="clean_")
        output = self.model(inputs, severity=batch.get("severity"), return_dict=True)
        return output, self.model.encode_clean(clean, output.features, batch.get("clean_text_index"))

    def _read_clean(self, clean: dict[str, torch.Tensor | None]) -> dict[str, ModalityInput] | None:
        given = any(clean[f"clean_{name}"] is not None for name in ("input_ids", "text_states")) or any(
            clean[f"clean_{name}_values"] is not None for name in ("audio", "vision")
        )
        return self.reader.read(clean, prefix="clean_") if given and self.config.needs_clean_twin else None

    def _auxiliary_losses(
        self,
        output: HfrAmeModelOutput,
        clean: dict[str, ModalityInput] | None,
        text_index: torch.Tensor | None,
        severity: torch.Tensor | None,
        labels: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """The unweighted terms that only training has."""
        config = self.config
        losses: dict[str, torch.Tensor] = {}
        if severity is not None and config.severity == "predicted":
            losses["severity"] = severity_term(output.severity, severity, output.features)
        if clean is None:
            return losses
        if config.clean_task_weight > 0:
            # What a model with oracle severity is told about intact input.
            untouched = None if severity is None else torch.zeros_like(severity)
            clean_logits = self.head(self.model(clean, severity=untouched, return_dict=True).pooler_output)
            losses["clean_task"] = task_loss(clean_logits, labels, config.task_loss)
        if not config.compares_features:
            return losses
        targets = self.model.encode_clean(clean, output.features, text_index)
        return losses | restoration_losses(config, output.features, output.restored, targets, self.anchors)

    def _restored(self, output: HfrAmeModelOutput) -> dict[str, dict[str, torch.Tensor]]:
        return {
            name: {"bands": output.restored[name], "input_bands": item.bands, "mask": item.mask}
            for name, item in output.features.items()
        }
