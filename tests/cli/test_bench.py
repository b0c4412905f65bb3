"""`rtmedia bench` finds the benchmarks, runs them one after the other whatever becomes of each, and reports what it found."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rtmedia.cli.bench_report import duration, write_report
from rtmedia.cli.benchmarks import Benchmark, benchmarks_in, chosen, find_folder, pictures_of, run
from rtmedia.cli.main import app
from rtmedia.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]

GOOD = '''"""How good is good?

As good as it was made.
"""
from _bench import Row, Target, arguments, report

asked = arguments(__doc__)
rows = [Row("all of them", peer, 1000.0 * ratio, 2000.0 * ratio, 3e6, ratio, 0.01) for peer, ratio in (("rtmedia", 1.0), ("a|b", 90.0))]
targets = [Target.at_most("time", 2.0, 1.0, "ms"), Target.at_least("streams", 300, 12), Target.at_most("peer", 1, None)]
facts = [{"name": "x", "gap_ms": 2.5}, {"name": "y", "gap_ms": None}]
report(__doc__, rows, asked, {"facts": facts}, targets=targets, missing=["peer (pip)"])
'''
BAD = '"""Does it fail?"""\nprint("first")\nraise ValueError("on purpose")\n'
SILENT = '"""Does it say anything?"""\n'


@pytest.fixture
def folder(tmp_path):
    """A folder of benchmarks of its own, with the shared code of the real one."""
    made = tmp_path / "benchmarks"
    made.mkdir()
    for shared in ("_bench.py", "_report.py", "_plot.py"):
        (made / shared).write_text((ROOT / "benchmarks" / shared).read_text("utf-8"), "utf-8")
    for name, text in (("bad", BAD), ("good", GOOD), ("silent", SILENT)):
        (made / f"{name}.py").write_text(text, "utf-8")
    return made


@pytest.fixture
def bench(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rtmedia.cli.preparing.prepare", lambda console, quiet=False: None)
    return lambda *words: CliRunner().invoke(app, ["bench", "--folder", str(folder), *words])


def test_the_list_has_every_benchmark_and_its_question(bench):
    result = bench("--list")
    assert result.exit_code == 0
    assert re.findall(r"^(\w+)  +(.*)$", result.output, re.MULTILINE) == [
        ("bad", "Does it fail?"),
        ("good", "How good is good?"),
        ("silent", "Does it say anything?"),
    ]


def test_every_real_benchmark_has_a_question():
    for one in benchmarks_in(find_folder()):
        assert "?" in one.question, f"{one.name}: {one.question}"


def test_a_benchmark_leaves_result_log_and_report(bench, tmp_path):
    result = bench("good", "--tiny", "--out", "found")
    assert result.exit_code == 0, result.output
    assert "1 of 3 targets met" in result.output
    kept = json.loads((tmp_path / "found" / "good.json").read_text("utf-8"))
    assert kept["tiny"] is True
    assert [target["met"] for target in kept["targets"]] == [True, False, None]
    assert kept["run"]["took_s"] > 0
    assert "How good is good?" in (tmp_path / "found" / "good.log").read_text("utf-8")
    page = (tmp_path / "found" / "report.md").read_text("utf-8")
    for said in (
        "**How good is good?**",
        "As good as it was made.",
        "| time | ≤ 2 ms | 1 ms | met | [`good`](#good) |",
        "| streams | ≥ 300 | 12 | **missed** | [`good`](#good) |",
        "- `good`: peer (pip)",
        "| a\\|b | 90.0 µs | 180 µs | 3.00 ms | 90 | 0.01 % |",
        "| name | gap, ms |",
        "measure nothing",
    ):
        assert said in page, said


def test_the_rows_are_drawn_where_matplotlib_is(bench, tmp_path):
    pytest.importorskip("matplotlib")
    assert bench("good", "--out", "found", "--report", "pages/bench.md").exit_code == 0
    assert (tmp_path / "found" / "good.png").stat().st_size > 1000
    assert "![good](../found/good.png)" in (tmp_path / "pages" / "bench.md").read_text("utf-8")


def test_without_matplotlib_it_is_said_and_nothing_fails(bench, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = bench("good", "--out", "found")
    assert result.exit_code == 0
    assert "rtmedia[plot]" in result.output
    assert not list((tmp_path / "found").glob("*.png"))


def test_one_that_fails_is_reported_and_the_others_go_on(bench, tmp_path):
    result = bench("--out", "found")
    assert result.exit_code == 1
    assert "bad failed: ValueError: on purpose" in result.output
    assert "silent failed: it ended well, but left no result" in result.output
    page = (tmp_path / "found" / "report.md").read_text("utf-8")
    assert "| [`bad`](#bad) | Does it fail? | **failed** |" in page
    assert "This run **failed**: ValueError: on purpose" in page
    assert "**How good is good?**" in page


def test_one_that_does_not_end_is_ended(bench, folder):
    (folder / "endless.py").write_text('"""Does it end?"""\nimport time\nwhile True:\n    time.sleep(60)\n')
    result = bench("endless", "--timeout", "1", "--out", "found")
    assert result.exit_code == 1
    assert "ended after 1 s" in result.output


def test_whoever_interrupts_a_run_leaves_no_process_behind(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("rtmedia.cli.benchmarks._LOOK_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60.0)
        child = f"import socket, time; there = socket.create_connection({listener.getsockname()!r}); "
        child += "print('begun', flush=True); time.sleep(600)"
        (folder / "endless.py").write_text(
            f'"""Does it end?"""\nimport subprocess, sys\nsubprocess.Popen([sys.executable, "-c", {child!r}]).wait()\n'
        )

        def saying(line):
            if "begun" in line:
                raise KeyboardInterrupt

        (endless,) = chosen(benchmarks_in(folder), ["endless"])
        with pytest.raises(KeyboardInterrupt):
            run(endless, tmp_path, tiny=True, plots=False, timeout_s=60.0, saying=saying)
        there, _ = listener.accept()
        with there, contextlib.suppress(ConnectionResetError):
            there.settimeout(60.0)
            assert there.recv(1) == b""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX's signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_whatever_else_ends_the_command_is_an_interruption_too(bench, folder, name):
    before = signal.getsignal(getattr(signal, name))
    (folder / "endless.py").write_text(
        f'"""Does it end?"""\nimport os, signal, time\nos.kill(os.getppid(), signal.{name})\ntime.sleep(600)\n'
    )
    assert bench("endless", "--timeout", "60", "--out", "found").exit_code == 130
    assert signal.getsignal(getattr(signal, name)) is before


def test_an_older_result_does_not_stand_for_a_run_that_failed(bench, folder, tmp_path):
    bench("good", "--out", "found")
    (folder / "good.py").write_text(BAD)
    assert bench("good", "--out", "found").exit_code == 1
    assert json.loads((tmp_path / "found" / "good.json").read_text("utf-8"))["rows"] == []
    assert not list((tmp_path / "found").glob("*.png"))


def test_a_report_can_be_written_again_of_all_that_lies_there(bench, tmp_path):
    assert bench("good", "--out", "found").exit_code == 0
    (tmp_path / "found" / "report.md").unlink()
    assert bench("--report-only", "--out", "found").exit_code == 0
    assert "## good" in (tmp_path / "found" / "report.md").read_text("utf-8")


def test_a_report_can_be_of_those_that_are_named(bench, folder, tmp_path):
    (folder / "other.py").write_text(GOOD)
    assert bench("good", "other", "--out", "found").exit_code == 0
    assert bench("--report-only", "other", "--out", "found").exit_code == 0
    page = (tmp_path / "found" / "report.md").read_text("utf-8")
    assert "## other" in page
    assert "## good" not in page


def test_a_tiny_run_leaves_real_results_as_they_are(bench, tmp_path):
    assert bench("good").exit_code == 0
    assert bench("good", "--tiny").exit_code == 0
    kept, tiny = (json.loads((tmp_path / "bench-results" / folder / "good.json").read_text("utf-8")) for folder in (".", "tiny"))
    assert not kept["tiny"]
    assert tiny["tiny"]
    assert "measure nothing" not in (tmp_path / "bench-results" / "report.md").read_text("utf-8")
    assert "measure nothing" in (tmp_path / "bench-results" / "tiny" / "report.md").read_text("utf-8")
    assert bench("--tiny", "--report-only").exit_code == 0


def test_options_reach_the_one_that_they_are_for(bench, folder, tmp_path):
    (folder / "told.py").write_text(
        '"""What was said?"""\nfrom _bench import parser_for, report\n'
        'parser = parser_for(__doc__)\nparser.add_argument("--seconds", type=float)\nasked = parser.parse_args()\n'
        'report(__doc__, [], asked, {"said": [{"what": "seconds", "value": asked.seconds}]})\n'
    )
    assert bench("told", "--out", "found", "--args", "--seconds 1.5").exit_code == 0
    assert "`benchmarks/told.py --seconds 1.5`" in (tmp_path / "found" / "report.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nonsense"], "there are bad, good, silent"),
        (["--args", "--seconds 1"], "name the one"),
        (["--report-only", "--out", "empty"], "holds no results;"),
        (["--report-only", "good", "--out", "empty"], "holds no results of good;"),
        (["--report-only", "good", "--args", "--seconds 1"], "--args '--seconds 1' is for what runs"),
        (["--report-only", "--timeout", "9"], "--timeout 9 is for what runs"),
    ],
)
def test_mistakes_are_told_with_what_to_do(bench, words, said):
    result = bench(*words)
    assert result.exit_code == 2
    assert said in result.output


def test_an_installed_package_says_where_the_benchmarks_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rtmedia.__file__", str(tmp_path / "site-packages" / "rtmedia" / "__init__.py"))
    with pytest.raises(ConfigError, match="source tree"):
        find_folder()
    with pytest.raises(ConfigError, match="it is not rtmedia's folder"):
        find_folder(str(tmp_path))


def test_a_folder_in_the_working_directory_serves_an_installed_package(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rtmedia.__file__", str(tmp_path / "site-packages" / "rtmedia" / "__init__.py"))
    assert find_folder() == folder


def test_names_are_taken_once_with_or_without_their_ending(folder):
    found = benchmarks_in(folder)
    assert [one.name for one in chosen(found, ["silent", "good.py", "silent"])] == ["silent", "good"]
    assert len(chosen(found, [])) == 3


def test_pictures_of_one_are_not_those_of_a_longer_name(tmp_path):
    for name in ("ring.png", "ring-2.png", "ring_more.png", "string.png"):
        (tmp_path / name).touch()
    assert [path.name for path in pictures_of("ring", tmp_path)] == ["ring-2.png", "ring.png"]


def test_what_was_left_out_is_told_however_it_was_written_down(tmp_path):
    one, other = (Benchmark(tmp_path / f"{name}.py", "Why?", "") for name in ("one", "other"))
    row = {"peer": "a", "threads": {"x": {"cpu": 1.0}}, "chain": {"gate": 1.5, "limiter_ms": 2.0}}
    results = [(one, {"rows": [row], "missing": {"mpv": "not <installed>"}}), (other, {"rows": [], "skipped": ["a cold cache"]})]
    write_report(tmp_path / "page.md", tmp_path, results)
    page = (tmp_path / "page.md").read_text("utf-8")
    assert "- `one`: mpv (not &lt;installed>)" in page
    assert "- `other`: a cold cache" in page
    assert "| a | gate 1.5, limiter, ms 2 |" in page


def test_a_table_of_many_figures_of_few_stands_on_its_side_and_a_long_one_is_folded(tmp_path):
    wide = [{"comparison": "wide", "peer": peer, **{f"figure_{n}_ms": float(n) for n in range(12)}} for peer in ("a", "b")]
    long = [{"comparison": "long", "n": n, "what": "w<b>"} for n in range(40)]
    one = Benchmark(tmp_path / "one.py", "Why?", "First.\n\n    an example")
    write_report(tmp_path / "page.md", tmp_path, [(one, {"question": "Why?", "rows": wide + long})])
    page = (tmp_path / "page.md").read_text("utf-8")
    assert "|  | a | b |" in page
    assert "| figure 3, ms | 3 | 3 |" in page
    assert "<details><summary>40 rows</summary>" in page
    assert "| 39 | w&lt;b> |" in page
    assert "```\n    an example\n```" in page


@pytest.mark.parametrize(("time_ns", "shown"), [(0.4, "0.40 ns"), (999, "999 ns"), (1500, "1.50 µs"), (2.5e7, "25.0 ms"), (3e9, "3.00 s")])
def test_times_have_the_unit_that_suits_them(time_ns, shown):
    assert duration(time_ns) == shown


def test_the_shared_code_draws_facts_as_they_are_and_times_as_ratios(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    sys.modules.pop("_plot", None)
    from _plot import panels

    times = [{"comparison": "t", "peer": peer, "p50_ns": 5.0, "ratio": ratio} for peer, ratio in (("a", 1.0), ("b", 2.0))]
    facts = [{"comparison": "f", "peer": peer, "gaps": n, "same": 1, "none": None, "yes": True} for peer, n in (("a", 3), ("b", 4))]
    found = list(panels([*times, *facts]))
    assert [(panel.title, panel.unit, list(panel.bars)) for panel in found] == [
        ("t", "times the baseline's median", [("a", 1.0), ("b", 2.0)]),
        ("f", "gaps", [("a", 3.0), ("b", 4.0)]),
    ]
    sys.modules.pop("_plot", None)


def test_what_it_prints_is_told_while_it_runs(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("rtmedia.cli.benchmarks._LOOK_S", 0.05)
    go_on = tmp_path / "go on"
    (folder / "slow.py").write_text(
        f'"""Is it slow?"""\nimport pathlib, time\nprint("\\rhalf done", flush=True)\nwhile not pathlib.Path({str(go_on)!r}).exists():\n'
        "    time.sleep(0.01)\n"
    )
    said = []

    def saying(line):
        said.append(line)
        if line:
            go_on.touch()

    (slow,) = chosen(benchmarks_in(folder), ["slow"])
    run(slow, tmp_path, tiny=True, plots=False, timeout_s=60.0, saying=saying)
    assert said[-1] == "half done"
