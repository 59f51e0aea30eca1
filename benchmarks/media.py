"""Time and memory of features from recordings, streamed from a process of their own and, beside it, all at once.

    python benchmarks/media.py --minutes 10 --width 640

Generates talking faces of 10 seconds and of some minutes with a moving tone, then measures each way in a fresh process,
since a peak of memory can't be taken back:

- `streamed`: `extract_clip`, as `hfr-ame prepare` and `hfr-ame predict` do it;
- `at once`: all pictures and samples decoded here, then the same extractors.

Memory is the peak of this process above what it had after the imports, plus all of the decoding process. Speed is the
recording's length by the processor time of both processes, so it is the speed on one core; the wall time is beside it.
Linux only.
"""

import argparse
import contextlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

FRAME_RATE_HZ, SOUND_HZ = 25, 44100


def write_recording(path: Path, seconds: float, width: int) -> Path:
    """Writes a talking face in H.264 with AAC sound."""
    import av
    import cv2

    from modeling_hfr_ame.data.synthetic_face import FaceLook, FacePose, draw_face

    look = FaceLook(skin=(224, 180, 150), hair=(60, 40, 30), half_width=52, half_height=66, centre=(160, 120))
    height = width * 3 // 4
    generator = np.random.default_rng(0)
    pictures = []
    for index in range(50):
        pose = FacePose(0.0, abs(np.sin(index / 4)), 0.0, 1.0, (6 * np.sin(index * np.pi / 25), 0.0))
        large = cv2.resize(draw_face(look, pose), (width, height), interpolation=cv2.INTER_CUBIC)
        noise = generator.integers(-6, 7, (height, width, 1))
        pictures.append(np.clip(large.astype(np.int16) + noise, 0, 255).astype(np.uint8))
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FRAME_RATE_HZ, options={"preset": "veryfast"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        sound = container.add_stream("aac", rate=SOUND_HZ, layout="mono")
        for second in range(round(seconds)):
            for index in range(second * FRAME_RATE_HZ, (second + 1) * FRAME_RATE_HZ):
                frame = av.VideoFrame.from_ndarray(pictures[index % len(pictures)], format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, FRAME_RATE_HZ)
                container.mux(video.encode(frame))
            clock = second + np.arange(SOUND_HZ) / SOUND_HZ
            wave = 0.3 * np.sin(2 * np.pi * (150 * clock + 20 * np.sin(clock)))
            block = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], format="fltp", layout="mono")
            block.sample_rate, block.pts, block.time_base = SOUND_HZ, second * SOUND_HZ, Fraction(1, SOUND_HZ)
            container.mux(sound.encode(block))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return path


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class PeakOfChildren(threading.Thread):
    """Watches the memory of this process's children; the system's own record counts their parent's at the start."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_mb = 0.0
        self._ended = threading.Event()

    def run(self) -> None:
        """Looks at them until it is told to stop."""
        while not self._ended.wait(0.02):
            for task in Path("/proc/self/task").iterdir():
                for child in (task / "children").read_text().split():
                    with contextlib.suppress(OSError, IndexError):
                        status = Path(f"/proc/{child}/status").read_text()
                        self.peak_mb = max(self.peak_mb, int(status.split("VmRSS:")[1].split()[0]) / 1024)

    def stop(self) -> float:
        """Ends the watch; returns the largest memory of a child in MB."""
        self._ended.set()
        self.join()
        return self.peak_mb


def _current_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def measure(path: Path, way: str) -> dict[str, float]:
    """Measures one way in this process."""
    from modeling_hfr_ame.data.clip_features import ClipFeatureSpec, extract_clip
    from modeling_hfr_ame.media import decode_media

    spec = ClipFeatureSpec()
    # Loads the libraries and the cascade.
    spec.vision_extractor.extract(np.zeros((1, 60, 80, 3), np.uint8))
    spec.audio_extractor.extract(np.full(1600, 0.1), 16000)
    before_mb, cpu_s, start = _current_mb(), _cpu_s(), time.monotonic()
    watch = PeakOfChildren()
    watch.start()
    if way == "streamed":
        with tempfile.TemporaryDirectory() as cache:
            result = extract_clip(path, spec, Path(cache), num_thumbnails=24)
        duration_s, num_frames = result.duration_s, result.num_pictures
        assert result.failure is None, result.failure
        found = 1 - result.num_faceless / max(1, result.num_pictures)
    else:
        media = decode_media(path)
        assert media.audio is not None
        assert media.video is not None
        vision = spec.vision_extractor.extract(media.video.frames, 5.0)
        spec.audio_extractor.extract(media.audio.waveform, 16000)
        duration_s, num_frames = len(media.audio.waveform) / 16000, len(vision)
        found = float(vision.any(axis=1).mean())
    wall_s, used_s = time.monotonic() - start, _cpu_s() - cpu_s
    return {
        "duration_s": round(duration_s, 2),
        "pictures": num_frames,
        "face_share": round(found, 3),
        "wall_s": round(wall_s, 2),
        "cpu_s": round(used_s, 2),
        "times_real_time_on_one_core": round(duration_s / used_s, 1),
        "above_baseline_mb": round(_peak_mb() - before_mb, 1),
        "decoding_process_mb": round(watch.stop(), 1),
    }


def main() -> None:
    """Generates the recordings and measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--measure", nargs=2, metavar=("FILE", "WAY"), help="one measurement, in this process")
    parser.add_argument("files", nargs="*", type=Path, help="measure these recordings instead")
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(Path(arguments.measure[0]), arguments.measure[1])))
        return
    report: dict[str, Any] = {"platform": platform.platform(), "cpus": os.cpu_count(), "width": arguments.width}
    with tempfile.TemporaryDirectory() as folder:
        files = arguments.files or [
            write_recording(Path(folder) / "short.mp4", 10, arguments.width),
            write_recording(Path(folder) / "long.mp4", 60 * arguments.minutes, arguments.width),
        ]
        for path in files:
            ways = {way: _in_a_fresh_process(path, way) for way in ("streamed", "at once")}
            ways["ratios"] = {
                name: round(ways["streamed"][name] / ways["at once"][name], 3)
                for name in ("cpu_s", "wall_s", "above_baseline_mb")
            }
            report[path.name] = ways
    print(json.dumps(report, indent=2))


def _in_a_fresh_process(path: Path, way: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", str(path), way]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
