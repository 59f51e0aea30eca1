"""Registration with transformers' Auto classes and pipelines that costs nothing until they are used.

`AutoModel.register` needs the class objects, so registering eagerly would load torch for `hfr-ame --help`. Instead
the registration of each Auto class runs right after transformers imports the module that defines it, or at once if
that has happened already.
"""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

# Name of each model's files → its configuration and the class with the head. The processor is one for all.
_MODELS = {
    "hfr_ame": ("HfrAmeConfig", "HfrAmeForSentiment"),
    "dashfusion": ("DashFusionConfig", "DashFusionForSentiment"),
    "hme": ("HmeConfig", "HmeForSentiment"),
    "cyin": ("CyinConfig", "CyinForSentiment"),
    "lnln": ("LnlnConfig", "LnlnForSentiment"),
    "midg": ("MidgConfig", "MidgForSentiment"),
    "mmslf": ("MmslfConfig", "MmslfForSentiment"),
}


def _model_configs() -> list[Any]:
    return [_own(f"configuration_{name}", config) for name, (config, _) in _MODELS.items()]


def _own(module: str, name: str) -> Any:
    return getattr(import_module(f".{module}", __package__), name)


def _register_configs(auto: ModuleType) -> None:
    from .configuration_sentiment import HfrAmeAudioConfig, HfrAmeVisionConfig

    for config in (*_model_configs(), HfrAmeAudioConfig, HfrAmeVisionConfig):
        auto.AutoConfig.register(config.model_type, config, exist_ok=True)


def _register_models(auto: ModuleType) -> None:
    for name, (config, model) in _MODELS.items():
        # AutoModel, too, returns the class with the head: its logits are the score that users load the model for.
        for auto_class in (auto.AutoModel, auto.AutoModelForSequenceClassification):
            auto_class.register(_own(f"configuration_{name}", config), _own(f"modeling_{name}", model), exist_ok=True)


def _register_processors(auto: ModuleType) -> None:
    from .processing_hfr_ame import HfrAmeProcessor

    for config in _model_configs():
        auto.AutoProcessor.register(config, HfrAmeProcessor, exist_ok=True)


def _register_feature_extractors(auto: ModuleType) -> None:
    from .feature_extraction_hfr_ame_audio import HfrAmeAudioFeatureExtractor

    for config in _model_configs():
        auto.AutoFeatureExtractor.register(config, HfrAmeAudioFeatureExtractor, exist_ok=True)


def _register_pipeline(pipelines: ModuleType) -> None:
    from transformers import AutoModelForSequenceClassification

    from .pipeline_sentiment import TASK, MultimodalSentimentPipeline

    pipelines.PIPELINE_REGISTRY.register_pipeline(
        TASK,
        pipeline_class=MultimodalSentimentPipeline,
        pt_model=AutoModelForSequenceClassification,
        type="multimodal",
    )


_AUTO = "transformers.models.auto."
_REGISTRATIONS: dict[str, Callable[[ModuleType], None]] = {
    f"{_AUTO}configuration_auto": _register_configs,
    f"{_AUTO}modeling_auto": _register_models,
    f"{_AUTO}processing_auto": _register_processors,
    f"{_AUTO}feature_extraction_auto": _register_feature_extractors,
    "transformers.pipelines": _register_pipeline,
}

_loaded: set[str] = set()
_registered: set[str] = set()


def _is_own_file(fullname: str) -> bool:
    """Whether a module is a flat file of this package, loaded after this one."""
    parent, _, _ = fullname.rpartition(".")
    return parent == __package__ and fullname != __name__


def _register_what_is_ready() -> None:
    """Registers with every loaded Auto module, except while one of our flat files is in the middle of its own import.

    Our files import transformers, which may import an Auto module on the way; that registration waits until our
    file is complete.
    """
    if any(_is_own_file(name) and name not in _loaded for name in list(sys.modules)):
        return
    for name, register in _REGISTRATIONS.items():
        if name in _loaded and name not in _registered:
            _registered.add(name)
            register(sys.modules[name])


class _WatchingFinder(MetaPathFinder):
    """Finds the Auto modules and ours as usual, and looks what can be registered after each one's body has run."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Returns the ordinary spec with a loader that reports back; None for modules that are not watched."""
        if fullname not in _REGISTRATIONS and not _is_own_file(fullname):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_look(module: ModuleType) -> None:
            execute(module)
            _loaded.add(fullname)
            _register_what_is_ready()

        spec.loader.exec_module = execute_and_look  # type: ignore[method-assign]
        return spec


def register_with_auto_classes() -> None:
    """Registers configs, models, processor, feature extractor and pipeline, now or when their place is imported."""
    if not any(isinstance(finder, _WatchingFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _WatchingFinder())
    _loaded.update(name for name in _REGISTRATIONS if name in sys.modules)
    _register_what_is_ready()
