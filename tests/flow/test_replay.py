"""A session under capture, and the same again: every tick, every packet's way and every frame, to the bit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rtmedia import Compressor, Config, Jitter, SpectralGate, simulate
from rtmedia.assembly import make_line
from rtmedia.capture.reading import read_session
from rtmedia.capture.trace import trace_of
from rtmedia.capture.writing import Capture
from rtmedia.errors import ConfigError
from rtmedia.events import Transcript
from rtmedia.io.capture import CaptureFile, read_capture
from rtmedia.ports import EPOCH_SHIFT, FLAG_END_OF_STREAM, FLAG_NEW_EPOCH, NO_MEDIA_TIME
from rtmedia.presets import names_of
from rtmedia.replay import _differences
from rtmedia.rooms.control import Control
from rtmedia.rooms.decode import decode_step
from rtmedia.rooms.recorder import TABLES
from rtmedia.rooms.render import GAIN_PLACE, SWITCH_PLACE, render_step
from rtmedia.sim.trace import read_trace, write_trace
from tests.rooms.line_driver import EPOCH_NS

MS = 1_000_000
PACKET_MS = 20
CLOSE_S = 30.0


@dataclass
class Lived:
    """What a session was."""

    ticks: Any
    packets: Any
    audio: Any
    events: list[Any]
    counted: dict[str, Any]


def live(
    path,
    config: Config,
    rng,
    *,
    seconds=4.0,
    loss=0.03,
    spread_ms=40.0,
    stall=(1.5, 0.35),
    deeds=None,
    device_frames=(10,),
    asleep=(),
) -> Lived:
    """A captured session on one thread: the rooms, the network and the device get their turns by chance, as threads do.

    `deeds` are callables by the tenth of a second in which they are done to the line; `asleep` names who gets no turn,
    from when and until when (ms).
    """
    line = make_line(config, config.device_rate_hz or config.rate_hz)
    control = Control(line)
    capture = Capture(str(path), config, line, control)
    ticks, packets, audio, events = [], [], [], []
    control.keep_ticks = ticks
    add_packets = control.ledger.add_packets
    control.ledger.add_packets = lambda records: (packets.append(records.copy()), add_packets(records))  # type: ignore[method-assign]

    frames = config.rate_hz * PACKET_MS // 1000
    sound = (8_000 * np.sin(np.arange(int(seconds * config.rate_hz)) ** 1.4 / 300)).astype("<i2")
    messages = []
    for i in range(int(seconds * 1000) // PACKET_MS):
        sent_ms = i * PACKET_MS
        stalled = stall[0] * 1000 <= sent_ms < (stall[0] + stall[1]) * 1000
        arrival_ms = (stall[0] + stall[1]) * 1000 if stalled else sent_ms + rng.exponential(spread_ms)
        if rng.random() >= loss:
            messages.append(
                (
                    EPOCH_NS + int(arrival_ms * MS),
                    i,
                    sent_ms * MS,
                    np.repeat(sound[i * frames : (i + 1) * frames], config.channels).tobytes(),
                )
            )
    messages.sort(key=lambda message: message[0])
    messages.append((messages[-1][0] + 1, 0, NO_MEDIA_TIME, b""))
    capture_said = {
        "text": "hello",
        "confidence": 0.9,
        "timestamp_ms": 900,
        "epoch": 1,
        "arrival_ns": EPOCH_NS + 500 * MS,
        "speaker": "agent",
    }
    capture.take_transcript(capture_said)
    control.captions.add(**capture_said)

    now_ns, device_ns, flags = EPOCH_NS, EPOCH_NS, FLAG_NEW_EPOCH | 1 << EPOCH_SHIFT
    done: set[int] = set()
    while now_ns < EPOCH_NS + int((seconds + 1.5) * 1e9):
        now_ns += int(rng.integers(50_000, 900_000))
        tenth = (now_ns - EPOCH_NS) // 100_000_000
        if deeds and tenth in deeds and tenth not in done:
            done.add(tenth)
            deeds[tenth](line, control)
        while messages and messages[0][0] <= now_ns:
            arrival_ns, seq, media_ns, payload = messages.pop(0)
            assert line.decode.write(arrival_ns, seq, media_ns, flags if payload else FLAG_END_OF_STREAM, payload)
            flags = 0
        sleeping = asleep[0] if asleep and asleep[1] * MS <= now_ns - EPOCH_NS < asleep[2] * MS else ""
        for turn in rng.permutation([name for name in ("decode", "render", "device") if name != sleeping]):
            if turn == "decode":
                for _ in range(int(rng.integers(0, 4))):
                    decode_step(line.decode.address, now_ns)
            elif turn == "render":
                writing = int(rng.random() < 0.03)  # the device is just writing its clock
                line.play.cell.memory[0] += writing
                render_step(line.render.address, now_ns)
                line.play.cell.memory[0] -= writing
            elif now_ns >= device_ns:
                asked = int(rng.choice(device_frames)) * line.device_rate_hz // 1000
                block = np.empty((asked, line.channels), np.float32)
                line.play.pull(block, now_ns, now_ns + 20 * MS)
                audio.append(block)
                device_ns += asked * 1_000_000_000 // line.device_rate_hz + int(rng.integers(-400_000, 400_000))
        if rng.random() < 0.02:
            events += control.poll(now_ns)[0]
    events += control.poll(now_ns, last=True)[0]
    assert capture.close(CLOSE_S)
    assert not capture.problem()
    return Lived(np.concatenate(ticks), np.concatenate(packets), np.concatenate(audio), events, control.snapshot())


def assert_equal(lived: Lived, result) -> None:
    report = result.report
    assert report["cut"] == ""
    assert report["steps_missing"] == 0
    assert (report["ticks_compared"], report["ticks_different"], report["first_difference"]) == (len(lived.ticks), 0, -1)
    for name in ("op", "time_ns", "media_pos", "delay_ms", "control_ms", "target_ms", "resample_ratio"):
        assert np.array_equal(result.ticks[name], lived.ticks[name], equal_nan=lived.ticks[name].dtype.kind == "f"), name
    assert result.ticks.tobytes() == lived.ticks.tobytes()
    assert np.array_equal(result.audio, lived.audio)
    again = result.stats.as_dict()
    for name in (
        "packets_lost_total",
        "packets_late_total",
        "underruns_total",
        "underrun_frames_total",
        "latency_ms",
        "jitter_ms",
        "concealed_pct",
        "resample_ratio",
        "drift_ppm",
        "neteq",
    ):
        assert again[name] == lived.counted[name], name


@pytest.mark.parametrize(
    "config",
    [
        Config(effects=()),
        Config(device_rate_hz=48_000),
        Config(rate_hz=8_000, channels=2, device_rate_hz=44_100, effects=(Compressor(),), lead_ms=40.0, jitter=Jitter(transport="udp")),
    ],
    ids=["plain", "default effects at 48 kHz", "stereo over UDP"],
)
def test_a_captured_session_replays_to_the_bit(tmp_path, rng, config):
    lived = live(tmp_path / "s.rtcap", config, rng)
    assert len(set(lived.ticks["op"])) >= 4, "too calm to prove anything"
    assert lived.counted["concealed_pct"] > 0
    assert_equal(lived, simulate(config, capture=tmp_path / "s.rtcap"))
    assert_equal(lived, simulate(capture=tmp_path / "s.rtcap"))


def test_a_device_that_asks_unevenly_and_runs_dry_replays_to_the_bit(tmp_path, rng):
    config = Config(effects=(), device_rate_hz=48_000)
    lived = live(tmp_path / "s.rtcap", config, rng, device_frames=(5, 10, 40), asleep=("render", 2_500, 2_650))
    assert lived.counted["underruns_total"] > 0
    assert_equal(lived, simulate(config, capture=tmp_path / "s.rtcap"))


@pytest.mark.parametrize("device_rate_hz", [16_000, 48_000])
def test_a_session_that_follows_clocks_by_resampling_replays_to_the_bit(tmp_path, rng, device_rate_hz):
    config = Config(effects=(), device_rate_hz=device_rate_hz, on_pause="hold", jitter=Jitter(drift="resample"))
    deeds = {
        22: lambda line, control: (line.pause(True), control.hold(True)),
        26: lambda line, control: (line.pause(False), control.hold(False)),
    }
    lived = live(tmp_path / "s.rtcap", config, rng, deeds=deeds)
    assert len(np.unique(lived.ticks["resample_ratio"])) > 100, "the ratio hardly moved"
    assert len(np.unique(lived.ticks["frames"])) > 1, "no block had a length of its own"
    assert lived.counted["drift_ppm"] != 0.0
    result = simulate(capture=tmp_path / "s.rtcap")
    assert_equal(lived, result)
    assert_equal(lived, simulate(config, capture=tmp_path / "s.rtcap"))
    with pytest.raises(ConfigError, match=r"jitter\.drift is 'splice'"):
        simulate(config.with_(jitter=Jitter()), capture=tmp_path / "s.rtcap")


def test_a_ratio_that_differs_in_one_bit_is_a_difference(kept):
    _, lived = kept
    other = lived.ticks.copy()
    other["resample_ratio"][17] = np.nextafter(other["resample_ratio"][17], 2.0)
    assert _differences(lived.ticks, other) == (len(other), 1, int(other["tick"][17]))


def test_changes_and_pauses_happen_between_the_same_blocks_again(tmp_path, rng):
    config = Config(effects=(SpectralGate(), Compressor()), on_pause="hold")
    deeds = {
        8: lambda line, control: line.update(gain_db=-6.0),
        12: lambda line, control: line.update(effects=(SpectralGate(depth_db=12.0), Compressor(ratio=3.0)), ceiling_db=-12.0),
        20: lambda line, control: (line.pause(True), control.hold(True)),
        26: lambda line, control: (line.pause(False), control.hold(False)),
        30: lambda line, control: line.update(gain_db=6.0),
    }
    lived = live(tmp_path / "s.rtcap", config, rng, deeds=deeds)
    assert_equal(lived, simulate(config, capture=tmp_path / "s.rtcap"))
    assert np.any(np.all(lived.audio[28_000:45_000].reshape(-1, 100) == 0.0, axis=1)), "the pause was not heard"


def test_switches_happen_between_the_same_blocks_again(tmp_path, rng):
    config = Config(effects="voice", bypass=("compressor",), device_rate_hz=48_000)
    deeds = {
        6: lambda line, control: line.update(bypass=("spectral_gate",)),
        7: lambda line, control: line.update(bypass=("spectral_gate", "compressor"), settings={"compressor": {"ratio": 3.0}}),
        13: lambda line, control: line.update(bypass=()),
        18: lambda line, control: (line.update(bypass=("compressor",)), line.update(bypass=())),
        27: lambda line, control: line.update(bypass=("compressor",), gain_db=-3.0),
    }
    lived = live(tmp_path / "s.rtcap", config, rng, deeds=deeds)
    assert_equal(lived, simulate(config, capture=tmp_path / "s.rtcap"))
    assert_equal(lived, simulate(capture=tmp_path / "s.rtcap"))
    changes = read_session(tmp_path / "s.rtcap").changes
    compressor = names_of("voice").index("compressor")
    assert set(changes["place"]) == {compressor, GAIN_PLACE, SWITCH_PLACE, SWITCH_PLACE + compressor}
    with pytest.raises(ConfigError, match=r"bypass is \[\], but the capture was made with \['compressor'\]"):
        simulate(config.with_(bypass=()), capture=tmp_path / "s.rtcap")


@pytest.mark.parametrize("place", [1, SWITCH_PLACE + 1, GAIN_PLACE - 1])
def test_a_change_for_an_effect_that_is_not_there_is_refused(tmp_path, rng, place):
    deeds = {2: lambda line, control: line.update(bypass=("compressor",))}
    path = tmp_path / "s.rtcap"
    lived = live(path, Config(effects=(Compressor(),)), rng, seconds=0.8, stall=(0.3, 0.1), deeds=deeds)
    changes = np.frombuffer(read_capture(path).tables["changes"], TABLES["changes"]).copy()
    assert changes["place"].tolist() == [SWITCH_PLACE]
    changes["place"] = place
    with pytest.raises(ConfigError, match="but there are 1"):
        simulate(capture=rewritten((path, lived), tmp_path, changes=changes.tobytes()))


def test_a_buffer_that_is_full_refuses_the_same_packets_again(tmp_path, rng):
    config = Config(rate_hz=24_000, effects=())  # room for 10.9 s
    lived = live(tmp_path / "s.rtcap", config, rng, seconds=12.0, stall=(0.0, 11.5), asleep=("device", 11_400, 12_600))
    session = read_session(tmp_path / "s.rtcap")
    assert session.steps["tries"].sum() > len(session.wire) + 10, "no packet was ever offered twice"
    assert_equal(lived, simulate(config, capture=tmp_path / "s.rtcap"))


def test_transcripts_come_again(tmp_path, rng):
    lived = live(tmp_path / "s.rtcap", Config(effects=()), rng)
    result = simulate(capture=tmp_path / "s.rtcap")
    (said,) = (event for event in result.events if isinstance(event, Transcript))
    assert said.text == "hello"
    assert [type(event) for event in result.events] == [type(event) for event in lived.events]


def test_a_setting_that_differs_is_named(tmp_path, rng):
    live(tmp_path / "s.rtcap", Config(effects=(), gain_db=-3.0), rng, seconds=0.6)
    for config, name in (
        (Config(effects=()), "gain_db is 0.0"),
        (Config(effects=(), gain_db=-3.0, device_rate_hz=48_000), "device_rate_hz is 48000"),
        (Config(effects=(), gain_db=-3.0, jitter=Jitter(price_ms=500)), "jitter.price_ms is 500"),
        (Config(gain_db=-3.0), "effects is"),
    ):
        with pytest.raises(ConfigError, match=name):
            simulate(config, capture=tmp_path / "s.rtcap")


def test_a_trace_beside_a_capture_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="together with trace"):
        simulate(capture=tmp_path / "s.rtcap", trace="t.csv")


def test_the_header_names_no_source_and_no_secret(tmp_path, rng):
    from rtmedia import Credentials

    secret = "s3cr3t-sentinel"
    config = Config(
        source=f"wss://{secret}.example.org/x?access_token={secret}",
        credentials=Credentials("id", secret, secret),
        conversation_id=secret,
        effects=(),
    )
    live(tmp_path / "s.rtcap", config, rng, seconds=0.6)
    contents = read_capture(tmp_path / "s.rtcap")
    assert secret not in json.dumps(contents.header) + json.dumps(contents.end)


def test_without_a_capture_nothing_is_kept():
    line = make_line(Config(effects=()), 16_000)
    line.step(EPOCH_NS)
    assert line.render.state["steps"][0] == 0
    assert line.decode.tap is None


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A captured session's file and what it was."""
    path = tmp_path_factory.mktemp("kept") / "s.rtcap"
    lived = live(path, Config(effects=()), np.random.default_rng(5), seconds=2.0, stall=(0.8, 0.3))
    return path, lived


def rewritten(kept, folder, **tables):
    """The same file with some tables replaced, checksums and all."""
    contents = read_capture(kept[0])
    pieces = [(name, octets) for name, octets in (contents.tables | tables).items() if octets]
    waiting = [pieces]
    file = CaptureFile(folder / "other", contents.header, lambda: waiting.pop() if waiting else [], lambda: contents.end)
    assert file.close(CLOSE_S)
    return folder / "other"


@pytest.mark.parametrize("share", [0.15, 0.4, 0.75, 0.95])
def test_a_capture_of_a_crash_replays_as_far_as_it_goes(tmp_path, kept, share):
    path, lived = kept
    octets = path.read_bytes()
    (tmp_path / "cut").write_bytes(octets[: int(len(octets) * share)])
    result = simulate(capture=tmp_path / "cut")
    assert result.report["cut"]
    assert result.ticks.tobytes() == lived.ticks[: len(result.ticks)].tobytes()


@pytest.mark.parametrize("table", ["wire", "payloads", "decoded", "changes", "marks", "ticks", "steps", "transcripts"])
def test_a_table_that_is_missing_does_no_harm(tmp_path, kept, table):
    simulate(capture=rewritten(kept, tmp_path, **{table: b""}))


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("wire", "length", -1),
        ("wire", "length", 2**40),
        ("wire", "arrival_ns", 2**62),
        ("steps", "blocks", 1_000),
        ("steps", "tries", -1),
        ("steps", "time_ns", -5),
        ("steps", "largest", 2**60),
        ("marks", "asked", 2**40),
        ("marks", "frames", -1),
    ],
)
def test_a_number_that_no_session_leaves_is_refused(tmp_path, kept, table, column, value):
    records = np.frombuffer(read_capture(kept[0]).tables[table], TABLES[table]).copy()
    records[column][7] = value
    with pytest.raises(ConfigError, match=f"{column} is {value}"):
        simulate(capture=rewritten(kept, tmp_path, **{table: records.tobytes()}))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_numbers_lead_the_rooms_astray(tmp_path_factory, kept, data):
    """Whatever stands in the tables, checksums and all: refused in words, or replayed to some end."""
    contents = read_capture(kept[0])
    table = data.draw(st.sampled_from(["wire", "steps", "marks", "decoded"]))
    records = np.frombuffer(contents.tables[table], TABLES[table]).copy()
    for _ in range(data.draw(st.integers(1, 5))):
        column = data.draw(st.sampled_from(records.dtype.names))
        row = data.draw(st.integers(0, len(records) - 1))
        near = int(records[column][row])
        records[column][row] = data.draw(
            st.one_of(
                st.integers(max(-(2**63), near - 10**7), min(2**63 - 1, near + 10**7)), st.integers(-(2**63), 2**63 - 1), st.integers(0, 20)
            )
        )
    try:
        simulate(capture=rewritten(kept, tmp_path_factory.getbasetemp(), **{table: records.tobytes()}))
    except ConfigError:
        return


def test_a_gap_in_the_steps_ends_the_replay_there(tmp_path, kept):
    steps = np.frombuffer(read_capture(kept[0]).tables["steps"], TABLES["steps"])
    result = simulate(capture=rewritten(kept, tmp_path, steps=np.delete(steps, 100).tobytes()))
    assert result.report["cut"] == "step 100 found no room in its ring"
    assert result.report["steps"] == 100
    assert result.report["ticks_different"] == 0


def test_a_capture_becomes_a_trace(tmp_path, kept):
    path, _ = kept
    trace = trace_of(read_session(path))
    write_trace(trace, tmp_path / "t.csv")
    again = read_trace(tmp_path / "t.csv")
    assert again.packet_ms == PACKET_MS
    assert again.length_ms is None, "every packet is as long as the next, which need not be said"
    assert trace.lost > 0
    assert float(np.min(trace.arrival_ms - trace.send_ms)) == 0.0
    wire = np.frombuffer(read_capture(path).tables["wire"], TABLES["wire"])
    wire = wire[wire["length"] > 0]
    found = dict(zip(trace.seq.tolist(), trace.arrival_ms.tolist(), strict=True))
    offset_ms = found[0] - float(wire["arrival_ns"][wire["seq"] == 0][0]) / MS
    for seq in (5, 20, 60):
        for record in wire[wire["seq"] == seq + int(wire["seq"].min())]:
            assert found[seq] == pytest.approx(float(record["arrival_ns"]) / MS + offset_ms, abs=1e-3)
    report = simulate(Config(effects=()), trace=tmp_path / "t.csv").report
    assert report["concealment_events"] > 0


def test_a_pause_of_the_sender_and_packets_of_another_length_are_in_the_trace(tmp_path, kept):
    contents = read_capture(kept[0])
    wire = np.frombuffer(contents.tables["wire"], TABLES["wire"]).copy()
    octets, at, pieces = contents.tables["payloads"], 0, []
    for record in wire:
        payload = octets[at : at + int(record["length"])]
        at += len(payload)
        if record["seq"] >= 60 and record["length"] > 0:  # from here on twice as long, after half a second of nothing
            record["media_time_ns"] = (1_700 + 2 * PACKET_MS * (int(record["seq"]) - 60)) * MS
            record["length"] *= 2
            payload *= 2
        pieces.append(payload)
    other = rewritten(kept, tmp_path, wire=wire.tobytes(), payloads=b"".join(pieces), steps=b"", marks=b"", ticks=b"")
    trace = trace_of(read_session(other))
    assert set(trace.length_ms[trace.seq < 60]) == {20.0}
    assert set(trace.length_ms[trace.seq >= 60]) == {40.0}
    assert trace.send_ms[trace.seq >= 60][0] - trace.send_ms[trace.seq < 60][-1] > 500.0
    write_trace(trace, tmp_path / "t.csv")
    assert simulate(Config(effects=()), trace=tmp_path / "t.csv", oracles=False).report["seconds"] > 2.7
