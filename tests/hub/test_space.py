"""The Space folder: what is in it, what isn't, what is refused, and that it starts."""

import importlib.util
import json
import re
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from modeling_hfr_ame.cli import app
from modeling_hfr_ame.errors import ConfigError, DataError
from modeling_hfr_ame.hub.publishable_files import list_publishable_files
from modeling_hfr_ame.hub.push import push_run
from modeling_hfr_ame.hub.record_publishing import find_paths
from modeling_hfr_ame.hub.space import write_space
from tests.hub.run_making import SECRET_FOLDER, make_run
from tests.widget.page_server import PageServer, free_port

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None, reason="Gradio is not installed; install hfr-ame[demo]"
)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("space") / "run", native=True)


@pytest.fixture(scope="module")
def space(run_folder: Path) -> Path:
    return write_space(run_folder, run_folder.parent / "space")


def _front_matter(space: Path) -> dict[str, object]:
    return yaml.safe_load((space / "README.md").read_text(encoding="utf-8").split("---\n")[1])


def test_space_holds_app_package_and_model(space: Path) -> None:
    files = {path.relative_to(space).as_posix() for path in space.rglob("*") if path.is_file()}
    top = {name for name in files if "/" not in name}
    assert top == {"README.md", "app.py", "requirements.txt", "space.json"}
    assert {name for name in files if name.startswith("model/")} == {
        "model/config.json",
        "model/model.safetensors",
        "model/processor_config.json",
        "model/tokenizer.json",
        "model/tokenizer_config.json",
    }
    assert {f"modeling_hfr_ame/{name}" for name in ("__init__.py", "widget/page.py", "widget/page.css")} <= files
    assert [name for name in files if name.endswith(".pyc")] == []


def test_space_names_no_folder_of_the_machine(space: Path) -> None:
    assert list(find_paths(space / "model")) == []
    texts = [path.read_text("utf-8") for path in space.rglob("*") if path.suffix in {".json", ".py", ".md", ".txt"}]
    assert [text for text in texts if SECRET_FOLDER in text or str(Path.cwd()) in text] == []
    assert list_publishable_files(space)


def test_card_states_what_the_host_needs(space: Path) -> None:
    stated = _front_matter(space)
    assert stated["sdk"] == "gradio"
    assert stated["sdk_version"] == metadata.version("gradio")
    assert stated["app_file"] == "app.py"
    assert len(str(stated["short_description"])) <= 60
    assert "models" not in stated


def test_requirements_are_those_of_the_package_with_media(space: Path) -> None:
    names = {re.split("[<>=]", line)[0] for line in (space / "requirements.txt").read_text().split()}
    assert {"torch", "transformers", "av", "opencv-python-headless"} <= names
    assert not {"gradio", "pytest", "ruff", "playwright"} & names


def test_space_of_a_repository_names_it_and_holds_no_weights(tmp_path: Path) -> None:
    space = write_space("owner/mosi", tmp_path / "space", revision="v1", title='A "quoted" title')
    assert json.loads((space / "space.json").read_text()) == {"model": "owner/mosi", "revision": "v1"}
    assert _front_matter(space)["models"] == ["owner/mosi"]
    assert _front_matter(space)["title"] == 'A "quoted" title'
    assert not (space / "model").exists()


def test_only_a_space_is_replaced(space: Path, run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the folder must be new, found a Space"):
        write_space("owner/mosi", space)
    with pytest.raises(DataError, match="only a Space folder is replaced, found something else"):
        write_space("owner/mosi", run_folder, overwrite=True)
    first = write_space("owner/first", tmp_path / "space")
    assert "owner/second" in (write_space("owner/second", first, overwrite=True) / "space.json").read_text()


def test_wrong_models_and_revisions_are_explained(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a Space needs a model's folder or owner/name, found 'nowhere'"):
        write_space("nowhere", tmp_path / "space")
    with pytest.raises(ConfigError, match="a revision belongs to a repository on the Hub, found 'v1' for a folder"):
        write_space(run_folder, tmp_path / "space", revision="v1")
    assert not (tmp_path / "space").exists()


def test_push_recognises_a_space(space: Path) -> None:
    assert push_run(space, "owner/space", dry_run=True).repo_type == "space"


def test_command_writes_a_space(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["space", "owner/mosi", str(tmp_path / "space"), "--title", "Ours"])
    assert result.exit_code == 0, result.output
    assert _front_matter(tmp_path / "space")["title"] == "Ours"


@pytest.mark.slow
def test_space_starts_from_its_folder_where_its_host_says(space: Path, tmp_path: Path) -> None:
    port = free_port()
    variables = {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port)}
    with PageServer(None, tmp_path, script=space / "app.py", variables=variables) as server:
        assert server.url == f"http://127.0.0.1:{port}/"
        (answer,) = server.call([{"text": "the end is wonderful", "corruption": "mask-0.5"}])
        assert answer["result"]["corrupted"]["corruption"].startswith("mask-0.5")
        assert server.foreign_connections == []
