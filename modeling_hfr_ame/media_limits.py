"""How large a media file may be before it is refused."""

from dataclasses import dataclass, fields

from .errors import ConfigError


@dataclass(frozen=True)
class MediaLimits:
    """Hard limits of one media file; most are checked against the header and again while decoding.

    Attributes:
        max_file_bytes: Size of the file.
        max_duration_s: Duration of each stream in seconds.
        max_frame_width: Width of a source frame in pixels.
        max_frame_height: Height of a source frame in pixels.
        max_frame_count: Decoded source frames.
        max_frame_rate_hz: Average source frame rate.
        max_sampled_bytes: Sampled and scaled frames where a caller asks for all of them at once: 15 minutes at 5 frames
            per second and 320 x 180 pixels are 780 MB. Features are made from a stream and don't need it.
        max_wall_s: Time for reading the file, in seconds; what the features take counts, too.
        max_memory_bytes: Memory that decoding may take beyond that of an idle process. Held only where a process of its
            own decodes, on systems that limit address space (Linux).

    Raises:
        ConfigError: A limit isn't positive.
    """

    max_file_bytes: int = 512 * 2**20
    max_duration_s: float = 900.0
    max_frame_width: int = 4096
    max_frame_height: int = 4096
    max_frame_count: int = 108_000
    max_frame_rate_hz: float = 240.0
    max_sampled_bytes: int = 2**30
    max_wall_s: float = 600.0
    max_memory_bytes: int = 384 * 2**20

    def __post_init__(self) -> None:
        wrong = {each.name: getattr(self, each.name) for each in fields(self) if not getattr(self, each.name) > 0}
        if wrong:
            raise ConfigError(f"a limit of media files must be positive, found {wrong}; the defaults suit most files")
