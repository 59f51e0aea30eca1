"""Files that no honest recorder wrote. Each maker writes one and says which message must name it."""

import os
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np

from tests.media.clip_writing import even_times, tone, write_clip

Maker = Callable[[Path], Path]


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _png(width: int, height: int) -> bytes:
    """A black RGB picture; its rows compress a thousandfold."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(3 * width + 1)) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _pictures_in_quicktime(path: Path, pictures: list[bytes], *, stated: tuple[int, int] = (64, 48)) -> Path:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = *stated, "rgb24"
        for index, content in enumerate(pictures):
            packet = av.Packet(content)
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, 40 * index, 40 * index, Fraction(1, 1000)
            packet.is_keyframe = True
            container.mux(packet)
    return path


def _raw_video(path: Path, *, clock_hz: int = 25, num_frames: int = 10) -> Path:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=clock_hz)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        stream.codec_context.time_base = Fraction(1, clock_hz)
        for index in range(num_frames):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, clock_hz)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _wav(samples: bytes, *, rate: int = 16000, channels: int = 1, bits: int = 16, kind: int = 1) -> bytes:
    block = channels * bits // 8
    head = struct.pack("<HHIIHH", kind, channels & 0xFFFF, rate, rate * block & 0xFFFFFFFF, block & 0xFFFF, bits)
    body = b"WAVE" + b"fmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body


def huge_dimensions_in_the_header(folder: Path) -> Path:
    path = _raw_video(folder / "huge.mov")
    content = bytearray(path.read_bytes())
    # The sample entry "raw ": width and height follow 28 bytes after the four letters.
    start = content.index(b"raw ", content.index(b"stsd")) + 28
    content[start : start + 4] = struct.pack(">HH", 60000, 60000)
    return _write(path, bytes(content))


def huge_picture_in_the_stream(folder: Path) -> Path:
    return _pictures_in_quicktime(folder / "bomb.mov", [_png(14000, 14000)])


def picture_that_grows(folder: Path) -> Path:
    return _pictures_in_quicktime(folder / "grows.mov", [_png(64, 48), _png(64, 48), _png(64, 48), _png(5000, 300)])


def ten_hours(folder: Path) -> Path:
    return write_clip(folder / "hours.mp4", [0.0, 0.04, 36000.0], rate_hz=25)


def million_frames_a_second(folder: Path) -> Path:
    return _raw_video(folder / "fast.mov", clock_hz=1_000_000)


def truncated(folder: Path) -> Path:
    path = write_clip(folder / "cut.mp4", even_times(8.0), tone(8.0), options={"movflags": "faststart"})
    return _write(path, path.read_bytes()[: path.stat().st_size // 2])


def playlist(folder: Path) -> Path:
    clip = write_clip(folder / "part.ts", even_times(0.4), tone(0.4), audio_codec="mp2")
    text = (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.4,\n{clip}\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
    )
    return _write(folder / "list.mp4", text.encode())


def concat_list(folder: Path) -> Path:
    return _write(folder / "concat.mp4", b"ffconcat version 1.0\nfile /etc/passwd\n")


def dash_manifest(folder: Path) -> Path:
    text = '<?xml version="1.0"?><MPD type="static"><Period><BaseURL>file:///etc/passwd</BaseURL></Period></MPD>'
    return _write(folder / "dash.mp4", text.encode())


def session_description(folder: Path) -> Path:
    return _write(folder / "call.mp4", b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=audio 9 RTP/AVP 0\r\n")


def zero_length(folder: Path) -> Path:
    return _write(folder / "empty.mp4", b"")


def nan_audio(folder: Path) -> Path:
    samples = np.where(np.arange(16000) == 9000, np.nan, 0.1).astype("<f4")
    return _write(folder / "nan.wav", _wav(samples.tobytes(), bits=32, kind=3))


def infinite_audio(folder: Path) -> Path:
    samples = np.where(np.arange(16000) == 9000, np.inf, 0.1).astype("<f4")
    return _write(folder / "infinite.wav", _wav(samples.tobytes(), rate=44100, bits=32, kind=3))


def one_sample_a_second(folder: Path) -> Path:
    """A megabyte that becomes six days of waveform."""
    return _write(folder / "slow.wav", _wav(bytes(2**20), rate=1))


def sixty_thousand_channels(folder: Path) -> Path:
    return _write(folder / "channels.wav", _wav(bytes(2**20), channels=60000, bits=8))


def endless_stream(folder: Path) -> Path:
    """Raw AAC states no duration; one second, repeated for an hour and a half."""
    path = write_clip(folder / "endless.aac", None, tone(1.0, rate=16000), audio_rate=16000)
    return _write(path, path.read_bytes() * 5400)


def endless_device(folder: Path) -> Path:
    (folder / "zero.mp4").symlink_to("/dev/zero")
    return folder / "zero.mp4"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.mp4")
    return folder / "pipe.mp4"


def link_to_a_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "target")
    (folder / "link.mp4").symlink_to(folder / "target")
    return folder / "link.mp4"


def link_to_itself(folder: Path) -> Path:
    (folder / "loop.mp4").symlink_to(folder / "loop.mp4")
    return folder / "loop.mp4"


def folder_named_like_a_film(folder: Path) -> Path:
    (folder / "film.mp4").mkdir()
    return folder / "film.mp4"


def nested_boxes(folder: Path) -> Path:
    """Fifty thousand boxes, each inside the one before."""
    depth = 50_000
    boxes = b"".join(struct.pack(">I", 8 * (depth - index)) + b"moov" for index in range(depth))
    head = struct.pack(">I4s4sI4s", 20, b"ftyp", b"isom", 0, b"isom")
    return _write(folder / "nested.mp4", head + boxes)


def archive_with_a_media_suffix(folder: Path) -> Path:
    return _write(folder / "archive.mp4", b"PK\x03\x04" + bytes(range(256)) * 400)


def still_picture_with_a_media_suffix(folder: Path) -> Path:
    return _write(folder / "still.mp4", _png(64, 48))


def noise(folder: Path) -> Path:
    return _write(folder / "noise.mkv", np.random.default_rng(0).bytes(200_000))


def noise_behind_an_honest_header(folder: Path) -> Path:
    path = write_clip(folder / "rotten.mkv", even_times(4.0), tone(4.0))
    content = bytearray(path.read_bytes())
    start = len(content) // 8
    content[start:] = np.random.default_rng(0).bytes(len(content) - start)
    return _write(path, bytes(content))


HOSTILE: dict[Maker, str] = {
    huge_dimensions_in_the_header: "frames of 60000 x 60000 pixels, more than MediaLimits|can't be decoded",
    huge_picture_in_the_stream: "MediaLimits.max_memory_bytes|frames of 14000 x 14000 pixels|can't be decoded",
    picture_that_grows: "frames of 5000 x 300 pixels, more than MediaLimits",
    ten_hours: r"lasts 36000\.\d s, more than MediaLimits.max_duration_s 900",
    million_frames_a_second: "has 1e\\+06 frames per second, more than MediaLimits.max_frame_rate_hz 240",
    truncated: r"can't be decoded|is cut off: its .* ends after",
    playlist: "is a playlist, which names other files",
    concat_list: "is a playlist, which names other files",
    dash_manifest: "is a playlist, which names other files",
    session_description: "is a playlist, which names other files",
    zero_length: r"is empty \(0 bytes\)",
    nan_audio: "must hold finite audio samples, found NaN or infinite ones",
    infinite_audio: "must hold finite audio samples, found NaN or infinite ones",
    one_sample_a_second: r"lasts .* s, more than MediaLimits.max_duration_s 900|can't be decoded",
    sixty_thousand_channels: "can't be decoded|must hold|ended the process",
    endless_stream: r"lasts \d+\.\d s, more than MediaLimits.max_duration_s 900",
    endless_device: "regular files only",
    pipe: "regular files only",
    link_to_a_pipe: "regular files only",
    link_to_itself: "can't be read .*; check the path",
    folder_named_like_a_film: "regular files only",
    nested_boxes: "can't be decoded",
    archive_with_a_media_suffix: "can't be decoded",
    still_picture_with_a_media_suffix: "is a still picture, not a recording",
    noise: "can't be decoded",
    noise_behind_an_honest_header: "can't be decoded|is cut off|must hold",
}
