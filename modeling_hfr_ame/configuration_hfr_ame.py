# Copyright 2026 The HFR-AME contributors. All rights reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""Configuration of HFR-AME.

Every design question that the paper's abstract leaves open is a field here, and the first value listed is our default,
so that each of our choices can be switched off and measured. `docs/paper_to_code.md` says which is whose.
"""

from typing import Literal

from huggingface_hub.dataclasses import strict

from .configuration_sentiment import SentimentConfig
from .errors import ConfigError


@strict
class HfrAmeConfig(SentimentConfig):
    """Everything that defines an HFR-AME model.

    Args:
        text_config: Any library text encoder's configuration (dict or object). None: a default BERT.
        audio_config: `HfrAmeAudioConfig` or dict.
        vision_config: `HfrAmeVisionConfig` or dict.
        modalities: Letters of the modalities the model reads: any non-empty subset of `tav`, in that order.
        label_range: Smallest and largest label of the data set. Labels outside are an error.
        metric_scheme: Which published metric definitions fit the labels: `mosi` or `sims`.
        unk_token_id: Token id that stands for an unreadable word; it clears the observed flag. None: no such id.
        hidden_size: Common width D of the three modalities.
        condition_size: Width of the global condition code g.
        unet_channels: Channels of the FM-UNet from the finest to the coarsest level; each further level halves time.
        num_attention_heads: Heads of every attention; divides `hidden_size`, `fusion_size` and every UNet width.
        dropout: Dropout rate of all own layers.
        position_scale: Length of the relative time axis in sinusoid units: a clip runs from 0 to this value in
            every modality, so equal times match whatever the frame rates.
        use_hfr: Whether features are restored at all.
        fill_gaps: Whether restoration starts from audio and vision whose unobserved frames a coarse stage has filled
            from the observed ones and from the other modalities; a part of HFR, and nothing without `use_observed`.
        use_fm_unet: Whether the FM-UNets restore the bands of what the coarse stage has filled; without them that
            stage is the whole restoration.
        hfr_order: `low_to_high`, `high_to_low`, or `parallel` (no band sees another one's restoration).
        detach_lower: Whether gradients stop at the lower bands handed on.
        num_bands: Number K of frequency bands in the network.
        band_layout: `octave` (each band about twice as wide as the one below) or `uniform`.
        band_edges: Explicit inner edges in (0, 1), ascending, K − 1 of them. None: from `band_layout`.
        band_softness: Half-width of the cross-fade between two bands in normalised frequency; 0 = hard bands. Where it
            exceeds an edge (six octave bands start at 1/64), part of the constant leaves the lowest band.
        transform: `dct`, `fft` (real Fourier basis) or `haar` (unbalanced Haar wavelets).
        freq_axis: `time`, or `channel` as in the related public AME module.
        condition: How the other modalities enter: cross-attention and FiLM code, one of them, or `none`.
        condition_on: `others`, or `self` (ablation without cross-modal information).
        align_conditions: Whether the UNet also sees its sources at the relative times of the restored steps; not with
            `condition="none"`.
        share_unet: One FM-UNet per `modality` for all bands, one per modality and band (`none`), or one for `all`.
        severity: `predicted`, `none`, or `oracle` (analysis only: the batch must carry the true severity).
        use_observed: Whether unobserved audio and vision frames are encoded as zeros, and the UNet and the enforcement
            output see which steps were observed and what was received there.
        frame_kernel_size: Width in steps, 1 or 3, of the convolution in the audio and vision encoders.
        teacher_forcing_prob: Probability at the start of training that a condition uses clean lower bands; falls
            to 0 over the first 20 % of training.
        ame: `gate` (per band and channel), `scalar` (per band), `uniform` (all gates 1), `authors_public` (the
            behaviour of the related public module), or `none`.
        ame_context: Whether gates see all modalities (`multimodal`) or only their `own`.
        ame_hidden_size: Width of the gate network.
        ame_sequence_length: Fixed length that `authors_public` is built for (shorter inputs are padded, longer cut).
        fusion: `transformer` or `concat`.
        fusion_size: Width of the fusion block. None: `hidden_size`. Wider values make the parameter-matched control.
        fusion_ffn_size: Width of its feed-forward layers. None: 4 × `fusion_size`.
        num_fusion_layers: Transformer layers of the fusion block.
        task_loss: `l1`, `huber` or `mse`.
        band_loss: `relative` (each band's error divided by its energy), `plain`, or `off`.
        band_loss_trains: `networks`: the FM-UNets read features without a gradient to the encoders, for every loss, and
            what restoration passes on has none in the band loss; the severity estimate and the readouts of lost frames
            keep theirs. `restoration`: only what is passed on has none. `all`: nothing is cut, and the loss may teach
            the encoders to forget what corruption destroys.
        loss_bands: Number of bands in the band loss. None: `num_bands`.
        band_weight: Weight of the band loss.
        band_ramp: Share of training over which `band_weight` rises linearly from 0.
        anchor_weight: Weight of the reconstruction of the raw clean features.
        readout_weight: Weight of the coarse stage's readout of audio and vision from the complementary modalities,
            over `num_bands` and measured as `band_loss` says (`off`: as `plain`). Unlike the band loss it trains the
            encoders of those modalities.
        severity_weight: Weight of the severity regression.
        spectral_weight: Weight of the L1 distance between spectra.
        clean_task_weight: Weight of the task loss of a second forward on the clean twin.
        initializer_range: Standard deviation for embeddings and learned tokens.
    """

    model_type = "hfr_ame"

    hidden_size: int = 64
    frame_kernel_size: Literal[1, 3] = 1
    condition_size: int = 64
    unet_channels: list[int] | tuple[int, ...] = (64, 96, 128)
    num_attention_heads: int = 4
    dropout: float | int = 0.1
    position_scale: float | int = 64.0

    use_hfr: bool = True
    fill_gaps: bool = True
    use_fm_unet: bool = True
    hfr_order: Literal["low_to_high", "high_to_low", "parallel"] = "low_to_high"
    detach_lower: bool = False
    num_bands: int = 3
    band_layout: Literal["octave", "uniform"] = "octave"
    band_edges: list[float] | tuple[float, ...] | None = None
    band_softness: float | int = 0.05
    transform: Literal["dct", "fft", "haar"] = "dct"
    freq_axis: Literal["time", "channel"] = "time"
    condition: Literal["xattn_film", "xattn", "film", "none"] = "xattn_film"
    condition_on: Literal["others", "self"] = "others"
    align_conditions: bool = True
    share_unet: Literal["modality", "none", "all"] = "modality"
    severity: Literal["predicted", "none", "oracle"] = "predicted"
    use_observed: bool = True
    teacher_forcing_prob: float | int = 0.0

    ame: Literal["gate", "scalar", "uniform", "authors_public", "none"] = "gate"
    ame_context: Literal["multimodal", "own"] = "multimodal"
    ame_hidden_size: int = 128
    ame_sequence_length: int = 50

    fusion: Literal["transformer", "concat"] = "transformer"
    fusion_size: int | None = None
    fusion_ffn_size: int | None = None
    num_fusion_layers: int = 2

    task_loss: Literal["l1", "huber", "mse"] = "l1"
    band_loss: Literal["relative", "plain", "off"] = "relative"
    band_loss_trains: Literal["networks", "restoration", "all"] = "networks"
    loss_bands: int | None = None
    band_weight: float | int = 2.0
    band_ramp: float | int = 0.05
    anchor_weight: float | int = 0.1
    readout_weight: float | int = 1.0
    severity_weight: float | int = 0.1
    spectral_weight: float | int = 0.0
    clean_task_weight: float | int = 0.0
    initializer_range: float = 0.02

    @property
    def aligns_conditions(self) -> bool:
        """Whether the FM-UNet gets conditions on its own time axis."""
        return self.align_conditions and self.condition != "none"

    @property
    def fills_gaps(self) -> bool:
        """Whether unobserved frames of audio and vision are filled before the first band is restored."""
        return self.use_hfr and self.fill_gaps and self.use_observed and self.modalities != "t"

    @property
    def restores_bands(self) -> bool:
        """Whether FM-UNets restore the bands."""
        return self.use_hfr and self.use_fm_unet

    @property
    def uses_band_loss(self) -> bool:
        """Whether there is a band loss, and something that it trains."""
        return self.band_loss != "off" and (self.restores_bands or self.band_loss_trains == "all")

    @property
    def trains_readouts(self) -> bool:
        """Whether the loss holds the readouts of the coarse stage against the clean twin."""
        return self.fills_gaps and self.readout_weight > 0

    @property
    def compares_features(self) -> bool:
        """Whether the loss compares restored features with those of the clean twin."""
        return self.uses_band_loss or self.anchor_weight > 0 or self.trains_readouts or self.spectral_weight > 0

    @property
    def needs_clean_twin(self) -> bool:
        """Whether training reads the uncorrupted twin of the inputs."""
        return self.compares_features or self.clean_task_weight > 0 or self.teacher_forcing_prob > 0

    @property
    def reads_severity(self) -> bool:
        """Whether training reads the true severities."""
        return self.severity != "none"

    def validate_bands(self) -> None:
        """Checks band counts, edges and softness."""
        for name in ("num_bands", "loss_bands"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1; found {value}; 1 means no decomposition")
        if self.band_edges is not None:
            edges = list(self.band_edges)
            if len(edges) != self.num_bands - 1 or edges != sorted(set(edges)) or not all(0 < e < 1 for e in edges):
                raise ConfigError(
                    f"band_edges must be num_bands − 1 = {self.num_bands - 1} ascending values in (0, 1); found "
                    f"{edges}; drop band_edges to use band_layout instead"
                )
        if not 0 <= self.band_softness < 0.5:
            raise ConfigError(f"band_softness must lie in [0, 0.5); found {self.band_softness}; 0 gives hard bands")

    def validate_widths(self) -> None:
        """Checks that the heads divide every width."""
        heads = self.num_attention_heads
        widths = {"hidden_size": self.hidden_size, "fusion_size": self.fusion_size or self.hidden_size}
        widths |= {f"unet_channels[{i}]": width for i, width in enumerate(self.unet_channels)}
        for name, width in widths.items():
            if width < 1 or heads < 1 or width % heads:
                raise ConfigError(
                    f"{name} must be a positive multiple of num_attention_heads ({heads}); found {width}; change one"
                )
        if self.hidden_size % 2:
            raise ConfigError(
                f"hidden_size must be even (half sines, half cosines); found {self.hidden_size}; change it"
            )
        for name in ("condition_size", "ame_hidden_size", "ame_sequence_length", "num_fusion_layers", "position_scale"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be positive; found {getattr(self, name)}; see the docstring's default")
        if len(self.unet_channels) < 1:
            raise ConfigError("unet_channels must hold at least one width; found none; the default is (64, 96, 128)")

    def validate_rates(self) -> None:
        """Checks probabilities and loss weights."""
        for name in ("dropout", "band_ramp", "teacher_forcing_prob"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ConfigError(f"{name} must lie in [0, 1]; found {value}; 0 switches it off")
        for term in ("band", "anchor", "readout", "severity", "spectral", "clean_task"):
            name = f"{term}_weight"
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be negative; found {getattr(self, name)}; 0 switches the term off")
