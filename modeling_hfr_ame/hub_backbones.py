"""Frozen Hub models that features are made with, named as `hf:<id or path>` and pinned by a hash.

- The model runs on the CPU in float32, so that a clip has the same features wherever it is read.
- An extractor's saved settings hold a hash of weights and preprocessing. Where another model stands under the name
  later, that is an error, not other numbers.
- No remote code is run, and only safetensors are read.

Source: our choice. The models: `AutoModel`, `AutoImageProcessor` and `AutoFeatureExtractor` of transformers.
"""

import hashlib
import json
from functools import lru_cache
from typing import Any

import torch

from .errors import ConfigError

NATIVE_BACKEND = "native"
_PREFIX = "hf:"
# Entries of a preprocessing's JSON that change nothing.
_NO_SETTINGS = ("transformers_version", "_processor_class", "processor_class", "_commit_hash", "name_or_path")


class HubModel:
    """A frozen model with its preprocessing.

    Args:
        modality: `audio` or `vision`.
        name: Hub id or path.

    Attributes:
        feature_size: Width of its states.
        sha256: Hash of weights and preprocessing.

    Raises:
        ConfigError: There is no such model, or it isn't one of the modality.
    """

    def __init__(self, modality: str, name: str) -> None:
        from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoModel

        kind = AutoImageProcessor if modality == "vision" else AutoFeatureExtractor
        # Named, because the default of image processors needs torchvision, which this project does without.
        options = {"backend": "pil"} if modality == "vision" else {}
        try:
            self.preprocessing = kind.from_pretrained(name, trust_remote_code=False, **options)
            whole = AutoModel.from_pretrained(
                name, trust_remote_code=False, use_safetensors=True, dtype=torch.float32, attn_implementation="eager"
            )
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise ConfigError(
                f"{modality}_backend must name a {modality} model with preprocessing that transformers loads, found "
                f"{_PREFIX}{name}: {error!r:.300}; check the name, or use {NATIVE_BACKEND}"
            ) from error
        self.name, self.modality = name, modality
        self.model = _tower(whole, modality).eval().requires_grad_(False)
        config = self.model.config
        self.feature_size = int(
            getattr(config, "hidden_size", 0) or getattr(config, "d_model", 0) or _last_width(config)
        )
        self.sha256 = _fingerprint(self.model, self.preprocessing)
        main_input = self.model.main_input_name
        wanted = ("pixel_values",) if modality == "vision" else ("input_values", "input_features")
        if main_input not in wanted or not self.feature_size:
            raise ConfigError(
                f"{modality}_backend must be a model that takes {' or '.join(wanted)}, {_PREFIX}{name} takes "
                f"{main_input}; name another one"
            )

    def states(self, **inputs: Any) -> torch.Tensor:
        """Runs the model; the last states (B, n, D)."""
        with torch.inference_mode():
            states = self.model(**inputs).last_hidden_state
        # Convolutional networks give maps (B, D, h, w).
        return states.flatten(2).transpose(1, 2) if states.ndim == 4 else states


def backend_name(backend: str) -> str | None:
    """Gives the model that a backend names; None for the native features.

    Raises:
        ConfigError: It is neither.
    """
    if backend == NATIVE_BACKEND:
        return None
    if not backend.startswith(_PREFIX) or len(backend) == len(_PREFIX):
        raise ConfigError(
            f"a feature backend is {NATIVE_BACKEND!r} or 'hf:<id or path>', found {backend!r}; correct the name"
        )
    return backend[len(_PREFIX) :]


@lru_cache(maxsize=4)
def load_hub_model(modality: str, name: str) -> HubModel:
    """Loads a model once per process; see `HubModel`."""
    return HubModel(modality, name)


def pinned_hub_model(modality: str, backend: str, sha256: str | None) -> HubModel:
    """Loads the model of a backend and compares it with what was pinned.

    Raises:
        ConfigError: Its weights or its preprocessing are others.
    """
    model = load_hub_model(modality, str(backend_name(backend)))
    if sha256 is not None and model.sha256 != sha256:
        raise ConfigError(
            f"{modality}_backend {backend} must be the model that the features were made with (sha256 "
            f"{sha256[:16]}…), found another under that name ({model.sha256[:16]}…); restore it, or prepare and train "
            "again"
        )
    return model


def _tower(model: Any, modality: str) -> Any:
    """Takes the part of a model that reads the modality: CLIP's vision model, Whisper's encoder."""
    part = getattr(model, f"{modality}_model", None)
    if part is None and getattr(model.config, "is_encoder_decoder", False):
        part = model.get_encoder()
        part.main_input_name = model.main_input_name
    return model if part is None else part


def _last_width(config: Any) -> int:
    sizes = getattr(config, "hidden_sizes", None) or (0,)
    return int(sizes[-1])


def _fingerprint(model: Any, preprocessing: Any) -> str:
    settings = {key: value for key, value in preprocessing.to_dict().items() if key not in _NO_SETTINGS}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, values in sorted(model.state_dict().items()):
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.contiguous().flatten().view(torch.uint8).numpy().tobytes() if values.numel() else b"")
    return digest.hexdigest()
