"""Code files and code references of a model repository, so that it runs where this package isn't installed.

The library writes code only for classes that were registered for it one by one, and a reference for one Auto class
each. Here everything that a pipeline is made of is written at once, and the files that the library saved get their
references afterwards: no object in memory changes.
"""

import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from transformers.dynamic_module_utils import get_relative_import_files


def class_reference(cls: type) -> str:
    """Names a class as `auto_map` does: file without suffix, dot, class."""
    return f"{cls.__module__.rpartition('.')[2]}.{cls.__name__}"


def code_files(classes: Iterable[type]) -> list[Path]:
    """Finds the source files that classes need to run elsewhere.

    Args:
        classes: Classes of flat files that lie in one folder.

    Returns:
        Their files and what these import with a single dot, found by the library's own scanner and ordered by name.
    """
    own = {str(sys.modules[cls.__module__].__file__) for cls in classes}
    needed = {name for file in own for name in get_relative_import_files(file)}
    files = {Path(name).name: Path(name) for name in (*own, *needed)}
    return [files[name] for name in sorted(files)]


def write_code(folder: Path, model: Any, processor: Any, pipeline_class: type, task: str) -> None:
    """Adds code files and references to a folder into which model and processor were saved.

    Args:
        folder: Has `config.json`, `processor_config.json` and `tokenizer_config.json`.
        model: The model with its head.
        processor: Its processor.
        pipeline_class: Pipeline that the repository offers.
        task: Name of the pipeline.
    """
    extractors = {name: type(getattr(processor, name)) for name in ("feature_extractor", "vision_feature_extractor")}
    own = [type(model), type(model.config), type(processor), *extractors.values(), pipeline_class]
    for path in code_files(own):
        shutil.copyfile(path, folder / path.name)
    processor_map = {"AutoProcessor": class_reference(type(processor))}
    extractor_maps = {
        name: {"auto_map": {"AutoFeatureExtractor": class_reference(cls)}} for name, cls in extractors.items()
    }
    auto_map = {
        "AutoConfig": class_reference(type(model.config)),
        "AutoModel": class_reference(type(model)),
        "AutoModelForSequenceClassification": class_reference(type(model)),
        **processor_map,
        **extractor_maps["feature_extractor"]["auto_map"],
    }
    custom_pipeline = {
        "impl": class_reference(pipeline_class),
        "pt": ["AutoModelForSequenceClassification"],
        "type": "multimodal",
    }
    _add(folder / "config.json", {"auto_map": auto_map, "custom_pipelines": {task: custom_pipeline}})
    _add(folder / "processor_config.json", {"auto_map": processor_map, **extractor_maps})
    # Without its processor file a repository is then still recognised, and refused by our own message.
    _add(folder / "tokenizer_config.json", {"auto_map": processor_map})


def _add(path: Path, entries: Mapping[str, Any]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    for key, value in entries.items():
        content[key] = {**content[key], **value} if isinstance(content.get(key), dict) else value
    path.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
