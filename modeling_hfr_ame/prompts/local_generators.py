"""Hints from a transformers model on this machine: with pictures, with sound, or from the words alone.

- Any model that its Auto class loads and that has a chat template works; nothing is model-specific here.
- Greedy decoding: the same model, inputs and options give the same text. Options that only sampling reads are dropped.
- A model is named in rows by its Hub id and commit, or by its folder's name and the hash of its files. It loads when
  the first sample is asked about, so planning and counting stay light.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from modeling_hfr_ame.errors import ConfigError, MediaError
from modeling_hfr_ame.prompts.generation import failed_before_asking, media_failure
from modeling_hfr_ame.prompts.generator import Answer, PromptGenerator, PromptRequest

_SAMPLING_OPTIONS = ("temperature", "top_p", "top_k", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")


class LocalGenerator(PromptGenerator):
    """What the three kinds share: loading, rendering through the chat template, decoding.

    Args:
        model: Hub id, or folder of a saved model with its processor or tokenizer.
        revision: Branch, tag or commit on the Hub; None = its main branch.
        device: Such as `cpu` or `cuda:0`; None = the first GPU, else the CPU.
        dtype: Such as `bfloat16`; `auto` = as saved.
        max_new_tokens: Longest answer.
        batch_size: Samples per forward pass. It may change the last digits of a model's numbers, hence a word.

    Raises:
        ConfigError: The model isn't there, or has no chat template.
    """

    auto_class = ""

    def __init__(
        self,
        model: str | Path,
        *,
        revision: str | None = None,
        device: str | None = None,
        dtype: str = "auto",
        max_new_tokens: int = 200,
        batch_size: int = 1,
    ) -> None:
        if max_new_tokens < 1 or batch_size < 1:
            raise ConfigError(
                f"max_new_tokens and batch_size must be positive, found {max_new_tokens} and {batch_size}; the "
                "defaults are 200 and 1"
            )
        self._source, self._asked_revision = str(model), revision
        self._device, self._dtype = device, dtype
        self._batch_size = batch_size
        self.max_tokens = max_new_tokens
        folder = Path(model)
        self.model_id = folder.resolve().name if folder.is_dir() else str(model)
        self.model_revision = _hash_folder(folder) if folder.is_dir() else self._hub_commit()
        self.decoding = {
            "max_new_tokens": max_new_tokens,
            "do_sample": False,
            "batch_size": batch_size,
            "dtype": dtype,
        }

    def answer(self, requests: Iterable[PromptRequest]) -> Iterator[tuple[PromptRequest, Answer]]:
        """Answers batch by batch; see `PromptGenerator`."""
        pending = iter(requests)
        while batch := list(islice(pending, self._batch_size)):
            askable: list[tuple[PromptRequest, list[dict[str, Any]]]] = []
            for request in batch:
                failure = failed_before_asking(request)
                try:
                    content = [] if failure else self._content(request)
                except MediaError as error:
                    failure, content = media_failure(error), []
                if failure:
                    yield request, failure
                else:
                    askable.append((request, [{"role": "user", "content": content}]))
            if askable:
                answers = self._generate([conversation for _, conversation in askable])
                yield from zip([request for request, _ in askable], answers, strict=True)

    def _content(self, request: PromptRequest) -> Any:
        """Gives the content of the message: what is shown, then the instruction."""
        raise NotImplementedError

    @cached_property
    def _processor(self) -> Any:
        """What turns conversations into inputs."""
        from transformers import AutoProcessor

        return self._load(AutoProcessor)

    @property
    def _tokenizer(self) -> Any:
        return self._processor.tokenizer

    @cached_property
    def _model(self) -> Any:
        import torch
        import transformers

        device = self._device or ("cuda:0" if torch.cuda.is_available() else "cpu")
        model = self._load(getattr(transformers, self.auto_class), dtype=self._dtype).to(device).eval()
        for name in _SAMPLING_OPTIONS:
            if hasattr(model.generation_config, name):
                setattr(model.generation_config, name, None)
        return model

    def _load(self, auto_class: Any, **options: Any) -> Any:
        try:
            return auto_class.from_pretrained(self._source, revision=self._asked_revision, **options)
        except (OSError, ValueError, ImportError) as error:
            raise ConfigError(
                f"the generator {self.kind!r} needs a model that {auto_class.__name__} loads, {self._source!r} isn't "
                f"one ({str(error).splitlines()[0]}); name another model or generator"
            ) from error

    def _hub_commit(self) -> str | None:
        from transformers import AutoConfig

        return getattr(self._load(AutoConfig), "_commit_hash", None)

    def _generate(self, conversations: list[list[dict[str, Any]]]) -> list[Answer]:
        import torch

        model = self._model
        inputs = {
            name: values.to(model.device, model.dtype if values.is_floating_point() else None)
            for name, values in self._render(conversations).items()
        }
        with torch.inference_mode():
            written = model.generate(
                **inputs,
                max_new_tokens=self.max_tokens,
                do_sample=False,
                pad_token_id=_first(self._tokenizer.pad_token_id, model.generation_config.eos_token_id),
            )
        read = inputs["input_ids"].shape[1]
        new = written if model.config.is_encoder_decoder else written[:, read:]
        ends = _as_set(model.generation_config.eos_token_id)
        answers = []
        for row, mask in zip(new.tolist(), inputs["attention_mask"].sum(dim=1).tolist(), strict=True):
            end = next((place for place, token in enumerate(row) if token in ends), None)
            kept = row if end is None else row[:end]
            answers.append(
                Answer(
                    text=self._tokenizer.decode(kept, skip_special_tokens=True),
                    n_in=int(mask),
                    n_out=len(kept),
                    finish="length" if end is None else "stop",
                )
            )
        return answers

    def _render(self, conversations: list[list[dict[str, Any]]]) -> Any:
        if not getattr(self._processor, "chat_template", None):
            raise ConfigError(
                f"an instruction is rendered by the model's chat template, {self._source!r} has none; use a model that "
                "was tuned to follow instructions"
            )
        # Generation continues the right end of every row.
        self._tokenizer.padding_side = "left"
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        return self._processor.apply_chat_template(
            conversations,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            **self._padding(),
        )

    def _padding(self) -> dict[str, Any]:
        return {"processor_kwargs": {"padding": True}}


class LocalImageTextGenerator(LocalGenerator):
    """Any image-text-to-text model: words and pictures."""

    kind = "local"
    shows_pictures = True
    auto_class = "AutoModelForImageTextToText"

    def _content(self, request: PromptRequest) -> Any:
        from PIL import Image

        frames = request.clip.frames() if request.clip is not None and request.num_pictures else ()
        pictures = [{"type": "image", "image": Image.fromarray(pixels)} for pixels in frames]
        return [*pictures, {"type": "text", "text": request.instruction}]


class LocalAudioTextGenerator(LocalGenerator):
    """Any audio-text or any-to-any model: words and sound."""

    kind = "local-audio"
    auto_class = "AutoModelForMultimodalLM"

    @property
    def sound_hz(self) -> int | None:
        """Samples per second that the model takes."""
        return int(self._processor.feature_extractor.sampling_rate)

    def _content(self, request: PromptRequest) -> Any:
        clip = request.clip if request.inputs.audio is not None else None
        sounds = [{"type": "audio", "audio": clip.waveform()}] if clip is not None else []
        return [*sounds, {"type": "text", "text": request.instruction}]


class LocalTextGenerator(LocalGenerator):
    """Any causal language model with a chat template: words alone, for datasets without clips."""

    kind = "local-text"
    auto_class = "AutoModelForCausalLM"

    @cached_property
    def _processor(self) -> Any:
        from transformers import AutoTokenizer

        return self._load(AutoTokenizer)

    @property
    def _tokenizer(self) -> Any:
        return self._processor

    def _content(self, request: PromptRequest) -> Any:
        return request.instruction

    def _padding(self) -> dict[str, Any]:
        return {"padding": True}


def _hash_folder(folder: Path) -> str:
    """Gives one hash over names and contents of a model's files."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return "files-" + digest.hexdigest()[:32]


def _as_set(tokens: int | list[int] | None) -> set[int]:
    return set(tokens) if isinstance(tokens, list) else ({tokens} if tokens is not None else set())


def _first(*candidates: int | list[int] | None) -> int | None:
    for candidate in candidates:
        if candidate is not None:
            return candidate[0] if isinstance(candidate, list) else candidate
    return None
