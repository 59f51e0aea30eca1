"""The files of one recording's features: COVAREP's `.mat` and OpenFace 2's `.csv`, readers only.

- COVAREP: `features` (n, D) and `names` (1, D), MATLAB 5; one frame every 10 ms, which the file doesn't say.
- OpenFace 2: a header with `frame`, `face_id`, `timestamp`, `confidence`, `success` and then the features. A picture
  without a face has `success` 0 and whatever the tracker had last; a picture with several faces has several lines.

Source: one real file of each. COVAREP's has 349 frames for a clip of 3.47 s.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.io import loadmat, whosmat

from modeling_hfr_ame.data.sources.source import RuleCounts
from modeling_hfr_ame.errors import DataError

COVAREP_SUFFIX = ".mat"
_COVAREP_SHIFT_S = 0.01
# One hour of COVAREP is 0.2 GiB. The file is compressed, so its own size is no bound.
_MAX_MAT_BYTES = 2**30
_OPENFACE_OWN = ("frame", "face_id", "timestamp", "confidence", "success")
_OPENFACE_NEEDED = ("timestamp", "confidence", "success")


@dataclass(frozen=True)
class ToolFrames:
    """Frames of one file.

    Attributes:
        names: D feature names.
        features: (n, D) float64.
        times_s: (n,) middle of each frame in seconds from the start of the recording.
    """

    names: list[str]
    features: np.ndarray
    times_s: np.ndarray


def is_openface(path: Path) -> bool:
    """Whether a file starts with OpenFace's header."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    with open(path, "rb") as stream:
        start = stream.readline(256).decode("utf-8", "replace")
    return {"frame", "timestamp", "confidence"} <= {cell.strip() for cell in start.split(",")}


def read_covarep(path: Path) -> ToolFrames:
    """Reads a COVAREP file.

    Raises:
        DataError: It is no MATLAB 5 file, has no matrix `features`, or as many names as features are not there.
    """
    try:
        shapes = {name: (shape, kind) for name, shape, kind in whosmat(path)}
        shape, kind = shapes.get("features", ((), "nothing"))
        if len(shape) != 2 or kind not in ("double", "single") or 0 in shape:
            raise DataError(
                f"a COVAREP file holds the matrix 'features' (frames x features), {path.name} has "
                f"{', '.join(f'{name} {found[0]} {found[1]}' for name, found in shapes.items()) or 'no variable'}; "
                "extract it again"
            )
        if 8 * shape[0] * shape[1] > _MAX_MAT_BYTES:
            raise DataError(f"a COVAREP file holds at most 1 GiB of features, {path.name} states {shape}; cut it")
        # Matrices and cell arrays of text only: objects and functions are never asked for.
        content = loadmat(path, variable_names=["features", "names"])
    except DataError:
        raise
    except Exception as error:  # what scipy raises for a damaged file depends on the byte
        raise DataError(
            f"a COVAREP file is a MATLAB 5 file, {path.name} can't be read as one ({error}); extract it again"
        ) from error
    features = np.asarray(content["features"], np.float64)
    names = [str(np.ravel(cell)[0]) for cell in np.ravel(content.get("names", np.empty(0, object))) if np.size(cell)]
    if names and len(names) != features.shape[1]:
        raise DataError(
            f"a COVAREP file names each feature, {path.name} has {len(names)} names for {features.shape[1]} features; "
            "extract it again"
        )
    times_s = (np.arange(len(features)) + 0.5) * _COVAREP_SHIFT_S
    return ToolFrames(names or [f"covarep_{index}" for index in range(features.shape[1])], features, times_s)


def read_openface(path: Path, rules: RuleCounts) -> ToolFrames:
    """Reads an OpenFace file.

    Args:
        path: The file.
        rules: Counts frames without a face and further faces.

    Returns:
        One frame per picture, that of the most confident face; exactly zero where none was found.

    Raises:
        DataError: A column is missing, a cell is no number, or there is no frame.
    """
    with open(path, encoding="utf-8", newline="") as stream:
        header = [cell.strip() for cell in next(csv.reader(stream), [])]
        missing = [name for name in _OPENFACE_NEEDED if name not in header]
        names = [name for name in header if name not in _OPENFACE_OWN]
        if missing or not names:
            raise DataError(
                f"an OpenFace file has the columns {', '.join(_OPENFACE_NEEDED)} and features, {path.name} lacks "
                f"{', '.join(missing) or 'features'}; extract it again"
            )
        try:
            values = np.loadtxt(stream, delimiter=",", ndmin=2)
        except (ValueError, UnicodeDecodeError) as error:
            raise DataError(
                f"an OpenFace file holds numbers below its header, {path.name} doesn't ({error}); extract it again"
            ) from error
    if not values.size or values.shape[1] != len(header):
        found = f"{values.shape[1]} cells per line" if values.size else "no frame"
        raise DataError(f"an OpenFace file has lines of {len(header)} cells, {path.name} has {found}; extract it again")
    column = {name: values[:, header.index(name)] for name in _OPENFACE_NEEDED}
    # By time, and within one picture the most confident face first.
    order = np.lexsort((-column["confidence"], column["timestamp"]))
    first = order[np.r_[True, np.diff(column["timestamp"][order]) > 0]]
    rules.add("further_faces_dropped", len(values) - len(first))
    features = values[first][:, [header.index(name) for name in names]]
    without_face = column["success"][first] == 0
    features[without_face] = 0.0
    rules.add("frames_without_face", int(without_face.sum()))
    return ToolFrames(names, features, column["timestamp"][first])
