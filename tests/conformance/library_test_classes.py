"""The library's test classes, filled in for our models, feature extractors and processor.

Imported only where the package `library_tests` is on the module path: by `run_library_tests.py`.
"""

import re
import unittest
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from library_tests import test_modeling_common, test_processing_common
from library_tests.test_configuration_common import ConfigTester
from library_tests.test_modeling_common import ModelTesterMixin
from library_tests.test_processing_common import ProcessorTesterMixin
from library_tests.test_sequence_feature_extraction_common import SequenceFeatureExtractionTestMixin

from modeling_hfr_ame import HfrAmeAudioFeatureExtractor, HfrAmeProcessor, HfrAmeVisionFeatureExtractor
from modeling_hfr_ame.data.tokenizer_training import train_wordpiece_tokenizer
from tests.conformance.model_cases import BATCH_SIZE, CASES, SEQUENCE_LENGTH, ModelCase
from tests.conformance.skips import Deviation, deviations_of

_set_every_epsilon = test_modeling_common.set_config_for_less_flaky_test


def _set_declared_epsilons(config: Any) -> None:
    """Sets the library's seven names for an epsilon where they exist: our configurations refuse unknown keys."""
    _set_every_epsilon(config)
    for part in (config, getattr(config, "audio_config", None), getattr(config, "vision_config", None)):
        if part is not None:
            for name in [name for name in vars(part) if "eps" in name and name not in type(part).__dataclass_fields__]:
                delattr(part, name)


test_modeling_common.set_config_for_less_flaky_test = _set_declared_epsilons

# The library finds the class that loads a part by the part's name; it has no name for a second feature extractor.
_part_classes = test_processing_common.MODALITY_TO_AUTOPROCESSOR_MAPPING
test_processing_common.MODALITY_TO_AUTOPROCESSOR_MAPPING = {
    **{name: _part_classes[name] for name in _part_classes.keys()},  # noqa: SIM118  a dict that fills itself is empty
    "vision_feature_extractor": HfrAmeVisionFeatureExtractor,
}


class ModelTester:
    """What the library asks of a model's own test file: sizes, a small configuration and a batch."""

    is_training = True
    batch_size = BATCH_SIZE
    seq_length = SEQUENCE_LENGTH

    def __init__(self, case: ModelCase, test_name: str) -> None:
        self.case = case
        self.fields = case.config_of_test.get(test_name, {})
        config = self.get_config()
        self.hidden_size = case.recorded_size or config.hidden_size
        self.num_attention_heads = config.num_attention_heads
        self.num_hidden_layers = case.num_recorded_layers
        self.encoder_seq_length = self.key_length = case.num_recorded_steps

    def get_config(self) -> Any:
        return self.case.build_config(**self.fields)

    def prepare_config_and_inputs_for_common(self) -> tuple[Any, dict[str, Any]]:
        return self.get_config(), self.case.make_inputs()


class _ModelTest(ModelTesterMixin):
    """Base of the model tests; `case` and `all_model_classes` are set by `_model_test`."""

    case: ModelCase
    additional_model_inputs = ("audio_values", "vision_values")
    _is_composite = True

    def setUp(self) -> None:
        self.model_tester = ModelTester(self.case, self._testMethodName)

    def _prepare_for_class(
        self, inputs_dict: dict[str, Any], model_class: type, return_labels: bool = False
    ) -> dict[str, Any]:
        """Adds targets, which the library's table of tasks doesn't know for a task of our own."""
        inputs = super()._prepare_for_class(inputs_dict, model_class, return_labels=return_labels)
        return inputs | self.case.make_targets() if return_labels else inputs


def _model_test(case: ModelCase) -> type[unittest.TestCase]:
    # The library looks up here which classes have no loss; no test builds ours.
    test_modeling_common.MODEL_MAPPING_NAMES[case.config_class.model_type] = f"{case.name}Model"
    fields = {"case": case, "all_model_classes": (case.model_class,)}
    return type(f"{case.name}ModelTest", (_ModelTest, unittest.TestCase), fields)


def _config_test(case: ModelCase) -> type[unittest.TestCase]:
    def test_config(self: unittest.TestCase) -> None:
        ConfigTester(self, config_class=case.config_class, has_text_modality=False).run_common_tests()

    def test_part_configs(self: unittest.TestCase) -> None:
        for config_class, size in case.part_configs.items():
            ConfigTester(
                self, config_class=config_class, has_text_modality=False, common_properties=[size]
            ).run_common_tests()

    tests = {"setUp": lambda self: setattr(self, "model_tester", ModelTester(case, self._testMethodName))}
    tests |= {"test_config": test_config} | ({"test_part_configs": test_part_configs} if case.part_configs else {})
    return type(f"{case.name}ConfigTest", (unittest.TestCase,), tests)


class FrameExtractorTester:
    """Clips of precomputed frames of rising length."""

    batch_size = 5
    min_seq_length = 4
    max_seq_length = 24
    seq_length_diff = 5
    feature_size = 6

    def prepare_feat_extract_dict(self) -> dict[str, Any]:
        return {
            "feature_size": self.feature_size,
            "feature_mean": [0.5] * self.feature_size,
            "feature_std": [2.0] * self.feature_size,
            "clip_value": 4.0,
        }

    def prepare_inputs_for_common(self, equal_length: bool = False, numpify: bool = False) -> list[Any]:
        lengths = [
            self.max_seq_length if equal_length else self.min_seq_length + index * self.seq_length_diff
            for index in range(self.batch_size)
        ]
        generator = np.random.default_rng(0)
        clips = [generator.standard_normal((length, self.feature_size)).astype(np.float32) for length in lengths]
        return clips if numpify else [clip.tolist() for clip in clips]


class AudioFeatureExtractorTest(SequenceFeatureExtractionTestMixin, unittest.TestCase):
    feature_extraction_class = HfrAmeAudioFeatureExtractor
    feat_extract_tester = FrameExtractorTester()


class VisionFeatureExtractorTest(SequenceFeatureExtractionTestMixin, unittest.TestCase):
    feature_extraction_class = HfrAmeVisionFeatureExtractor
    feat_extract_tester = FrameExtractorTester()


class ProcessorTest(ProcessorTesterMixin, unittest.TestCase):
    processor_class = HfrAmeProcessor
    audio_input_name = "audio_values"

    @classmethod
    def _setup_tokenizer(cls) -> Any:
        return train_wordpiece_tokenizer(["lower newer this is rather good and that was not"], vocab_size=120)

    @classmethod
    def _setup_feature_extractor(cls) -> HfrAmeAudioFeatureExtractor:
        return HfrAmeAudioFeatureExtractor()

    @classmethod
    def _setup_vision_feature_extractor(cls) -> HfrAmeVisionFeatureExtractor:
        return HfrAmeVisionFeatureExtractor()

    def prepare_audio_inputs(self, batch_size: int | None = None) -> Any:
        """Gives precomputed frames: a waveform without its rate is an error by design."""
        size = len(HfrAmeAudioFeatureExtractor.native_feature_names)
        generator = np.random.default_rng(0)
        clips = [generator.standard_normal((9, size)).astype(np.float32) for _ in range(batch_size or 1)]
        return clips[0] if batch_size is None else clips


def _require_deviation(test: Callable[[Any], None], deviation: Deviation) -> Callable[[Any], None]:
    """Runs a test that we deviate from on purpose; anything but the stated error is a failure."""

    def run(self: unittest.TestCase) -> None:
        try:
            test(self)
        except Exception as error:
            if not re.search(deviation.error, f"{type(error).__name__}: {error}"):
                raise
            self.skipTest(deviation.reason)
        self.fail("passes, so it is no deviation any more; remove it from skips.py")

    return run


def _with_deviations(cls: type[unittest.TestCase], deviations: Mapping[str, Deviation]) -> type[unittest.TestCase]:
    for name in unittest.TestLoader().getTestCaseNames(cls):
        for pattern, deviation in deviations.items():
            if re.fullmatch(pattern, name):
                setattr(cls, name, _require_deviation(getattr(cls, name), deviation))
    return cls


def all_test_classes() -> list[type[unittest.TestCase]]:
    """Gives every test class with our deviations in it."""
    classes = [make(case) for case in CASES for make in (_model_test, _config_test)]
    classes += [AudioFeatureExtractorTest, VisionFeatureExtractorTest, ProcessorTest]
    torch.set_num_threads(1)
    return [_with_deviations(cls, deviations_of(cls.__name__)) for cls in classes]
