"""``rtmedia simulate`` as a bench: which runs are asked for, where their files go, what is said about them."""

from __future__ import annotations

import csv
import gzip
import json
import math
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from rtmedia.cli.batch import Outcome, jobs_for
from rtmedia.cli.figures import above_pct, means, single_rows
from rtmedia.cli.main import app
from rtmedia.cli.places import Places
from rtmedia.cli.runs import Run, Task, expanded, parse_prices, runs_of
from rtmedia.cli.tables import as_json, print_table
from rtmedia.cli.ticklog import write_ticks
from rtmedia.config import Config
from rtmedia.errors import ConfigError
from rtmedia.sim.options import ServerOptions
from rtmedia.sim.oracle import lateness_ms
from rtmedia.sim.stream import Material
from rtmedia.sim.trace import Trace, write_bundle

PACKETS = 120  # 2.4 s


def trace_text(seed=1, stall_at=None, lost=()):
    """A quiet network with a stall of 200 ms, perhaps, as CSV."""
    chance = np.random.default_rng(seed)
    late = chance.exponential(3.0, PACKETS)
    if stall_at is not None:
        late[stall_at : stall_at + 10] += 200.0 - 20.0 * np.arange(10)
    arrival = np.maximum.accumulate(20.0 * np.arange(PACKETS) + 40.0 + late)
    return "".join(f"{n},{20 * n},{'' if n in lost else f'{arrival[n]:.2f}'}\n" for n in range(PACKETS))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to work in, with a speech file and three traces in ``traces/``."""
    monkeypatch.chdir(tmp_path)
    with wave.open("speech.wav", "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        tone = 8_000 * np.sin(np.arange(48_000) * 2 * np.pi * 300 / 16_000)
        file.writeframes(tone.astype("<i2").tobytes())
    inner = tmp_path / "traces" / "far"
    inner.mkdir(parents=True)
    (tmp_path / "traces" / "calm.csv").write_text(trace_text(), "utf-8")
    (tmp_path / "traces" / "stall.csv").write_text(trace_text(2, stall_at=60), "utf-8")
    (inner / "calm.csv.gz").write_bytes(gzip.compress(trace_text(3, lost=(50, 51)).encode()))
    return tmp_path


def simulate(*words):
    return CliRunner().invoke(app, ["simulate", "--speech", "speech.wav", "--effects", "none", "--no-oracles", "--jobs", "1", *words])


def run_named(name="wifi", price_ms=10_000.0, stem=None):
    return Run(name, f"{name}.csv", price_ms, stem or name)


def figures(name="wifi", price_ms=10_000.0, **changes):
    """A report as a simulation gives it, complete."""
    report = {
        "run": name,
        "trace": f"{name}.csv",
        "price_ms": price_ms,
        "profile": "conversation",
        "transport": "auto",
        "mean_delay_ms": 100.0,
        "p50_delay_ms": 90.0,
        "p95_delay_ms": 200.0,
        "concealed_pct": 0.5,
        "speech_concealed_pct": 0.4,
        "concealed_hold_pct": 0.3,
        "concealed_advance_pct": 0.2,
        "concealment_events": 4,
        "accelerated_pct": 1.0,
        "decelerated_pct": 2.0,
        "stalls": 2,
        "longest_stall_ms": 340.0,
        "stops_150ms": 2,
        "longest_stop_ms": 340.0,
        "resync_ms": 0.0,
        "recover50_ms": 400.0,
        "recover90_ms": 1_300.0,
        "late_pct": 0.0,
        "lost_pct": 0.25,
        "duplicate_pct": 0.0,
        "packets": 4_000,
        "seconds": 80.0,
        "captions": 26,
        "caption_skew_ms": 4.6,
        "cost_j": 150.0,
        "cost_j_3000": 115.0,
        "cost_j_10000": 150.0,
        "cost_j_30000": 250.0,
        "oracle_constant_j": 160.0,
        "oracle_schedule_j": 125.0,
        "oracle_stretch_j": 75.0,
    }
    return report | changes


# --- which runs ----------------------------------------------------------------------------------------------------


def test_a_folder_stands_for_every_trace_under_it_in_order(folder):
    assert expanded(["traces"]) == [str(Path("traces", *parts)) for parts in (("calm.csv",), ("far", "calm.csv.gz"), ("stall.csv",))]


def test_a_trace_that_is_named_twice_runs_once(folder):
    assert len(expanded(["traces/stall.csv", "traces"])) == 3


def test_names_are_short_and_tell_traces_apart(folder):
    assert [run.name for run in runs_of(["traces"], [10_000.0])] == ["traces/calm", "far/calm", "stall"]


def test_every_trace_runs_at_every_price_with_files_of_its_own(folder):
    runs = runs_of(["traces"], [3_000.0, 10_000.0])
    assert [run.price_ms for run in runs] == [3_000.0] * 3 + [10_000.0] * 3
    assert len({run.stem for run in runs}) == 6
    assert not any("/" in run.stem for run in runs)
    assert runs[-1].stem == "stall-10000"


def test_names_that_a_file_cannot_have_are_changed_and_stay_different(folder):
    (folder / "a b.csv").write_text(trace_text(), "utf-8")
    (folder / "a_b.csv").write_text(trace_text(), "utf-8")
    assert [run.stem for run in runs_of(["a b.csv", "a_b.csv"], [10_000.0])] == ["a_b", "a_b-2"]


def test_files_that_differ_in_their_suffix_alone_are_told_apart(folder):
    (folder / "traces" / "calm.csv.gz").write_bytes(gzip.compress(trace_text().encode()))
    names = [run.name for run in runs_of(["traces", str(folder / "traces" / "stall.csv")], [10_000.0])]
    assert len(set(names)) == len(names) == 5
    assert names[:2] == ["calm.csv", "calm.csv.gz"]


def test_a_file_by_two_paths_has_two_names(folder):
    assert [run.name for run in runs_of(["./traces/stall.csv", "traces/stall.csv"], [10_000.0])] == ["stall.csv", "stall.csv-2"]


def test_the_case_of_a_suffix_does_not_matter(folder):
    (folder / "LOUD.CSV").write_text(trace_text(), "utf-8")
    number = np.arange(PACKETS)
    write_bundle([Trace("one", number, number * 20.0, number * 20.0 + 30.0)], "many.npz")
    Path("many.npz").rename("MANY.NPZ")
    assert [run.trace for run in runs_of(["LOUD.CSV", "MANY.NPZ", "MANY.NPZ:one"], [10_000.0])] == ["LOUD.CSV", "MANY.NPZ:one"]
    assert Material.of(ServerOptions(trace="MANY.NPZ:one")).trace is not None
    (folder / "mixed").mkdir()
    Path("LOUD.CSV").rename("mixed/LOUD.CSV")
    assert expanded(["mixed"]) == [str(Path("mixed", "LOUD.CSV"))]


def test_without_a_trace_the_network_model_runs():
    (run,) = runs_of([], [10_000.0], "loss=0.02")
    assert run.trace is None
    assert run.name == "loss=0.02"


def test_a_bundle_is_all_its_traces_or_the_one_that_is_named(folder):
    number = np.arange(PACKETS)
    bundle = [Trace(name, number, number * 20.0, number * 20.0 + 30.0) for name in ("one", "two")]
    write_bundle(bundle, "many.npz")
    assert expanded(["many.npz"]) == ["many.npz:one", "many.npz:two"]
    assert [run.name for run in runs_of(["many.npz:two"], [10_000.0])] == ["two"]
    with pytest.raises(ConfigError, match="has no 'three'; it has one, two"):
        expanded(["many.npz:three"])


def test_a_sequence_of_prices_is_read_in_the_order_given():
    assert parse_prices("10000, 3000,1e5") == [10_000.0, 3_000.0, 100_000.0]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--trace", "nowhere.csv"], 2, "nowhere.csv does not exist"),
        (["--trace", "nowhere.npz:one"], 2, "nowhere.npz does not exist"),
        (["--trace", "empty"], 2, "without any *.csv"),
        (["--trace", "speech.wav"], 2, "no trace by its name"),
        (["--speech", "nowhere.wav"], 2, "nowhere.wav does not exist"),
        (["--price-ms", "3000,50"], 2, "50; a price lies between 100 and 1e+06"),
        (["--price-ms", "3000,nan"], 2, "a price lies between"),
        (["--price-ms", "3000,cheap"], 2, "'cheap'"),
        (["--price-ms", "3000,3000"], 2, "3000 twice"),
        (["--transport", "pigeon"], 2, "pigeon"),
        (["--ticks", "ticks.txt"], 2, ".csv or .npz"),
        (["--ticks", "ticks"], 2, "has no suffix"),
        (["--plot", "picture.gif"], 2, "'.gif'"),
        (["--trace", "traces", "--out", "heard.wav"], 2, "there are 3 runs; name a folder"),
        (["--trace", "traces", "--ticks", "speech.wav"], 2, "there are 3 runs; name a folder"),
        (["--trace", "traces", "--ticks", "{run}.txt"], 2, ".csv or .npz"),
        (["--out", "heard.wav", "--no-audio"], 2, "--no-audio"),
        (["--trace", "traces/calm.csv", "--out", "no/such/heard.wav"], 3, "cannot be written"),
    ],
)
def test_a_callers_mistake_is_named_with_its_value_and_a_way_out(folder, words, code, said):
    (folder / "empty").mkdir()
    if "--plot" in words:
        pytest.importorskip("matplotlib")
    result = simulate(*words)
    assert result.exit_code == code, result.output
    assert said in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert not (folder / "heard.wav").exists()


def test_a_folder_with_only_a_bundle_says_how_to_name_it(folder):
    (folder / "bundles").mkdir()
    (folder / "bundles" / "many.npz").touch()
    with pytest.raises(ConfigError, match=r"--trace bundles/many\.npz"):
        expanded(["bundles"])


def test_a_missing_drawing_library_says_how_to_get_it(folder, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = simulate("--plot", "picture.png")
    assert result.exit_code == 2
    assert "pip install 'rtmedia[plot]'" in result.output


# --- where the files go --------------------------------------------------------------------------------------------


def test_one_run_writes_files_and_many_write_into_folders(folder):
    one, two = run_named("one"), run_named("two")
    assert Places.of([one], out="a.wav", ticks="t.npz", plot=None).of_each == [(Path("a.wav"), Path("t.npz"), None)]
    many = Places.of([one, two], out="sound", ticks="log/{run}.npz", plot=None)
    assert many.of_each == [(Path("sound", f"{name}.wav"), Path("log", f"{name}.npz"), None) for name in ("one", "two")]
    assert (folder / "sound").is_dir()
    assert (folder / "log").is_dir()
    assert many.told() == []
    for path in (*many.of_each[0][:2], *many.of_each[1][:2]):
        path.touch()
    assert many.told() == ["2 files in sound", "2 files in log"]


def test_one_run_may_write_into_a_folder_too(folder):
    assert Places.of([run_named("one")], out="traces", ticks=None, plot=None).of_each == [(Path("traces", "one.wav"), None, None)]


def test_files_in_a_folder_each_are_told_by_their_folders(folder):
    two = Places.of([run_named("one"), run_named("two")], out="runs/{run}/x.wav", ticks=None, plot=None)
    five = Places.of([run_named(str(n)) for n in range(5)], out="more/{run}/x.wav", ticks=None, plot=None)
    for path, _, _ in (*two.of_each, *five.of_each):
        path.touch()
    assert two.told() == [str(Path("runs", "one", "x.wav")), str(Path("runs", "two", "x.wav"))]
    assert five.told() == ["5 files in 5 folders of more"]


def test_a_trace_called_overview_keeps_its_picture(folder):
    pytest.importorskip("matplotlib")
    many = Places.of([run_named("Overview"), run_named("two")], out=None, ticks=None, plot="pictures")
    assert many.of_each[0][2] == Path("pictures", "Overview.png")
    assert many.overview == Path("pictures", "overview-2.png")


def test_a_picture_of_many_runs_is_one_file_or_a_folder_of_them(folder):
    pytest.importorskip("matplotlib")
    runs = [run_named("one"), run_named("two")]
    assert Places.of(runs, out=None, ticks=None, plot="all.svg").overview == Path("all.svg")
    many = Places.of(runs, out=None, ticks=None, plot="pictures")
    assert [files[2] for files in many.of_each] == [Path("pictures", "one.png"), Path("pictures", "two.png")]
    assert many.overview == Path("pictures", "overview.png")


# --- what is said --------------------------------------------------------------------------------------------------


def test_means_are_of_what_every_run_has_and_geometric_only_where_that_is_possible():
    reports = [figures(cost_j=100.0, concealed_pct=0.0), figures(cost_j=400.0, concealed_pct=1.0, oracle_stretch_j=None)]
    found = means(reports)
    assert found["arithmetic"]["cost_j"] == 250.0
    assert found["geometric"]["cost_j"] == pytest.approx(200.0)
    assert found["arithmetic"]["concealed_pct"] == 0.5
    assert "concealed_pct" not in found["geometric"]
    assert "oracle_stretch_j" not in found["arithmetic"]
    assert means([]) == {"arithmetic": {}, "geometric": {}}


def test_a_gap_is_how_far_above_the_best_the_cost_lies():
    assert above_pct(150.0, 100.0) == pytest.approx(50.0)
    assert above_pct(150.0, None) is None
    assert above_pct(150.0, 0.0) is None


def test_one_run_is_told_in_groups_with_units():
    rows = dict(single_rows(figures()))
    assert rows["delay"] == "100 ms mean, 90 ms median, 200 ms at 95 %"
    assert rows["concealed"].splitlines()[0] == "0.50 %, of the speech 0.40 %"
    assert rows["stops"] == "2 of 150 ms or more, the longest 340 ms"
    assert rows["recovery"] == "half after 400 ms, 90 % after 1.3 s"
    assert "150 ms at the price 10000 ms" in rows["cost J"]
    assert rows["hindsight"].splitlines()[:2] == ["160 ms with one delay, J is 6 % below", "125 ms with any schedule, J is 20 % above"]
    assert max(len(line) for text in rows.values() for line in text.splitlines()) <= 66  # with its name, 80 columns


def test_what_did_not_happen_and_what_is_not_known_is_left_out():
    unknown = ("recover50_ms", "recover90_ms", "speech_concealed_pct", "oracle_constant_j", "oracle_schedule_j", "oracle_stretch_j")
    rows = dict(single_rows(figures(**dict.fromkeys(unknown), captions=0, concealment_events=0, concealed_pct=0.0, lost_pct=0.0)))
    assert not {"recovery", "hindsight", "captions"} & set(rows)
    assert rows["concealed"] == "0.00 %"
    assert rows["packets"] == "4000 sent, none lost, none late"


def table(reports, width, terminal=True):
    console = Console(width=width, force_terminal=terminal, color_system=None, markup=False, highlight=False, record=True)
    with console.capture() as capture:
        print_table(console, [Outcome(run_named(report["run"], report["price_ms"]), 1.0, report) for report in reports])
    return capture.get()


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_the_table_fits_every_terminal_and_never_leaves_out_what_matters(width):
    reports = [figures(name, price) for price in (3_000.0, 30_000.0) for name in ("wifi", "a_trace_with_quite_a_long_name_in_it")]
    text = table(reports, width)
    assert max(map(len, text.splitlines())) <= width
    header = text.splitlines()[0]
    assert all(title in header for title in ("price", "mean", "concealed", "J"))
    assert ("+const" in header) == (width == 140)


def test_a_pipe_gets_every_column_and_whole_names():
    text = table([figures("a_trace_with_quite_a_long_name_in_it" * 3), figures("b")], 40, terminal=False)
    assert "a_trace_with_quite_a_long_name_in_it" * 3 in text
    assert all(title in text for title in ("in speech", "constant", "schedule", "stretching"))
    assert "geometric mean" in text


def test_prices_of_one_trace_stand_below_each_other_without_means():
    text = table([figures(price_ms=price) for price in (3_000.0, 10_000.0)], 100)
    assert "mean\n" not in text.replace(" ", "")[-40:]
    assert "geometric" not in text


def test_a_run_that_failed_is_in_the_json_and_not_in_the_means():
    outcomes = [Outcome(run_named("one"), 1.0, figures("one")), Outcome(run_named("two"), 0.1, code=2, error="nothing was played")]
    found = as_json(outcomes)
    assert found["runs"][1]["error"] == "nothing was played"
    assert found["means"][0]["runs"] == 1


# --- runs ----------------------------------------------------------------------------------------------------------


def test_many_runs_make_a_table_a_report_and_a_file_each(folder):
    result = simulate("--trace", "traces", "--price-ms", "3000,30000", "--report", "report.json", "--out", "sound", "--ticks", "log")
    assert result.exit_code == 0, result.output
    report = json.loads((folder / "report.json").read_text("utf-8"))
    assert [run["run"] for run in report["runs"]] == ["traces/calm", "far/calm", "stall"] * 2
    assert [mean["price_ms"] for mean in report["means"]] == [3_000.0, 30_000.0]
    for run in report["runs"]:
        assert run["cost_j"] == pytest.approx(run["mean_delay_ms"] + run["price_ms"] * run["concealed_pct"] / 100.0)
    stalled = [run for run in report["runs"] if run["run"] == "stall"]
    assert all(run["concealed_pct"] > 0.0 for run in stalled)
    assert sorted(path.name for path in (folder / "sound").iterdir()) == sorted(
        f"{name}-{price}.wav" for name in ("traces_calm", "far_calm", "stall") for price in (3_000, 30_000)
    )
    assert len(list((folder / "log").glob("*.csv"))) == 6
    assert "geometric mean" in result.output
    assert "6 runs" in result.output


def test_one_run_gives_its_figures_alone_and_the_same_as_among_others(folder):
    alone = json.loads(simulate("--trace", "traces/stall.csv", "--json").stdout)
    among = json.loads(simulate("--trace", "traces", "--json").stdout)["runs"][2]
    assert alone["run"] == among["run"] == "stall"
    assert {name: value for name, value in alone.items() if name != "trace"} == {
        name: value for name, value in among.items() if name != "trace"
    }


def test_processes_of_their_own_give_the_same_figures(folder):
    words = ("--trace", "traces/stall.csv", "--trace", "traces/calm.csv", "--json")
    assert json.loads(simulate(*words, "--jobs", "2").stdout) == json.loads(simulate(*words).stdout)


def test_processes_are_started_only_where_that_pays(monkeypatch):
    monkeypatch.setattr("rtmedia.cli.workers.cores", lambda: 2)
    task = Task(run_named(), Config())
    assert jobs_for([task] * 2) == 1
    assert jobs_for([task] * 20) == 2
    assert jobs_for([replace(task, audio=False, oracles=False)] * 20) == 1
    monkeypatch.setattr("rtmedia.cli.workers.cores", lambda: 1)
    assert jobs_for([task] * 20) == 1


def test_a_run_that_fails_leaves_the_others_and_the_exit_code(folder):
    (folder / "traces" / "dead.csv").write_text("".join(f"{n},{20 * n},\n" for n in range(PACKETS)), "utf-8")
    result = simulate("--trace", "traces", "--report", "report.json")
    assert result.exit_code == 2
    assert "dead" in result.output
    assert "nothing was played" in " ".join(result.output.split())
    runs = json.loads((folder / "report.json").read_text("utf-8"))["runs"]
    assert ["error" in run for run in runs] == [False, True, False, False]


def test_the_tick_log_is_what_the_report_averages(folder):
    result = simulate("--trace", "traces/stall.csv", "--ticks", "ticks.csv", "--json")
    report = json.loads(result.stdout)
    with Path("ticks.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    playout_ms = [float(row["playout_ms"]) for row in rows if row["playout_ms"]]
    assert sum(playout_ms) / len(playout_ms) == pytest.approx(report["mean_delay_ms"], abs=0.01)
    concealed = sum(int(row["concealed_frames"]) for row in rows)
    assert 100.0 * concealed / report["frames"] == pytest.approx(report["concealed_pct"], rel=0.02)
    assert {row["op"] for row in rows} >= {"normal", "hold", "ended"}
    times_ms = [float(row["time_ms"]) for row in rows]
    assert times_ms == sorted(times_ms)


def test_the_tick_log_of_a_sender_that_pauses_is_what_the_report_averages(folder):
    words = ("--trace", "model:perfect?sender=talk&seconds=20", "--no-audio", "--ticks", "ticks.npz", "--json")
    report = json.loads(simulate(*words).stdout)
    with np.load("ticks.npz") as stored:
        playout_ms = stored["playout_ms"]
    assert np.nanmean(playout_ms) == pytest.approx(report["mean_delay_ms"])
    assert np.nanmin(playout_ms) >= 0.0


def test_more_at_once_than_there_is_room_for_is_told(folder):
    rows = "".join(f"{n},{20 * n},{1_000 + n / 100}\n" for n in range(6_000))
    (folder / "flood.csv").write_text(rows, "utf-8")
    result = simulate("--trace", "flood.csv", "--no-audio", "--report", "report.json")
    assert json.loads((folder / "report.json").read_text("utf-8"))["overflow_pct"] > 10.0
    assert "without room" in result.output


def test_a_network_that_delivers_nothing_is_named_as_such(folder):
    result = simulate("--network", "loss=1", "--no-audio")
    assert result.exit_code == 2
    assert "0 of 150 packets arrive; check the network's loss" in " ".join(result.output.split())


def test_the_tick_log_as_arrays_says_the_same(folder):
    assert simulate("--trace", "traces/calm.csv", "--ticks", "ticks.csv", "--quiet").exit_code == 0
    assert simulate("--trace", "traces/calm.csv", "--ticks", "ticks.npz", "--quiet").exit_code == 0
    with Path("ticks.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with np.load("ticks.npz") as stored:
        assert list(stored.files) == list(rows[0])
        assert stored["op"].tolist() == [row["op"] for row in rows]
        written = [float(row["delay_ms"]) for row in rows]
        assert np.allclose(stored["delay_ms"], written, atol=0.0006)


def test_a_value_that_is_not_known_is_an_empty_cell(folder):
    write_ticks(Path("t.csv"), {"time_ms": np.array([0.0, 10.0]), "playout_ms": np.array([math.nan, 1.5])})
    assert Path("t.csv").read_text("utf-8") == "time_ms,playout_ms\n0.000,\n10.000,1.500\n"


def test_profile_transport_and_price_reach_the_buffer(folder):
    words = ("--trace", "traces/far/calm.csv.gz", "--json")
    report = json.loads(simulate(*words, "--transport", "udp", "--profile", "listening", "--price-ms", "3000").stdout)
    assert (report["transport"], report["profile"], report["price_ms"]) == ("udp", "listening", 3_000.0)
    assert report["lost_pct"] == pytest.approx(100.0 * 2 / PACKETS)


# --- pictures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_a_run_is_drawn_the_same_each_time(folder, kind):
    pytest.importorskip("matplotlib")
    for name in ("one", "two"):
        result = simulate("--trace", "traces/stall.csv", "--plot", f"{name}.{kind}", "--quiet")
        assert result.exit_code == 0, result.output
    data = Path(f"one.{kind}").read_bytes()
    assert data.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[kind])
    assert data == Path(f"two.{kind}").read_bytes()
    if kind == "svg":
        text = data.decode()
        assert all(word in text for word in ("playout", "target", "hold, waiting", "seconds since"))


def test_lost_packets_and_a_modelled_network_are_drawn_too(folder):
    pytest.importorskip("matplotlib")
    result = simulate("--network", "loss=0.1&jitter_ms=20", "--seed", "3", "--plot", "model.svg")
    assert result.exit_code == 0, result.output
    assert "packet lost" in Path("model.svg").read_text("utf-8")


def test_the_arrivals_that_are_drawn_are_those_that_were_heard(folder):
    from rtmedia.simulation import simulate as run

    config = Config(source="loopback:?loss=0.1&jitter_ms=20", effects=())
    result = run(config, None, "speech.wav", seed=4)
    lost_pct = 100.0 * np.isnan(result.arrivals.arrival_ms).mean()
    assert lost_pct == pytest.approx(result.report["lost_pct"])
    assert lateness_ms(result.arrivals).min() == 0.0


def test_a_model_in_place_of_a_trace_has_the_seed_and_the_arrivals_of_its_run(folder):
    from rtmedia.simulation import simulate as run

    (one,) = runs_of(["model:cellular?seconds=20&sender=talk&loss=0.05"], [10_000.0])
    assert one.name == "cellular?seconds=20&sender=talk&loss=0.05"
    config = Config(effects=())
    result = run(config, one.trace, "speech.wav", seed=4)
    assert 100.0 * np.isnan(result.arrivals.arrival_ms).mean() == pytest.approx(result.report["lost_pct"])
    # On the sender's clock, pauses and all.
    late_ms = lateness_ms(result.arrivals)
    assert late_ms[np.isfinite(late_ms)].max() < 1_000.0
    result = simulate("--trace", one.trace, "--seed", "4", "--json")
    assert result.exit_code == 0, result.output
    with pytest.raises(ConfigError, match="no setting of model:cellular"):
        runs_of(["model:cellular?lose=1"], [10_000.0])


def test_many_runs_are_drawn_over_all_and_one_by_one(folder):
    pytest.importorskip("matplotlib")
    result = simulate("--trace", "traces", "--price-ms", "3000,30000", "--plot", "pictures", "--quiet")
    assert result.exit_code == 0, result.output
    assert len(list((folder / "pictures").glob("*.png"))) == 7
    assert (folder / "pictures" / "overview.png").stat().st_size > 10_000


@pytest.mark.parametrize("names", [1, 3, 20])
def test_the_picture_over_all_takes_any_number_of_traces_and_bounds(folder, names):
    pytest.importorskip("matplotlib")
    from rtmedia.cli.overview import plot_overview

    reports = [
        figures(f"trace{n}", price, mean_delay_ms=50.0 + 9.0 * n, concealed_pct=0.1 * n, cost_j=60.0 + 19.0 * n + price / 1000.0)
        for price in (3_000.0, 10_000.0)
        for n in range(names)
    ]
    plot_overview(Path("all.svg"), reports)
    text = Path("all.svg").read_text("utf-8")
    assert all(word in text for word in ("best schedule", "mean delay", "delay and concealment"))
