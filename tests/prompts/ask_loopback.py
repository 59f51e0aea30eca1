"""Fills a store from an endpoint, as a process of its own that a test can kill.

python -m tests.prompts.ask_loopback FOLDER BASE_URL COUNT
"""

import sys
from pathlib import Path

from modeling_hfr_ame.prompts.generation import write_answers
from modeling_hfr_ame.prompts.openai_generator import CallOptions, OpenAIGenerator
from modeling_hfr_ame.prompts.writer import PromptWriter
from tests.prompts.prompt_rows import describe_store, text_requests


def main(folder: str, base_url: str, count: str) -> None:
    store = describe_store()
    calls = CallOptions(first_pause_s=0.005, max_pause_s=0.02, timeout_s=0.3, concurrency=4, max_attempts=20)
    with PromptWriter(Path(folder), store) as writer:
        write_answers(text_requests(int(count), store), OpenAIGenerator(base_url, "some-model", calls=calls), writer)


if __name__ == "__main__":
    main(*sys.argv[1:])
