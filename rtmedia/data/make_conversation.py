"""Makes ``conversation.wav`` and ``conversation.json`` with espeak-ng: ``python rtmedia/data/make_conversation.py``.

Run by hand when the text changes, never at import or at build time. It needs libespeak-ng (1.51 made the files that
are shipped) and soxr; the same library makes the same files. The result is the project's own: the text is ours, and
espeak-ng's licence does not reach its output.

*The words' times are the synthesiser's own.* espeak-ng reports the sample at which it starts each word and each
phoneme; a word ends where the next one starts, or where a pause (a phoneme ``_``) starts before that.

*µ-law in a WAV file*, because anything plays it, NumPy reads it without a decoder library, its noise lies 35 dB or
more under the speech at every level (4-bit ADPCM: about 20 dB, audible on vowels), and its silence is exactly zero.
At 16 kHz it takes 16 kB a second, half of linear PCM.
"""

from __future__ import annotations

import ctypes
import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rtmedia.codec.g711 import Pcmu

RATE_HZ = 16_000
LEVEL_DBFS = -20.0  # RMS where there is speech
PEAK_DBFS = -4.0
LEAD_IN_MS = 300
TAIL_MS = 500


@dataclass(frozen=True)
class Voice:
    """A speaker: an espeak-ng voice, words a minute, pitch and its range (0 to 100)."""

    espeak_name: str
    rate_wpm: int
    pitch: int
    pitch_range: int


VOICES = {
    "agent": Voice("gmw/en+f3", 196, 52, 62),
    "customer": Voice("gmw/en-US+m3", 188, 38, 58),
}


@dataclass(frozen=True)
class Turn:
    """One utterance; `pause_ms` of silence come before it. Rate and pitch vary with the mood."""

    speaker: str
    text: str
    confidence: float
    pause_ms: int = 260
    faster: int = 0
    higher: int = 0


CONVERSATION = (
    Turn("agent", "Good morning, Northway Parcels, this is Claire speaking. How can I help?", 0.97, pause_ms=0),
    Turn("customer", "Hi Claire. Your website says my parcel was delivered yesterday. It wasn't.", 0.94, pause_ms=420),
    Turn("agent", "Oh dear! Let me look into that. What's the tracking number?", 0.95, pause_ms=260, higher=6),
    Turn("customer", "Four seven two, nine one five.", 0.91, pause_ms=400, faster=-10),
    Turn("agent", "Thank you. The driver says he left it in a blue box by the gate.", 0.93, pause_ms=450),
    Turn("customer", "A blue box? I don't have a blue box. Oh! Hang on.", 0.86, pause_ms=280, faster=14, higher=8),
    Turn("agent", "Take your time.", 0.99, pause_ms=220, faster=-8),
    Turn("customer", "You won't believe this. It's inside my recycling bin!", 0.92, pause_ms=1500, faster=16, higher=12),
    Turn("agent", "Goodness! And when do they empty the bin?", 0.95, pause_ms=300, faster=8, higher=12),
    Turn("customer", "Friday. Phew! Saved by two days.", 0.9, pause_ms=380),
    Turn("agent", "I'm so glad. I'll tell the driver that bins are not letter boxes.", 0.96),
    Turn("customer", "Please do! Thanks, Claire, you made my day.", 0.95, faster=6, higher=4),
    Turn("agent", "You're welcome. Enjoy your new shoes!", 0.97, pause_ms=280, higher=4),
    Turn("customer", "Wait, how do you know they are shoes?", 0.93, pause_ms=420, faster=10, higher=8),
    Turn("agent", "It is printed right across the label. Goodbye!", 0.98, pause_ms=400, higher=6),
)


class _EventId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    """``espeak_EVENT`` of espeak-ng's speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # in characters, from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


_WORD, _PHONEME = 1, 7  # espeak_EVENT_TYPE
_SYNCHRONOUS, _PHONEME_EVENTS, _UTF8 = 2, 1, 1
_RATE, _PITCH, _RANGE = 1, 3, 4  # espeak_PARAMETER
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Synthesiser:
    """libespeak-ng, one utterance at a time."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libespeak-ng.so.1")
        self.rate_hz = int(self._library.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEME_EVENTS))
        if self.rate_hz <= 0:
            raise SystemExit("espeak-ng finds no voices: install its data (package espeak-ng-data)")
        self._pieces: list[npt.NDArray[np.int16]] = []
        self._events: list[tuple[int, int, int, int, bytes]] = []
        self._callback = _CALLBACK(self._receive)  # kept: the library holds only the pointer
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples: ctypes._Pointer[ctypes.c_short], count: int, events: ctypes._Pointer[_Event]) -> int:
        if samples and count:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events[index].type:
            event = events[index]
            phoneme = event.id.string if event.type == _PHONEME else b""
            self._events.append((event.type, event.text_position, event.length, event.sample, phoneme))
            index += 1
        return 0

    def speak(self, turn: Turn) -> tuple[npt.NDArray[np.float32], list[tuple[str, float, float]]]:
        """Samples at `rate_hz`, and ``(word, start_s, end_s)`` for each word."""
        voice = VOICES[turn.speaker]
        self._pieces, self._events = [], []
        if self._library.espeak_SetVoiceByName(voice.espeak_name.encode()) != 0:
            raise SystemExit(f"espeak-ng has no voice {voice.espeak_name}")
        for parameter, value in ((_RATE, voice.rate_wpm + turn.faster), (_PITCH, voice.pitch + turn.higher), (_RANGE, voice.pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        text = turn.text.encode()
        self._library.espeak_Synth(text, len(text) + 1, 0, 1, 0, _UTF8, None, None)
        self._library.espeak_Synchronize()
        samples = np.concatenate(self._pieces).astype(np.float32) / np.float32(32768.0)
        return samples, self._words(turn.text, samples.size)

    def _words(self, text: str, frames: int) -> list[tuple[str, float, float]]:
        # A clause that ends in a short pause has one more event, on the space behind it.
        marks = [
            (sample, position - 1, length)
            for kind, position, length, sample, _ in self._events
            if kind == _WORD and text[position - 1 : position].strip()
        ]
        sounds = [(event[3], event[4].startswith(b"_")) for event in self._events if event[0] == _PHONEME]
        # The library's phoneme events trail its word events by the first phoneme's onset: at most 40 ms here.
        words = []
        for index, (start, position, length) in enumerate(marks):
            limit = marks[index + 1][0] if index + 1 < len(marks) else frames
            first = next((at for at, is_pause in sounds if start <= at < limit and not is_pause), start)
            end = next((at for at, is_pause in sounds if first < at < limit and is_pause), limit)
            stop = position + length
            while stop < len(text) and text[stop] != " ":  # the word as it is written, punctuation included
                stop += 1
            words.append((text[position:stop], first / self.rate_hz, end / self.rate_hz))
        written = text.split()
        if [word for word, _, _ in words] != written:
            raise SystemExit(f"espeak-ng times {[word for word, _, _ in words]}; the text is {written}: reword the turn")
        return words


def _levelled(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """At `LEVEL_DBFS` where there is speech, then softly under `PEAK_DBFS`."""
    window = RATE_HZ // 50
    frames = samples[: samples.size // window * window].reshape(-1, window)
    power = (frames.astype(np.float64) ** 2).mean(axis=1)
    speech = power[power > power.max() * 1e-3]  # within 30 dB of the loudest 20 ms
    gain = 10 ** (LEVEL_DBFS / 20) / np.sqrt(speech.mean())
    peak = 10 ** (PEAK_DBFS / 20)
    knee = peak / 2
    loud = np.abs(samples * gain)
    # Above the knee the excess is bent by tanh towards the ceiling; vowels' peaks only.
    bent = np.where(loud > knee, knee + (peak - knee) * np.tanh((loud - knee) / (peak - knee)), loud)
    ramp = np.minimum(1.0, np.arange(samples.size) / (RATE_HZ * 0.004))
    levelled: npt.NDArray[np.float32] = (np.sign(samples) * bent * ramp * ramp[::-1]).astype(np.float32)
    return levelled


def make() -> tuple[npt.NDArray[np.float32], dict[str, object]]:
    """The whole conversation: samples at `RATE_HZ`, and its transcript."""
    import soxr

    synthesiser = Synthesiser()
    parts = [np.zeros(RATE_HZ * LEAD_IN_MS // 1000, np.float32)]
    at = parts[0].size
    utterances = []
    for turn in CONVERSATION:
        raw, words = synthesiser.speak(turn)
        start_s, end_s = words[0][1], words[-1][2]
        speech = _levelled(soxr.resample(raw, synthesiser.rate_hz, RATE_HZ, "VHQ"))
        # The library's own pause at the end is replaced by ours; 20 ms keep the last consonant's release.
        first, last = round(start_s * RATE_HZ), min(speech.size, round((end_s + 0.02) * RATE_HZ))
        at += RATE_HZ * turn.pause_ms // 1000
        parts += [np.zeros(RATE_HZ * turn.pause_ms // 1000, np.float32), speech[first:last]]
        offset_ms = (at - first) * 1000 / RATE_HZ
        times = [[word, round(offset_ms + start * 1000), round(offset_ms + end * 1000)] for word, start, end in words]
        utterances.append(
            {
                "speaker": turn.speaker,
                "text": turn.text,
                "confidence": turn.confidence,
                "start_ms": times[0][1],
                "end_ms": times[-1][2],
                "words": times,
            }
        )
        at += last - first
    parts.append(np.zeros(RATE_HZ * TAIL_MS // 1000, np.float32))
    samples = np.concatenate(parts)
    whole = -samples.size % (RATE_HZ // 10)  # to a tenth of a second: whole packets of any length
    samples = np.concatenate([samples, np.zeros(whole, np.float32)])
    return samples, {"rate_hz": RATE_HZ, "duration_ms": samples.size * 1000 // RATE_HZ, "utterances": utterances}


def write_mulaw_wav(path: Path, samples: npt.NDArray[np.float32]) -> None:
    """A RIFF/WAVE file of format 7 with the ``fact`` chunk that compressed formats need."""
    data = Pcmu().encode(samples.reshape(-1, 1))
    data += b"\xff" * (len(data) % 2)
    header = struct.pack("<HHIIHHH", 7, 1, RATE_HZ, RATE_HZ, 1, 8, 0)
    chunks = b"fmt " + struct.pack("<I", len(header)) + header
    chunks += b"fact" + struct.pack("<II", 4, samples.size)
    chunks += b"data" + struct.pack("<I", samples.size) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)


def _as_json(transcript: dict[str, object]) -> str:
    """One utterance a line, so that a change can be read."""
    head = {name: value for name, value in transcript.items() if name != "utterances"}
    lines = ",\n".join(json.dumps(utterance) for utterance in transcript["utterances"])  # type: ignore[attr-defined]
    return json.dumps(head)[:-1] + ', "utterances": [\n' + lines + "\n]}\n"


def main() -> None:
    """Write both files beside this one."""
    samples, transcript = make()
    folder = Path(__file__).parent
    write_mulaw_wav(folder / "conversation.wav", samples)
    (folder / "conversation.json").write_text(_as_json(transcript), "utf-8")
    print(f"{samples.size / RATE_HZ:.1f} s, peak {20 * np.log10(np.abs(samples).max()):.1f} dBFS")


if __name__ == "__main__":
    main()
