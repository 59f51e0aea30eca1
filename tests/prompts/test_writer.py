import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from modeling_hfr_ame.errors import DataError
from modeling_hfr_ame.prompts.writer import PromptWriter, answered_keys, read_rows
from tests.prompts.prompt_rows import describe_store, prompt_row

STORE = describe_store()


def fill(folder: Path, count: int) -> Path:
    with PromptWriter(folder, STORE) as writer:
        for index in range(count):
            writer.append(prompt_row(f"v{index}", text=f"Language: hint {index} 好"))
    return folder / f"{STORE.name}.jsonl"


def test_writer_goes_on_where_an_earlier_one_ended(tmp_path: Path) -> None:
    path = fill(tmp_path, 2)
    with PromptWriter(tmp_path, STORE) as writer:
        assert not writer.append(prompt_row("v1"))
        assert writer.append(prompt_row("v2"))
    assert [row.sample_id for row in read_rows(path)] == ["v0", "v1", "v2"]
    assert len(answered_keys(tmp_path, STORE)) == 3


def test_failed_row_is_kept_and_followed_by_its_answer(tmp_path: Path) -> None:
    with PromptWriter(tmp_path, STORE) as writer:
        assert writer.append(prompt_row(text=""))
        assert writer.append(prompt_row(text="", error="status 429"))
        assert writer.append(prompt_row())
        assert not writer.append(prompt_row(text=""))
        assert writer.row_of_key(prompt_row().key) == prompt_row()
        path = writer.path
    assert [row.error for row in read_rows(path)] == ["status 500", "status 429", None]


def test_store_torn_at_any_byte_loses_no_whole_row_and_fills_up_to_the_same_bytes(tmp_path: Path) -> None:
    path = fill(tmp_path, 3)
    whole = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    # Every offset around the line ends, and every 23rd elsewhere: characters of several bytes are cut in the middle.
    offsets = {
        *range(0, len(whole), 23),
        *(end + shift for end in ends for shift in (-3, -2, -1, 0, 1) if end + shift >= 0),
    }
    for offset in sorted(offset for offset in offsets if offset <= len(whole)):
        path.write_bytes(whole[:offset])
        with PromptWriter(tmp_path, STORE) as writer:
            # A row that lacks its line feed only is whole.
            kept = sum(end - 1 <= offset for end in ends)
            assert len(read_rows(path)) == kept, offset
            written = [writer.append(row) for row in map(_row, range(3))]
        assert written == [False] * kept + [True] * (3 - kept)
        assert path.read_bytes() == whole, offset


def _row(index: int):  # type: ignore[no-untyped-def]
    return prompt_row(f"v{index}", text=f"Language: hint {index} 好")


def test_zeros_that_a_power_cut_left_at_the_end_are_cut_off(tmp_path: Path) -> None:
    path = fill(tmp_path, 2)
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0" * 4096)
    fill(tmp_path, 2)
    assert path.read_bytes() == whole


def test_reader_leaves_out_a_line_that_is_still_being_written(tmp_path: Path) -> None:
    path = fill(tmp_path, 2)
    path.write_bytes(path.read_bytes()[:-5])
    assert [row.sample_id for row in read_rows(path)] == ["v0"]


def test_damaged_line_in_the_middle_is_an_error_with_its_number(tmp_path: Path) -> None:
    path = fill(tmp_path, 3)
    lines = path.read_bytes().split(b"\n")
    lines[1] = lines[1][:40]
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(DataError, match=rf"line 2 of {STORE.name}.jsonl is none.*delete that line"):
        read_rows(path)
    with pytest.raises(DataError, match="line 2"), PromptWriter(tmp_path, STORE):
        pass
    path.write_bytes(b"\n".join([*lines[:1], *lines[2:]]))
    with PromptWriter(tmp_path, STORE) as writer:  # the lock is free again
        assert writer.row_of_key(_row(2).key) is not None


def test_rows_of_two_stores_in_one_file_are_refused(tmp_path: Path) -> None:
    path = fill(tmp_path, 1)
    other = prompt_row("v9", description=describe_store(model_revision="2"))
    path.write_bytes(path.read_bytes() + other.to_line())
    with pytest.raises(DataError, match="must share model, template and options, line 2 has others"):
        read_rows(path)
    with (
        PromptWriter(tmp_path / "new", STORE) as writer,
        pytest.raises(DataError, match="found a row of another store"),
    ):
        writer.append(other)


def test_second_writer_is_refused_while_the_first_is_open(tmp_path: Path) -> None:
    with PromptWriter(tmp_path, STORE), pytest.raises(DataError, match="another process writes"):
        PromptWriter(tmp_path, STORE).__enter__()
    with PromptWriter(tmp_path, STORE):
        pass


def test_second_writer_in_another_process_is_refused(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.prompts.prompt_rows import describe_store\n"
        "from modeling_hfr_ame.prompts.writer import PromptWriter\n"
        "with PromptWriter(Path(sys.argv[1]), describe_store()): print('open')"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with PromptWriter(tmp_path, STORE):
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "another process writes" in refused.stderr
    assert subprocess.run(command, capture_output=True, text=True, check=False).stdout == "open\n"


def test_full_disk_leaves_the_rows_written_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fill(tmp_path, 2)
    before = path.read_bytes()
    write = os.write

    def write_a_little(file: int, data: bytes) -> int:
        if len(data) > 20:
            return write(file, data[:20])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with PromptWriter(tmp_path, STORE) as writer, monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, data: write_a_little(file, bytes(data)[:25]))
        with pytest.raises(DataError, match="couldn't be written"):
            writer.append(_row(2))
    assert path.read_bytes() == before


def test_row_is_on_the_disk_when_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    write, fsync = os.write, os.fsync
    with PromptWriter(tmp_path, STORE) as writer:
        monkeypatch.setattr(os, "write", lambda file, data: (events.append("write"), write(file, data))[1])
        monkeypatch.setattr(os, "fsync", lambda file: (events.append("fsync"), fsync(file))[1])
        writer.append(_row(0))
        assert events == ["write", "fsync"]
        writer.append(_row(0))
        assert events == ["write", "fsync"]
