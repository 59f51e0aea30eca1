"""What the README shows runs as it stands."""

import re
from pathlib import Path

import pytest
import torch

from modeling_hfr_ame import (
    HfrAmeAudioFeatureExtractor,
    HfrAmeConfig,
    HfrAmeForSentiment,
    HfrAmeProcessor,
    HfrAmeVisionFeatureExtractor,
)
from modeling_hfr_ame.data.tokenizer_training import train_wordpiece_tokenizer

README = Path(__file__).resolve().parent.parent / "README.md"
DEMO_FOLDER = "runs/demo/full/seed-1111"
AUDIO_SIZE, VISION_SIZE = 12, 16


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


def save_model_like_the_demo(folder: Path) -> None:
    torch.manual_seed(0)
    tokenizer = train_wordpiece_tokenizer(["this is rather good and that was not"], vocab_size=120)
    text = {"model_type": "bert", "vocab_size": len(tokenizer), "hidden_size": 8, "num_hidden_layers": 1}
    text |= {"num_attention_heads": 2, "intermediate_size": 16}
    sizes = {"audio_config": {"feature_size": AUDIO_SIZE}, "vision_config": {"feature_size": VISION_SIZE}}
    config = HfrAmeConfig(
        text_config=text, hidden_size=8, condition_size=8, unet_channels=(8,), num_attention_heads=2, **sizes
    )
    HfrAmeForSentiment(config).save_pretrained(folder)
    HfrAmeProcessor(
        HfrAmeAudioFeatureExtractor(feature_size=AUDIO_SIZE),
        HfrAmeVisionFeatureExtractor(feature_size=VISION_SIZE),
        tokenizer,
    ).save_pretrained(folder)


def test_readme_example_runs_and_is_eight_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [example] = python_blocks()
    assert len([line for line in example.splitlines() if line.strip()]) == 8
    assert DEMO_FOLDER in example
    save_model_like_the_demo(tmp_path)
    exec(compile(example.replace(DEMO_FOLDER, tmp_path.as_posix()), "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "logits=tensor" in printed
    assert "severity=tensor" in printed


def test_readme_names_only_files_that_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8"))
    missing = [link for link in links if not link.startswith("http") and not (README.parent / link).exists()]
    assert missing == []
