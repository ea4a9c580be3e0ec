"""How the channels of a recording become what a recogniser hears: a pure function of what was heard in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from .media import Sound, StreamInfo

MixName = Literal["mono", "sum", "left", "right", "subtract", "even", "stereo"]

_STEREO = 2
_MAX_SURROUND = 8  # 7.1; ffmpeg's own down-mix leaves three of the twelve channels of 7.1.4 out

_DEAD_DBFS = -70.0  # an open microphone in a quiet room is near -60, an input without one near -90

# Two microphones in one room stay above -0.5; a plug wired the wrong way round gives -1.
_OPPOSITE = -0.9
_CANCELLING = -0.7  # from here on the usual mix is 9 dB below the louder side, or worse
_SAME = 0.9

# Two people with a microphone and a channel each: either has the word alone for a good part of the time, and neither
# channel is the other's echo. Measured with two voices taking turns over 34 s: 0.17 to 0.54 of the time for the lesser
# side and a correlation of -0.16 to 0.15, with nothing of the other voice in a channel, with that voice 10 to 40 dB
# below, through a room too, and with one voice 20 dB below the other. One pair of microphones in a room (0.4 and 1.4 m
# apart, 0.3 to 1.2 s of reverberation), a lavalier beside a camera, and music come to 0.06 at most; voices panned by
# 10 dB and more come to a correlation of 0.44 and more: mixed, they lose nothing.
_ALONE = 0.10
_RELATED = 0.3


class Mix(Struct, frozen=True):
    """How channels are brought together.

    Attributes:
        name: `mono` (ffmpeg's own down-mix), `sum` (both sides, unweakened), `left`, `right`, `subtract`, `even` (every
            channel alike), or `stereo` (two speakers kept apart).
        reason: Why, in half a sentence.
        channels: Channels of the artifact.
        filter: ffmpeg's `pan` filter that does it; None where `-ac` does.
    """

    name: MixName
    reason: str
    channels: int = 1
    filter: str | None = None

    @property
    def rescues(self) -> bool:
        """Whether mixing as usual, as a service would, loses what was said."""
        return self.name in {"left", "right", "subtract", "even"}


def mix_of(stream: StreamInfo) -> Mix:
    """How the channels of an audio stream are mixed. Nothing that may be said in any of them is lost.

    What was heard are samples: a channel that is silent in them may come alive later. So no channel is left out,
    unless the other one holds the same.
    """
    sound = stream.sound
    # As many as were heard: of a stream that changes on the way, the header knows one end.
    channels = (stream.channels or 1) if sound is None else len(sound.levels_dbfs)
    if channels == 1:
        return Mix("mono", "one channel")
    if sound is None:
        return Mix("mono", "nothing is known of the channels")
    if channels > _STEREO:
        return _of_many(sound)
    return _of_two(sound)


def _of_two(sound: Sound) -> Mix:
    left, right = (level is not None and level > _DEAD_DBFS for level in sound.levels_dbfs)
    if left != right:
        # The usual mix would halve the live side for the sake of a dead one.
        quiet, loud = ("right", "left") if left else ("left", "right")
        return Mix("sum", f"the {quiet} channel is silent; the {loud} one is not weakened", filter="pan=mono|c0=c0+c1")
    if sound.correlation < _OPPOSITE:
        # Mixing opposite channels by adding them leaves silence; by subtracting, all of either.
        return Mix("subtract", "left and right are opposite and would cancel out", filter="pan=mono|c0=0.5*c0-0.5*c1")
    if sound.correlation < _CANCELLING:
        return _louder(sound)
    if abs(sound.correlation) < _RELATED and min(sound.left_alone, sound.right_alone) >= _ALONE:
        return Mix("stereo", "two speakers, each on a channel, are kept apart", channels=_STEREO)
    if sound.correlation > _SAME:
        return Mix("mono", "left and right hold the same")
    return Mix("mono", "both channels hear the same room")


def _louder(sound: Sound) -> Mix:
    left, right = (level or 0.0 for level in sound.levels_dbfs)
    reason = "left and right cancel each other out; the louder one holds it all"
    if left >= right:
        return Mix("left", reason, filter="pan=mono|c0=c0")
    return Mix("right", reason, filter="pan=mono|c0=c1")


def _of_many(sound: Sound) -> Mix:
    count = len(sound.levels_dbfs)
    if sound.is_laid_out and count <= _MAX_SURROUND:
        return Mix("mono", f"{count} channels are mixed with the centre in front")
    # Tracks of a recorder, not places around a listener. ffmpeg would guess places, and drop the third of three
    # channels, the fourth of six, and three of twelve [measured with 9.0].
    alive = sum(level is not None and level > _DEAD_DBFS for level in sound.levels_dbfs) or count
    weighted = "+".join(f"{1 / alive:.6f}*c{channel}" for channel in range(count))
    return Mix("even", f"{count} channels without named places are mixed alike", filter=f"pan=mono|c0={weighted}")
