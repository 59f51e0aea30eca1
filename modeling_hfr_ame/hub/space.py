"""A model → a Space folder that runs the page: app, package, requirements, card, and the model or its name.

Design choices:

- The package travels as source, so the Space needs no release of it and can be read by whoever doubts it.
- The model travels as safetensors, or is named with a revision; nothing of the machine travels with either.
- Every file passes the checks that each published file passes.
"""

import json
import re
import shutil
from importlib import metadata
from pathlib import Path

import jinja2

import modeling_hfr_ame
from modeling_hfr_ame.data.stored import writing_beside
from modeling_hfr_ame.errors import ConfigError, DataError
from modeling_hfr_ame.hub import space_app
from modeling_hfr_ame.hub.export import clean_configuration
from modeling_hfr_ame.hub.publishable_files import list_publishable_files
from modeling_hfr_ame.hub.push import SPACE_RECORD

DEFAULT_TITLE = "Sentiment under corruption"
_MODEL_FOLDER = space_app.MODEL_FOLDER
_DISTRIBUTION = "hfr-ame"
_PAGE_MARKERS = ("", 'extra == "av"')
_PACKAGE_SUFFIXES = {".py", ".css", ".j2", ".typed"}
_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def write_space(
    model: str | Path,
    out: str | Path,
    *,
    title: str = DEFAULT_TITLE,
    revision: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes a Space folder.

    Args:
        model: A run folder or an exported folder, whose weights and processor are copied; or `owner/name` on the Hub,
            which the Space loads when it starts.
        out: Folder to make. It appears complete or not at all.
        title: Name shown above the Space.
        revision: Branch, tag or commit of `owner/name`; None = its main branch.
        overwrite: Whether an earlier Space at `out` may be replaced; nothing else ever is.

    Returns:
        `out`.

    Raises:
        ConfigError: A revision is given for a folder, or Gradio is not installed, whose version the Space states.
        DataError: The model can't be loaded, `out` is taken, or a file may not be published.
    """
    target = Path(out)
    _check_target(target, overwrite)
    is_folder = Path(model).is_dir()
    if is_folder and revision is not None:
        raise ConfigError(
            f"a revision belongs to a repository on the Hub, found {revision!r} for a folder; leave it out"
        )
    if not is_folder and not _REPO_ID.fullmatch(str(model)):
        raise DataError(f"a Space needs a model's folder or owner/name, found {str(model)!r}; pass one of them")
    with writing_beside(target) as folder:
        if is_folder:
            _write_model(Path(model), folder / _MODEL_FOLDER)
        source = {"model": None if is_folder else str(model), "revision": revision}
        (folder / SPACE_RECORD).write_text(json.dumps(source, indent=2) + "\n", encoding="utf-8")
        shutil.copyfile(space_app.__file__, folder / "app.py")
        _copy_package(folder / modeling_hfr_ame.__name__)
        (folder / "requirements.txt").write_text("\n".join(_requirements()) + "\n", encoding="utf-8")
        (folder / "README.md").write_text(_card(title, None if is_folder else str(model)), encoding="utf-8")
        list_publishable_files(folder)
    return target


def _check_target(target: Path, overwrite: bool) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not (target / SPACE_RECORD).is_file() or not (target / "app.py").is_file():
        raise DataError(
            f"only a Space folder is replaced, found something else at {target.name}; choose another folder"
        )
    if not overwrite:
        raise DataError(f"the folder must be new, found a Space at {target.name}; allow overwriting it")


def _write_model(source: Path, folder: Path) -> None:
    from modeling_hfr_ame.prediction import Predictor

    predictor = Predictor.from_pretrained(source)
    predictor.model.save_pretrained(folder)
    predictor.processor.save_pretrained(folder)
    for path in folder.rglob("*.py"):  # code of the repository; the Space has the package
        path.unlink()
    clean_configuration(folder)


def _copy_package(folder: Path) -> None:
    source = Path(modeling_hfr_ame.__file__).parent
    for path in sorted(source.rglob("*")):
        if path.is_file() and (path.suffix in _PACKAGE_SUFFIXES):
            copy = folder / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def _requirements() -> list[str]:
    """What the package asks for, without Gradio, which the Space's host installs."""
    try:
        declared = metadata.requires(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError as error:
        raise ConfigError(
            f"the requirements of a Space are those of the installed package, {_DISTRIBUTION} is not installed; "
            "run pip install -e '.[av,demo]'"
        ) from error
    parts = (line.partition(";") for line in declared)
    return [need.strip() for need, _, marker in parts if marker.strip() in _PAGE_MARKERS]


def _card(title: str, model_id: str | None) -> str:
    try:
        gradio_version = metadata.version("gradio")
    except metadata.PackageNotFoundError as error:
        raise ConfigError(
            "a Space states the version of Gradio that it was made with, which is not installed; install hfr-ame[demo]"
        ) from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=False,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("space_card.md.j2").render(
        title=title, gradio_version=gradio_version, model_id=model_id, version=modeling_hfr_ame.__version__
    )
