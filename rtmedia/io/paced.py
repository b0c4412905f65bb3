"""Sinks without a sound card: compiled code pulls at a device's pace, and throws the sound away or keeps a copy."""

from __future__ import annotations

import threading
import wave
from pathlib import Path
from typing import BinaryIO

import numpy as np

from rtmedia.errors import SinkError
from rtmedia.ports import Block, PlayRoom
from rtmedia.rt.memory import aligned_zeros
from rtmedia.rt.ring import FrameRing

PERIOD_MS = 10


class NullSink:
    """Takes sound at the pace of a sound card and forgets it.

    Notes
    -----
    Thread: one compiled thread pulls for all such sinks of the process (``rtm-play``).   Real-time: yes, as far as the
    system wakes it in time.
    """

    play_path = "paced"

    def __init__(self, target: str = "", device: str | None = None) -> None:
        self.device = "null"
        self.failure: SinkError | None = None
        self._play: PlayRoom | None = None

    def open(self, channels: int, rate_hz: int | None, source_rate_hz: int) -> int:
        """No device to ask: the wanted rate, or the source's own."""
        return rate_hz or source_rate_hz

    def start(self, play: PlayRoom) -> None:
        """Be asked for 10 ms every 10 ms from now on."""
        self._begin(play, capture=None)

    def _begin(self, play: PlayRoom, capture: FrameRing | None) -> None:
        block = aligned_zeros((play.rate_hz * PERIOD_MS // 1000, play.channels), np.float32)
        play.start_paced(block, PERIOD_MS * 1_000_000, capture)
        self._play = play

    def stop(self, timeout_s: float) -> bool:
        """Take no more."""
        return self._play is None or self._play.stop_paced(timeout_s)


class WavSink(NullSink):
    """Plays into a WAV file (16 bit) at the pace of a sound card.

    Parameters
    ----------
    target
        The file; overwritten.

    Notes
    -----
    Thread: ``rtm-play`` pulls, ``rtm-wav`` writes the file; eight seconds of ring between them.
    """

    def __init__(self, target: str = "", device: str | None = None) -> None:
        super().__init__()
        if not target:
            raise SinkError("the wav sink has no file", kind="file", hint="write wav:FILE.wav")
        self.device = target
        self._path = Path(target)
        self._file: wave.Wave_write | None = None
        self._handle: BinaryIO | None = None
        self._ring: FrameRing | None = None
        self._done = threading.Event()
        self._writer: threading.Thread | None = None
        self._channels = 1

    def open(self, channels: int, rate_hz: int | None, source_rate_hz: int) -> int:
        """Create the file."""
        rate = rate_hz or source_rate_hz
        try:
            # Opened first: where `wave` opens it itself and cannot, it leaves an object behind that complains when it dies.
            self._handle = self._path.open("wb")
        except OSError as exc:
            raise SinkError(
                f"{self._path} cannot be written ({exc.strerror})", kind="file", device=str(self._path), hint="choose another path"
            ) from exc
        self._file = wave.open(self._handle, "wb")  # noqa: SIM115  (closed by stop)
        self._file.setnchannels(channels)
        self._file.setsampwidth(2)
        self._file.setframerate(rate)
        self._channels = channels
        self._ring = FrameRing(1 << int(np.ceil(np.log2(rate * 8))), channels)
        return rate

    def start(self, play: PlayRoom) -> None:
        """Start pulling and writing."""
        assert self._ring is not None
        self._writer = threading.Thread(target=self._write, name="rtm-wav", daemon=True)
        self._writer.start()
        self._begin(play, capture=self._ring)

    def _write(self) -> None:
        assert self._ring is not None and self._file is not None
        block = np.zeros((self._ring.capacity // 8, self._channels), np.float32)
        ending = False
        while True:
            frames = self._ring.read(block)
            if frames:
                self._write_frames(block[:frames])
            elif ending:
                return
            else:
                ending = self._done.wait(0.05)

    def _write_frames(self, block: Block) -> None:
        """Append to the file; after a failure the ring is only drained."""
        assert self._file is not None
        if self.failure is not None:
            return
        samples = np.clip(np.rint(block * 32768.0), -32768, 32767)
        try:
            self._file.writeframesraw(samples.astype("<i2").tobytes())
        except OSError as exc:
            self._fail(exc)

    def _fail(self, exc: OSError) -> None:
        self.failure = SinkError(
            f"{self._path} cannot be written any further ({exc.strerror})",
            kind="file",
            device=self.device,
            hint="make room on the disk, or choose another path",
        )

    def stop(self, timeout_s: float) -> bool:
        """End the pulling and the writing, and complete the file's header."""
        stopped = super().stop(timeout_s)
        self._done.set()
        if self._writer is not None:
            self._writer.join(timeout_s)
            stopped = stopped and not self._writer.is_alive()
        if stopped and self._file is not None:
            assert self._handle is not None
            try:
                with self._handle:  # closed also where the header cannot be written, on a full disk
                    self._file.close()
            except OSError as exc:
                if self.failure is None:
                    self._fail(exc)
            self._file = None
        return stopped
