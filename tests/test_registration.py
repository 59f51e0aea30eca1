"""Registration with the Auto classes works whatever is imported first, and costs nothing before."""

import subprocess
import sys

import pytest

CHECK = """
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForSequenceClassification, AutoProcessor
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from modeling_hfr_ame import HfrAmeConfig, HfrAmeForSentiment, HfrAmeProcessor
assert AutoConfig.for_model("hfr_ame").__class__ is HfrAmeConfig
assert AutoModel._model_mapping[HfrAmeConfig] is HfrAmeForSentiment
assert AutoModelForSequenceClassification._model_mapping[HfrAmeConfig] is HfrAmeForSentiment
assert PROCESSOR_MAPPING[HfrAmeConfig] is HfrAmeProcessor
from transformers.pipelines import PIPELINE_REGISTRY
assert "multimodal-sentiment-analysis" in PIPELINE_REGISTRY.get_supported_tasks()
"""

FIRST_IMPORTS = [
    "import modeling_hfr_ame.configuration_hfr_ame",
    "import modeling_hfr_ame.processing_hfr_ame, modeling_hfr_ame.modeling_hfr_ame",
    "import transformers.models.auto.modeling_auto, modeling_hfr_ame",
]


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=False
    )


@pytest.mark.parametrize("first", FIRST_IMPORTS)
def test_auto_classes_after_any_first_import_know_the_model(first: str) -> None:
    result = run(first + CHECK)
    assert result.returncode == 0, result.stderr


def test_package_import_alone_loads_no_heavy_library() -> None:
    result = run(
        "import sys, modeling_hfr_ame; print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])"
    )
    assert result.stdout.strip() == "[]", result.stderr
