"""What a folder may hold when it is published: the first file that does not belong is named, and never quoted."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from modeling_hfr_ame.errors import DataError
from modeling_hfr_ame.hub.publishable_files import list_publishable_files

FAKE_TOKEN = "hf_" + "a1B2" * 9


def test_good_folder_is_listed_by_path_with_sizes(model_folder: Path) -> None:
    (model_folder / "data").mkdir()
    np.save(model_folder / "data" / "audio.npy", np.zeros((2, 3), np.float32))
    listed = {file.path: file.size for file in list_publishable_files(model_folder)}
    found = [path for path in model_folder.rglob("*") if path.is_file()]
    assert listed == {path.relative_to(model_folder).as_posix(): path.stat().st_size for path in found}
    assert list(listed) == sorted(listed, key=lambda name: Path(name).parts)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("pytorch_model.bin", b"x", r"pickles aren't published, .* found 'pytorch_model\.bin'; save safetensors"),
        ("weights/old.pt", b"x", r"pickles aren't published, .* found 'weights/old\.pt'"),
        ("harmless.txt", b"\x80\x04\x95rest", r"pickles aren't published, .* found one in 'harmless\.txt'"),
        ("harmless.npy", b"PK\x03\x04rest", r"pickles aren't published, .* found one in 'harmless\.npy'"),
        (
            "trainer_log.jsonl",
            b"{}\n",
            r"a training run is exported before it is published, found 'trainer_log\.jsonl'",
        ),
        ("checkpoint-8/config.json", b"{}", r"is exported before .* found 'checkpoint-8/config\.json'"),
        (".env", b"A=1", r"of hidden files only \.eval_results and \.gitattributes are published, found '\.env'"),
        (".gitignore", b"*", r"of hidden files .* found '\.gitignore'"),
        ("__pycache__/a.py", b"", r"of hidden files .* found '__pycache__/a\.py'"),
        ("program.exe", b"MZ", r"holds weights, Parquet, code, .* found 'program\.exe'; remove it"),
        ("latin.txt", b"\xe9t\xe9", r"text is published as UTF-8, 'latin\.txt' isn't"),
        ("broken.json", b"{", r"a JSON file must be valid, 'broken\.json' isn't"),
        ("rows.jsonl", b'{"a": 1}\n{', r"a JSON file must be valid, 'rows\.jsonl' isn't"),
        ("cut.safetensors", b"\x10\x00", r"complete safetensors files, 'cut\.safetensors' is none"),
    ],
)
def test_file_that_does_not_belong_is_refused(model_folder: Path, name: str, content: bytes, message: str) -> None:
    path = model_folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        list_publishable_files(model_folder)


@pytest.mark.parametrize("change", [-1, 1])
def test_weights_of_another_length_than_their_header_says_are_refused(model_folder: Path, change: int) -> None:
    path = model_folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:change] if change < 0 else content + b"\0")
    with pytest.raises(DataError, match=rf"has {len(content) + change} bytes where its header says {len(content)}"):
        list_publishable_files(model_folder)


def test_array_of_objects_is_refused_as_a_pickle(model_folder: Path) -> None:
    np.save(model_folder / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"found an array of objects in 'a\.npy'; save it as numbers"):
        list_publishable_files(model_folder)


@pytest.mark.parametrize(
    ("secret", "kind"),
    [
        (FAKE_TOKEN, "a Hugging Face token"),
        ("ghp_" + "a1B2" * 9, "a GitHub token"),
        ("AKIA" + "A1B2" * 4, "an AWS key"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "a private key"),
        ("https://user:secret@example.org/x", "an address with a password"),
    ],
)
def test_credential_is_refused_without_being_repeated(model_folder: Path, secret: str, kind: str) -> None:
    (model_folder / "README.md").write_text(f"# A model\n\nuse {secret} here\n", encoding="utf-8")
    with pytest.raises(
        DataError, match=f"credentials are never published, line 3 of 'README.md' looks like {kind}"
    ) as e:
        list_publishable_files(model_folder)
    assert secret not in str(e.value)


@pytest.mark.parametrize(
    "value", ["/data/mosi/train", "~/data", "C:\\data\\mosi", "file:///data/x", "\\\\server\\x", "hf:/data/wavlm"]
)
@pytest.mark.parametrize("place", ["value", "key", "list"])
def test_absolute_path_in_json_is_refused(model_folder: Path, value: str, place: str) -> None:
    content = {"value": {"a": {"b": value}}, "key": {value: 1}, "list": {"a": [1, [value]]}}[place]
    (model_folder / "processor_config.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError, match=r"a published JSON file holds no absolute path, 'processor_config\.json' has"):
        list_publishable_files(model_folder)


@pytest.mark.parametrize(
    "value", ["/", "/s", "data/mosi", "https://example.org/a/b", "and/or", "a: b", "hf:microsoft/wavlm-base"]
)
def test_text_that_is_no_path_passes(model_folder: Path, value: str) -> None:
    (model_folder / "a.json").write_text(json.dumps({"a": value}), encoding="utf-8")
    assert len(list_publishable_files(model_folder)) == 6


@pytest.mark.parametrize("name", ["README.md", "modeling_hfr_ame.py"])
@pytest.mark.parametrize("folder", ["/home/somebody/x", "/Users/somebody/x", "C:\\Users\\somebody"])
def test_folder_of_a_user_in_any_text_is_refused(model_folder: Path, name: str, folder: str) -> None:
    (model_folder / name).write_text(f"# see {folder}\n", encoding="utf-8")
    with pytest.raises(DataError, match=f"names no folder of a machine, line 1 of '{name}' has"):
        list_publishable_files(model_folder)


@pytest.mark.parametrize("key", ["hub_token", "hub_api_key", "password"])
def test_value_of_a_secret_key_is_refused(model_folder: Path, key: str) -> None:
    (model_folder / "a.json").write_text(json.dumps({"x": {key: "short"}}), encoding="utf-8")
    with pytest.raises(DataError, match=rf"'a\.json' has a value at '/x/{key}'; remove it, and revoke") as raised:
        list_publishable_files(model_folder)
    assert "short" not in str(raised.value)


def test_vocabulary_may_hold_pieces_of_paths(model_folder: Path) -> None:
    pieces = {"model": {"vocab": {"/usr/bin": 1}}, "added_tokens": []}
    (model_folder / "tokenizer.json").write_text(json.dumps(pieces), encoding="utf-8")
    assert "tokenizer.json" in {file.path for file in list_publishable_files(model_folder)}
    (model_folder / "tokenizer.json").write_text(json.dumps({**pieces, "source": "/data/x"}), encoding="utf-8")
    with pytest.raises(DataError, match=r"'tokenizer\.json' has '/data/x' at '/source'"):
        list_publishable_files(model_folder)


def test_run_record_passes_only_as_export_writes_it(model_folder: Path) -> None:
    record = {"seed": 1, "dataset_name": "talkers"}
    (model_folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    assert "run.json" in {file.path for file in list_publishable_files(model_folder)}
    (model_folder / "run.json").write_text(json.dumps({**record, "dataset_folder": "prepared"}), encoding="utf-8")
    with pytest.raises(DataError, match=r"'run\.json' still has 'dataset_folder'; export the run"):
        list_publishable_files(model_folder)


@pytest.mark.parametrize("target", ["config.json", "missing", ".."])
def test_link_is_refused_and_not_followed(model_folder: Path, target: str) -> None:
    os.symlink(target, model_folder / "linked.json")
    with pytest.raises(DataError, match=r"found a link or device 'linked\.json'; copy its content"):
        list_publishable_files(model_folder)


def test_large_file_is_refused_with_both_sizes(model_folder: Path) -> None:
    with pytest.raises(DataError, match=r"has at most 20 bytes, '.*' has \d+; split it, or raise the limit"):
        list_publishable_files(model_folder, max_file_bytes=20)


def test_folder_that_is_none_or_has_no_card_is_refused(tmp_path: Path, model_folder: Path) -> None:
    with pytest.raises(DataError, match="only a folder can be published, found none"):
        list_publishable_files(tmp_path / "missing")
    (model_folder / "README.md").unlink()
    with pytest.raises(DataError, match=r"a published folder needs a README\.md, its card"):
        list_publishable_files(model_folder)
