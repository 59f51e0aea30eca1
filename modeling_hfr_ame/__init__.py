"""HFR-AME: robust multimodal sentiment analysis on the Hugging Face stack.

Importing this package makes its models known to the Auto classes, so `AutoModel.from_pretrained` works without remote
code. The import itself is light: torch, transformers and the model code load when they are first used.
"""

from importlib import import_module
from typing import Any

from .registration import register_with_auto_classes

__version__ = "0.1.0"

_EXPORTS = {
    "CyinConfig": "configuration_cyin",
    "CyinForSentiment": "modeling_cyin",
    "HfrAmeAudioConfig": "configuration_sentiment",
    "HfrAmeAudioFeatureExtractor": "feature_extraction_hfr_ame_audio",
    "HfrAmeConfig": "configuration_hfr_ame",
    "HfrAmeForSentiment": "modeling_hfr_ame",
    "HfrAmeModel": "modeling_hfr_ame",
    "HfrAmePreTrainedModel": "modeling_hfr_ame",
    "HfrAmeProcessor": "processing_hfr_ame",
    "HfrAmeVisionConfig": "configuration_sentiment",
    "HfrAmeVisionFeatureExtractor": "feature_extraction_hfr_ame_vision",
    "DashFusionConfig": "configuration_dashfusion",
    "DashFusionForSentiment": "modeling_dashfusion",
    "HmeConfig": "configuration_hme",
    "HmeForSentiment": "modeling_hme",
    "LnlnConfig": "configuration_lnln",
    "LnlnForSentiment": "modeling_lnln",
    "MidgConfig": "configuration_midg",
    "MidgForSentiment": "modeling_midg",
    "MmslfConfig": "configuration_mmslf",
    "MmslfForSentiment": "modeling_mmslf",
    "MultimodalSentimentPipeline": "pipeline_sentiment",
    "SentimentOutput": "modeling_outputs",
    "HfrAmeError": "errors",
    "ConfigError": "errors",
    "DataError": "errors",
    "InputError": "errors",
    "MediaError": "errors",
}

__all__ = ["__version__", *_EXPORTS]

register_with_auto_classes()


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(f".{_EXPORTS[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
