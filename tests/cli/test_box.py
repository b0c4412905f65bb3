"""What the doctor says about real-time grants: each answer of a machine has its line and its next step."""

from __future__ import annotations

import sys

import pytest

from rtmedia.cli import box
from rtmedia.realtime.system import CAP_IPC_LOCK, UNLIMITED, Linux
from tests.realtime.fakes import FakeKit, FakeSystem

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="files and limits of Linux")
MIB = 1 << 20


class Limited(Linux):
    def __init__(self, memlock, powers=()):
        super().__init__()
        self.memlock, self.powers = memlock, powers

    def may(self, capability):
        return capability in self.powers

    def limits(self, name):
        return self.memlock, self.memlock


@pytest.mark.parametrize(("name", "look"), box.BOX, ids=[name for name, _ in box.BOX])
def test_every_look_at_this_machine_ends_in_an_answer(name, look):
    found = look(name)
    assert found.name == name
    assert found.status in ("ok", "warn")
    assert bool(found.hint) == (found.status == "warn")


@pytest.mark.skipif(sys.platform == "darwin", reason="nothing to ask for there")
def test_scheduling_is_tried_and_leaves_nothing_behind():
    system = FakeSystem()
    assert "was granted" in box.scheduling("scheduling", system).message
    refused = FakeSystem(set_fifo="RLIMIT_RTPRIO is 0: ask")
    found = box.scheduling("scheduling", refused, FakeKit())
    assert found.status == "ok"
    assert "RealtimeKit answers: priority up to 20, 200 ms" in found.message
    found = box.scheduling("scheduling", refused, FakeKit(absent="not there"))
    assert found.status == "warn"
    assert "rtprio" in found.hint
    assert box.scheduling("scheduling", FakeSystem(set_fifo="no", rtkit=False)).status == "warn"


@linux_only
def test_the_memory_lock_is_held_against_what_an_engine_needs(monkeypatch):
    monkeypatch.setattr(box, "read", lambda path: "Filename Type\n/dev/sda2 partition" if path == "/proc/swaps" else "")
    assert box.memory("memory", Limited(UNLIMITED)).status == "ok"
    assert box.memory("memory", Limited(8 * MIB, (CAP_IPC_LOCK,))).status == "ok"
    small, middling = box.memory("memory", Limited(8 * MIB)), box.memory("memory", Limited(64_000 * MIB))
    assert "8 MiB" in small.message
    assert "refused" in small.message
    assert "memlock unlimited" in small.hint
    assert "not what comes later" in middling.message
    monkeypatch.setattr(box, "read", lambda path: "")
    assert box.memory("memory", Limited(8 * MIB)).status == "ok"  # without swap there is little to lock


def test_a_single_core_is_worth_a_warning(monkeypatch):
    monkeypatch.setattr(box.os, "cpu_count", lambda: 1)
    monkeypatch.setattr(box.os, "sched_getaffinity", lambda thread: {0}, raising=False)
    assert box.cores("cores", FakeSystem()).status == "warn"
    assert "--cpus is refused: no" in box.cores("cores", FakeSystem(set_cpus="no")).message


@pytest.mark.parametrize(
    ("realtime", "version", "debug", "model"),
    [
        ("1", "#1 SMP PREEMPT_RT", "", "PREEMPT_RT"),
        ("", "#1 SMP PREEMPT_RT Debian", "", "PREEMPT_RT"),
        ("", "#1 SMP PREEMPT_DYNAMIC", "none voluntary (full) lazy", "PREEMPT_FULL"),
        ("", "#1 SMP PREEMPT_DYNAMIC", "(none) voluntary full", "PREEMPT_NONE"),
        ("", "#1 SMP PREEMPT_DYNAMIC", "", "PREEMPT_DYNAMIC"),
        ("0", "#1 SMP PREEMPT", "", "PREEMPT (low"),
        ("", "#1 SMP", "", "PREEMPT_NONE or"),
    ],
)
def test_the_preemption_model_is_read_from_what_the_kernel_says(realtime, version, debug, model):
    assert box.preemption(realtime, version, debug).startswith(model)


@linux_only
@pytest.mark.parametrize(
    ("runtime_us", "status", "said"),
    [("950000", "ok", "95 %"), ("-1", "warn", "for ever"), ("100000", "warn", "only 100000"), ("", "ok", "Linux")],
)
def test_the_kernels_share_for_real_time_threads_is_told(monkeypatch, runtime_us, status, said):
    files = {"/proc/sys/kernel/sched_rt_runtime_us": runtime_us, "/proc/sys/kernel/sched_rt_period_us": "1000000"}
    monkeypatch.setattr(box, "read", lambda path: files.get(path, ""))
    monkeypatch.setattr(box.platform, "version", lambda: "#1 SMP PREEMPT_RT")
    found = box.kernel("kernel")
    assert found.status == status
    assert said in found.message


@pytest.mark.parametrize(("slack", "status"), [("50000", "ok"), ("", "ok"), ("0", "ok"), ("40000000", "warn")])
def test_a_large_timer_slack_is_worth_a_warning(monkeypatch, slack, status):
    monkeypatch.setattr(box, "read", lambda path: slack)
    assert box.timers("timers").status == status
