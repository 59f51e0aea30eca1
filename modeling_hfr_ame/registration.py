"""Registration with transformers' Auto classes that costs nothing until they are used.

`AutoModel.register` needs the class objects, so registering eagerly would load torch for `hfr-ame --help`. Instead
the registration of each Auto class runs right after transformers imports the module that defines it, or at once if
that has happened already.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


def _register_configs(auto: ModuleType) -> None:
    from .configuration_hfr_ame import HfrAmeAudioConfig, HfrAmeConfig, HfrAmeVisionConfig

    for config in (HfrAmeConfig, HfrAmeAudioConfig, HfrAmeVisionConfig):
        auto.AutoConfig.register(config.model_type, config, exist_ok=True)


def _register_models(auto: ModuleType) -> None:
    from .configuration_hfr_ame import HfrAmeConfig
    from .modeling_hfr_ame import HfrAmeForSentiment

    # AutoModel, too, returns the class with the head: its logits are the score that users load the model for.
    for auto_class in (auto.AutoModel, auto.AutoModelForSequenceClassification):
        auto_class.register(HfrAmeConfig, HfrAmeForSentiment, exist_ok=True)


def _register_processors(auto: ModuleType) -> None:
    from .configuration_hfr_ame import HfrAmeConfig
    from .processing_hfr_ame import HfrAmeProcessor

    auto.AutoProcessor.register(HfrAmeConfig, HfrAmeProcessor, exist_ok=True)


def _register_feature_extractors(auto: ModuleType) -> None:
    from .configuration_hfr_ame import HfrAmeConfig
    from .feature_extraction_hfr_ame_audio import HfrAmeAudioFeatureExtractor

    auto.AutoFeatureExtractor.register(HfrAmeConfig, HfrAmeAudioFeatureExtractor, exist_ok=True)


@dataclass(frozen=True)
class _Registration:
    """What registers with one Auto module, and the modules of ours that must not be half loaded at that time."""

    register: Callable[[ModuleType], None]
    own_modules: tuple[str, ...]


_AUTO = "transformers.models.auto."
_REGISTRATIONS = {
    f"{_AUTO}configuration_auto": _Registration(_register_configs, ("configuration_hfr_ame",)),
    f"{_AUTO}modeling_auto": _Registration(_register_models, ("configuration_hfr_ame", "modeling_hfr_ame")),
    f"{_AUTO}processing_auto": _Registration(_register_processors, ("configuration_hfr_ame", "processing_hfr_ame")),
    f"{_AUTO}feature_extraction_auto": _Registration(
        _register_feature_extractors, ("configuration_hfr_ame", "feature_extraction_hfr_ame_audio")
    ),
}
_OWN_MODULES = frozenset(f"{__package__}.{name}" for item in _REGISTRATIONS.values() for name in item.own_modules)

_loaded: set[str] = set()
_registered: set[str] = set()


def _register_what_is_ready() -> None:
    """Registers with every loaded Auto module, except where one of our modules is in the middle of its own import.

    Our modules import transformers, which may import an Auto module on the way; that registration waits until our
    module is complete.
    """
    for name, item in _REGISTRATIONS.items():
        own = [f"{__package__}.{module}" for module in item.own_modules]
        half_loaded = any(module in sys.modules and module not in _loaded for module in own)
        if name in _loaded and name not in _registered and not half_loaded:
            _registered.add(name)
            item.register(sys.modules[name])


class _WatchingFinder(MetaPathFinder):
    """Finds the Auto modules and ours as usual, and looks what can be registered after each one's body has run."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Returns the ordinary spec with a loader that reports back; None for modules that are not watched."""
        if fullname not in _REGISTRATIONS and fullname not in _OWN_MODULES:
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
    """Registers configs, models, processor and feature extractor, now or when their Auto class is imported."""
    if not any(isinstance(finder, _WatchingFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _WatchingFinder())
    _loaded.update(name for name in _REGISTRATIONS if name in sys.modules)
    _register_what_is_ready()
