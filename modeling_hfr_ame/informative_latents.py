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
"""What CyIN's latent space is made of: alignment, bottlenecks, decoders, translators and what training draws.

Shape legend: B batch, L padded time, T aligned time, D latent width.
"""

from itertools import pairwise

import torch
from torch import nn

from .configuration_cyin import CyinConfig

# Choice of the mixing stage → whether a modality's own latent, its first and its second translation are fused.
MIXING_CHOICES = ((False, True, False), (False, False, True), (False, True, True), (True, False, False))


def pool_neighbours(frames: torch.Tensor, mask: torch.Tensor, size: int) -> torch.Tensor:
    """Averages the valid frames of each row over equal parts of its clip.

    Args:
        frames: (B, L, D).
        mask: (B, L) bool valid prefix; step i of n covers the time from i / n to (i + 1) / n.
        size: Number of parts T; more parts than frames repeat frames.

    Returns:
        (B, T, D); zero in rows without valid frames.
    """
    length = mask.sum(-1).view(-1, 1, 1)
    edge = torch.arange(size + 1, device=mask.device, dtype=torch.float32).view(1, -1, 1) * length / size
    start = torch.arange(mask.shape[1], device=mask.device, dtype=torch.float32)
    overlap = (torch.minimum(edge[:, 1:], start + 1) - torch.maximum(edge[:, :-1], start)).clamp(min=0)
    return overlap / overlap.sum(-1, keepdim=True).clamp(min=1e-6) @ frames


def pool_strided(frames: torch.Tensor, size: int) -> torch.Tensor:
    """The released alignment: frames T apart are averaged, after the last one was repeated up to a multiple of T.

    Args:
        frames: (B, L, D).
        size: Number of steps T.

    Returns:
        (B, T, D).
    """
    missing = -frames.shape[1] % size
    frames = torch.cat([frames, frames[:, -1:].expand(-1, missing, -1)], dim=1)
    return frames.unflatten(1, (-1, size)).mean(1)


class LatentNoise(nn.Module):
    """Standard normal noise; a module, so that a comparison can put recorded noise in its place."""

    def forward(self, like: torch.Tensor, name: str) -> torch.Tensor:
        """Draws noise.

        Args:
            like: (B, T, D) gives shape, type and device.
            name: What it is for, for whoever replaces it: `text`, or `text_to_audio`.
        """
        return torch.randn_like(like)


class MixingChoice(nn.Module):
    """Draws which latents stand for each modality in the mixing stage; a module for the same reason.

    Args:
        per_row: Whether every row of the batch gets its own draw.
    """

    def __init__(self, per_row: bool) -> None:
        super().__init__()
        self.per_row = per_row

    def forward(self, present: torch.Tensor) -> torch.Tensor:
        """Draws a choice for each element of (B, 3): one of two translations, both, or the modality's own latent."""
        rows = len(present) if self.per_row else 1
        return torch.randint(len(MIXING_CHOICES), (rows, present.shape[1]), device=present.device).expand_as(present)


class Bottleneck(nn.Module):
    """Mean and log-variance of a modality's latent, step by step.

    Args:
        config: The model's configuration.
        in_size: Width of the aligned features.
    """

    def __init__(self, config: CyinConfig, in_size: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(in_size, config.bottleneck_hidden_size)
        self.output = nn.Linear(config.bottleneck_hidden_size, 2 * config.bottleneck_size)

    def forward(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps (B, T, in_size) to mean and log-variance, (B, T, D) float32 each."""
        mean, log_variance = self.output(torch.relu(self.hidden(states))).float().chunk(2, dim=-1)
        return mean, log_variance


class Decoder(nn.Module):
    """Decodes a modality's aligned features from any modality's latent.

    Args:
        config: The model's configuration.
        out_size: Width of the features.
    """

    def __init__(self, config: CyinConfig, out_size: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(config.bottleneck_size, config.bottleneck_hidden_size)
        self.output = nn.Linear(config.bottleneck_hidden_size, out_size)
        self.is_bounded = not config.is_repaired

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """Maps (B, T, D) to (B, T, out_size)."""
        decoded = self.output(torch.relu(self.hidden(latent)))
        return decoded.sigmoid() if self.is_bounded else decoded


class TranslatorBlock(nn.Module):
    """Convolutional autoencoder over time, without biases.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: CyinConfig) -> None:
        super().__init__()
        kernel = config.translator_kernel_size
        widths = [config.bottleneck_size, *config.translator_sizes]

        def convolution(in_size: int, out_size: int) -> nn.Conv1d:
            return nn.Conv1d(in_size, out_size, kernel, padding=kernel // 2, bias=False)

        self.encoder = nn.ModuleList(convolution(*pair) for pair in pairwise(widths))
        inner = widths[:0:-1]
        self.decoder = nn.ModuleList(convolution(*pair) for pair in pairwise(inner))
        self.decoder.append(nn.Conv1d(inner[-1], widths[0], 1, bias=False))

    def forward(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps (B, D, T) to (B, D, T) and the inner code (B, smallest width, T), which has no activation."""
        code = self.encoder[0](states)
        for layer in self.encoder[1:]:
            code = layer(nn.functional.leaky_relu(code))
        decoded = self.decoder[0](code)
        for layer in self.decoder[1:]:
            decoded = layer(torch.relu(decoded))
        return decoded, code


class Translator(nn.Module):
    """Cascade of residual autoencoders between the latents of two modalities, the same in both directions.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: CyinConfig) -> None:
        super().__init__()
        size, kernel = config.bottleneck_size, config.translator_kernel_size
        self.blocks = nn.ModuleList(TranslatorBlock(config) for _ in range(config.num_translator_blocks))
        self.transition_in = nn.Conv1d(size, size, kernel, padding=kernel // 2, bias=False)
        self.transition_out = nn.Conv1d(size, size, kernel, padding=kernel // 2, bias=False)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """Maps (B, T, D) latents of one modality to those of the other."""
        states = latent.transpose(1, 2)
        change = torch.zeros_like(states)
        for block in self.blocks:
            states = states + change
            change, _ = block(states)
        states = self.transition_out(torch.relu(self.transition_in(states + change)))
        return states.transpose(1, 2)
