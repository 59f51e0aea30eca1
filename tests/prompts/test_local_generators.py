import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from modeling_hfr_ame.errors import ConfigError, MediaError
from modeling_hfr_ame.prompts.generation import generate_prompts
from modeling_hfr_ame.prompts.generator import Answer, PromptRequest
from modeling_hfr_ame.prompts.local_generators import (
    LocalAudioTextGenerator,
    LocalGenerator,
    LocalImageTextGenerator,
    LocalTextGenerator,
)
from modeling_hfr_ame.prompts.store import PromptStore
from tests.media.clip_writing import even_times, tone, write_clip
from tests.prompts.prompt_rows import describe_store, text_requests, write_dataset
from tests.prompts.tiny_models import save_idefics3, save_llava, save_qwen2_audio, save_text_model

SAVERS: dict[str, Callable[[Path], Path]] = {
    "text": save_text_model,
    "llava": save_llava,
    "idefics3": save_idefics3,
    "qwen2_audio": save_qwen2_audio,
}
GENERATORS: dict[str, type[LocalGenerator]] = {
    "text": LocalTextGenerator,
    "llava": LocalImageTextGenerator,
    "idefics3": LocalImageTextGenerator,
    "qwen2_audio": LocalAudioTextGenerator,
}


class MadeUpClip:
    """Pictures and sound that differ by seed; None = it can't be decoded."""

    def __init__(self, seed: int | None) -> None:
        self.seed = seed

    def _draw(self) -> np.random.Generator:
        if self.seed is None:
            raise MediaError("broken.mp4 is cut off")
        return np.random.default_rng(self.seed)

    def frames(self) -> np.ndarray:
        return self._draw().integers(0, 256, (3, 24, 32, 3), dtype=np.uint8)

    def waveform(self) -> np.ndarray:
        return self._draw().normal(0, 0.1, 12000).astype(np.float32)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tiny")
    return {name: save(folder / name) for name, save in SAVERS.items()}


def shown(request: PromptRequest, seed: int | None) -> PromptRequest:
    inputs = replace(request.inputs, frames=("a", "b", "c"), audio="s")
    return replace(request, clip=MadeUpClip(seed), inputs=inputs)  # type: ignore[arg-type]


def varied_requests() -> list[PromptRequest]:
    words = ["what they feel", "you study how the voice and the face of one clip show what speakers feel", "audio"]
    return [
        shown(replace(each, instruction=text), seed)
        for seed, (each, text) in enumerate(zip(text_requests(3, describe_store()), words, strict=True))
    ]


def answers_of(generator: LocalGenerator, requests: list[PromptRequest]) -> list[Answer]:
    found = {request.key: answer for request, answer in generator.answer(requests)}
    assert len(found) == len(requests)
    return [found[request.key] for request in requests]


def record_inputs(generator: LocalGenerator, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Keeps what each call of `generate` is given."""
    seen: list[dict[str, Any]] = []
    generate = generator._model.generate

    def recording(**inputs: Any) -> Any:
        seen.append(inputs)
        return generate(**inputs)

    monkeypatch.setattr(generator._model, "generate", recording)
    return seen


@pytest.mark.parametrize("name", GENERATORS)
def test_answers_do_not_depend_on_the_batch(name: str, models: dict[str, Path]) -> None:
    requests = varied_requests()
    single = answers_of(GENERATORS[name](models[name], max_new_tokens=12), requests)
    batched = answers_of(GENERATORS[name](models[name], max_new_tokens=12, batch_size=3), requests)
    assert single == batched
    assert len({answer.n_in for answer in single}) == 3
    assert all(answer.text and answer.n_out == 12 and answer.finish == "length" for answer in single)


def test_answer_is_what_the_library_gives(models: dict[str, Path]) -> None:
    request = varied_requests()[1]
    processor = AutoProcessor.from_pretrained(models["llava"])
    model = AutoModelForImageTextToText.from_pretrained(models["llava"]).eval()
    assert request.clip is not None
    pictures = [Image.fromarray(pixels) for pixels in request.clip.frames()]
    prompt = f"user <image><image><image>{request.instruction} assistant"
    inputs = processor(text=prompt, images=pictures, return_tensors="pt")
    with torch.inference_mode():
        written = model.generate(**inputs, max_new_tokens=12, do_sample=False)
    expected = processor.tokenizer.decode(written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    [answer] = answers_of(LocalImageTextGenerator(models["llava"], max_new_tokens=12), [request])
    assert answer.text == expected
    assert answer.n_in == inputs["input_ids"].shape[1]


@pytest.mark.parametrize("name", ["llava", "idefics3"])
def test_pictures_reach_the_model(name: str, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    generator = LocalImageTextGenerator(models[name], max_new_tokens=2)
    seen = record_inputs(generator, monkeypatch)
    first, second, _ = varied_requests()
    answers_of(generator, [first, replace(second, clip=None)])
    assert seen[0]["pixel_values"].reshape(-1, 3, 28, 28).shape[0] == 3
    assert len(torch.unique(seen[0]["pixel_values"])) > 100
    assert seen[1].get("pixel_values") is None
    words = generator._tokenizer.decode(seen[1]["input_ids"][0], skip_special_tokens=True)
    assert "what speakers feel" in words


def test_sound_reaches_the_model(models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    generator = LocalAudioTextGenerator(models["qwen2_audio"], max_new_tokens=2)
    assert generator.sound_hz == 16000
    seen = record_inputs(generator, monkeypatch)
    first, second, _ = varied_requests()
    answers_of(generator, [first, second])
    assert seen[0]["input_features"].shape == (1, 16, 200)
    assert not torch.equal(seen[0]["input_features"], seen[1]["input_features"])
    assert seen[0]["feature_attention_mask"].sum() == 75  # 12,000 samples in hops of 160


def test_clip_that_cannot_be_decoded_fails_alone(models: dict[str, Path]) -> None:
    first, second, third = varied_requests()
    broken = replace(second, clip=MadeUpClip(None))  # type: ignore[arg-type]
    nothing = replace(third, transcript=None, clip=None)
    generator = LocalImageTextGenerator(models["llava"], max_new_tokens=2, batch_size=3)
    answers = answers_of(generator, [first, broken, nothing])
    assert answers[0].error is None
    assert answers[1].error == "the clip can't be shown: broken.mp4 is cut off"
    assert str(answers[2].error).startswith("nothing to show")


def test_answer_ends_where_the_model_ends(models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    [request, *_] = varied_requests()
    generator = LocalTextGenerator(models["text"], max_new_tokens=12)
    [whole] = answers_of(generator, [request])
    written = generator._tokenizer(whole.text, add_special_tokens=False)["input_ids"]
    end = next(token for token in reversed(written) if written.index(token) > 0)
    monkeypatch.setattr(generator._model.generation_config, "eos_token_id", [end])
    [cut] = answers_of(generator, [request])
    assert cut.finish == "stop"
    assert cut.n_out is not None
    assert 0 < cut.n_out < 12
    assert whole.text.startswith(cut.text)


def test_revision_of_a_folder_is_the_hash_of_its_files(models: dict[str, Path], tmp_path: Path) -> None:
    copied = tmp_path / "text"
    copied.mkdir()
    for path in models["text"].iterdir():
        (copied / path.name).write_bytes(path.read_bytes())
    first, second = LocalTextGenerator(models["text"]), LocalTextGenerator(copied)
    assert first.model_id == second.model_id == "text"
    assert first.model_revision == second.model_revision
    (copied / "config.json").write_text(json.dumps({**json.loads((copied / "config.json").read_text()), "x": 1}))
    assert LocalTextGenerator(copied).model_revision != first.model_revision


def test_sampling_options_of_a_model_do_not_make_answers_random(models: dict[str, Path], tmp_path: Path) -> None:
    folder = save_text_model(tmp_path / "sampling")
    options = {"do_sample": True, "temperature": 1.5, "top_k": 3, "top_p": 0.9}
    (folder / "generation_config.json").write_text(json.dumps(options))
    requests = varied_requests()
    assert answers_of(LocalTextGenerator(folder, max_new_tokens=8), requests) == answers_of(
        LocalTextGenerator(models["text"], max_new_tokens=8), requests
    )


def test_model_that_does_not_fit_is_refused(models: dict[str, Path], tmp_path: Path) -> None:
    request = varied_requests()[0]
    with pytest.raises(ConfigError, match=r"needs a model that AutoModelForImageTextToText loads, .* isn't one"):
        answers_of(LocalImageTextGenerator(models["text"]), [request])
    untuned = save_text_model(tmp_path / "untuned", chat_template=None)
    with pytest.raises(ConfigError, match=r"rendered by the model's chat template, .*untuned' has none"):
        answers_of(LocalTextGenerator(untuned), [request])
    with pytest.raises(ConfigError, match="must be positive, found 0 and 1"):
        LocalTextGenerator(models["text"], max_new_tokens=0)


@pytest.mark.parametrize("name", GENERATORS)
def test_every_generator_fills_a_store(name: str, models: dict[str, Path], tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data", {"train": ["it was fine", "good"], "test": ["bad"]})
    clips = tmp_path / "clips"
    clips.mkdir()
    write_clip(clips / "v0_0000.mp4", even_times(0.4), tone(0.5))
    generator = GENERATORS[name](models[name], max_new_tokens=6)
    summary = generate_prompts(dataset, tmp_path / "store", generator, clips=clips)
    assert (summary.answered, summary.failed) == (3, 0)
    assert generate_prompts(dataset, tmp_path / "store", generator, clips=clips).kept == 3
    store = PromptStore.open(tmp_path / "store")
    with_clip = store.row_of("train", "v0$_$0000")
    assert with_clip is not None
    assert len(with_clip.inputs.frames) == (3 if generator.shows_pictures else 0)
    assert (with_clip.inputs.audio is not None) == (name == "qwen2_audio")
    assert (store.description.model_id, store.description.generator) == (name, generator.kind)
    assert str(tmp_path) not in summary.store.read_text(encoding="utf-8")
