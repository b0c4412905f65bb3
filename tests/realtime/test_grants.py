"""What is asked of a machine and how each of its answers is told; every refusal there is, and no exception."""

from __future__ import annotations

import threading

import pytest

from rtmedia.realtime import Realtime
from rtmedia.realtime.grants import Grants, problems
from rtmedia.realtime.process import BELT_SOFT_US, Process
from tests.realtime.fakes import FakeKit, FakeSystem

THREADS = {"decode": 101, "render": 102, "play": 103}


def grants(system, kit=None, **wish):
    return Grants(Realtime(**wish), Process(system), kit if kit is not None else FakeKit(system))


def test_a_machine_that_grants_everything():
    system = FakeSystem()
    made = grants(system, scheduling="auto", lock_memory=True, cpus=(2, 3), switch_interval_ms=1, freeze_gc=True)
    made.prepare()
    made.apply(THREADS)
    assert system.priorities == {101: 8, 102: 9, 103: 10}
    assert set(system.affinity.values()) == {(2, 3)}
    assert system.interval_s == 0.001
    assert (system.locked, system.frozen) == (1, 100)
    assert set(made.said) == {
        *(f"{what}.{name}" for what in ("scheduling", "cpus") for name in THREADS),
        *("memory", "gc", "switch_interval"),
    }
    assert all(answer.startswith("granted ") for answer in made.said.values())
    assert problems(made.said) == ""


def test_a_machine_that_refuses_everything_is_answered_in_words():
    system = FakeSystem(set_fifo="no", set_cpus="no", lock_memory="no", set_switch_interval="no", freeze_gc="no")
    made = grants(
        system, FakeKit(absent="nobody there"), scheduling="auto", lock_memory=True, cpus=(2,), switch_interval_ms=1, freeze_gc=True
    )
    made.prepare()
    made.apply(THREADS)
    assert made.said["scheduling.render"] == "refused: no; RealtimeKit: nobody there"
    assert all(answer.startswith("refused: ") for answer in made.said.values())
    assert len(made.said) == 9
    made.give_back()


def test_only_what_is_asked_for_is_asked():
    system = FakeSystem()
    made = grants(system, cpus=(1,))
    made.prepare()
    made.apply(THREADS)
    assert {call[0] for call in system.calls} == {"set_cpus"}


def test_a_thread_is_asked_for_once_until_its_number_changes():
    system = FakeSystem()
    made = grants(system, scheduling="fifo")
    assert set(made.apply({"play": 103})) == {"scheduling.play"}
    assert made.apply({"play": 103}) == {}
    made.apply({"play": 104})
    assert system.priorities == {103: 10, 104: 10}


def test_a_thread_that_nobody_knows_is_a_refusal():
    made = grants(FakeSystem(), scheduling="auto", cpus=(1,))
    made.apply({"play": 0})
    assert "does not say which thread" in made.said["scheduling.play"]
    assert "does not say which thread" in made.said["cpus.play"]


def test_an_exception_that_nobody_foresaw_is_a_refusal():
    class Broken(FakeSystem):
        def set_fifo(self, thread, priority):
            raise ZeroDivisionError("odd")

    made = grants(Broken(rtkit=False), scheduling="auto")
    assert made.apply({"render": 1}) == {"scheduling.render": "refused: ZeroDivisionError: odd"}


# --- without waiting --------------------------------------------------------------------------------------------------


class Later(list):
    """What was to be called aside, for a test to call when it likes."""

    def __call__(self, call):
        self.append(call)


def aside(system, later, **wish):
    return Grants(Realtime(**wish), Process(system), FakeKit(system), later)


def test_nobody_waits_for_an_answer_that_comes_later():
    system, later = FakeSystem(set_fifo="no"), Later()
    made = aside(system, later, scheduling="auto", cpus=(2,))
    assert made.apply_aside({"play": 103}) == made.apply_aside({"play": 103}) == made.look() == made.said == {}
    assert len(later) == 1
    later.pop()()
    assert made.said == {}  # it is taken at a look, and told once
    assert (
        made.apply_aside({"play": 103})
        == made.said
        == {
            "scheduling.play": "granted SCHED_RR 10 by RealtimeKit",
            "cpus.play": "granted core 2",
        }
    )
    assert made.apply_aside({}) == {}
    system.priorities[103] = 0
    assert list(made.look()) == ["scheduling.play"]


def test_an_answer_for_a_thread_whose_place_has_been_taken_is_dropped():
    system, later = FakeSystem(), Later()
    made = aside(system, later, scheduling="fifo")
    made.apply_aside({"play": 103})
    made.apply_aside({"play": 104})
    later[1]()
    system.refuse = {"set_fifo": "it has ended"}
    later[0]()
    assert made.apply_aside({}) == {"scheduling.play": "granted SCHED_FIFO 10"}
    assert made.said["scheduling.play"] == "granted SCHED_FIFO 10"


def test_what_is_granted_after_the_engine_has_ended_is_given_back():
    system, later = FakeSystem(), Later()
    made = aside(system, later, scheduling="fifo", cpus=(1,))
    made.apply_aside({"play": 103})
    made.give_back()
    later[0]()
    assert system.priorities == {103: 0}
    assert system.calls[-1] == ("disarm_belt",)


def test_where_no_thread_is_to_be_had_the_answer_is_waited_for():
    def no_more(call):
        raise RuntimeError("can't start new thread")

    assert aside(FakeSystem(), no_more, scheduling="fifo").apply_aside({"play": 103}) == {"scheduling.play": "granted SCHED_FIFO 10"}


def test_it_is_a_thread_that_asks_aside():
    here = threading.get_ident()
    there = []
    asked = threading.Event()

    class Asked(FakeSystem):
        def set_fifo(self, thread, priority):
            there.append(threading.get_ident())
            asked.set()
            return super().set_fifo(thread, priority)

    made = grants(Asked(), scheduling="fifo")
    made.apply_aside({"play": 103})
    assert asked.wait(10)
    assert there[0] != here


# --- scheduling -------------------------------------------------------------------------------------------------------


def test_rtkit_is_asked_where_the_system_itself_refuses():
    system = FakeSystem(set_fifo="RLIMIT_RTPRIO is 0")
    kit = FakeKit(system)
    made = grants(system, kit, scheduling="auto")
    made.apply(THREADS)
    assert made.said["scheduling.play"] == "granted SCHED_RR 10 by RealtimeKit"
    assert system.asked("arm_belt")[0] == (BELT_SOFT_US, 200_000)  # its condition, met before it is asked
    assert sum("get-property" in words for words in kit.words) == 2  # its terms are asked for once
    call = next(words for words in kit.words if "call" in words)
    assert call[-4:-2] == ["ttu", call[-3]]
    assert call[-2:] == ["101", "8"]


def test_fifo_alone_never_asks_rtkit():
    system = FakeSystem(set_fifo="no")
    kit = FakeKit(system)
    made = grants(system, kit, scheduling="fifo")
    assert made.apply({"render": 1}) == {"scheduling.render": "refused: no"}
    assert kit.words == []


def test_rtkit_alone_never_asks_the_system():
    system = FakeSystem()
    made = grants(system, scheduling="rtkit")
    made.apply({"render": 1})
    assert system.asked("set_fifo") == []
    assert system.priorities == {1: 9}


def test_rtkit_where_there_can_be_none_is_refused():
    made = grants(FakeSystem(rtkit=False), scheduling="rtkit")
    assert made.apply({"render": 1}) == {"scheduling.render": "refused: fake has no RealtimeKit: choose 'auto'"}


def test_rtkits_highest_priority_is_taken_and_told():
    made = grants(FakeSystem(set_fifo="no"), FakeKit(highest=5), scheduling="auto", priority=40)
    assert made.apply({"play": 1})["scheduling.play"] == "granted SCHED_RR 5 by RealtimeKit (5 is the most it gives)"


def test_rtkit_that_says_no_is_quoted_with_what_it_has_cost():
    made = grants(FakeSystem(set_fifo="no"), FakeKit(why="Call failed: Access denied"), scheduling="auto")
    said = made.apply({"play": 1})["scheduling.play"]
    assert said.startswith("refused: no; RealtimeKit: Call failed: Access denied (")
    assert "hard RLIMIT_RTTIME of at most 200 ms" in said


def calls(kit):
    return sum("call" in words for words in kit.words)


def test_rtkit_that_has_said_no_is_not_asked_again_until_it_is_named():
    system = FakeSystem(set_fifo="no")
    first = grants(system, kit := FakeKit(why="Access denied"), scheduling="auto")
    first.apply(THREADS)
    second = Grants(Realtime(scheduling="auto"), first._process, kit)
    second.prepare()
    second.apply(THREADS)
    assert len(set(first.said.values()) | set(second.said.values())) == 1
    assert calls(kit) == 1
    named = Grants(Realtime(scheduling="rtkit"), first._process, kit)
    named.prepare()
    named.apply(THREADS)
    assert calls(kit) == 2


def test_auto_changes_nothing_where_polkit_would_refuse():
    system = FakeSystem(set_fifo="no")
    made = grants(system, kit := FakeKit(polkit="Not authorized."), scheduling="auto")
    made.apply(THREADS)
    assert made.said["scheduling.play"] == "refused: no; RealtimeKit: was not asked, polkit would not allow it (Not authorized.)"
    assert system.asked("arm_belt") == []
    assert (calls(kit), sum(words[0] == "pkcheck" for words in kit.words)) == (0, 1)


def test_rtkit_by_name_is_asked_whatever_polkit_would_say():
    system = FakeSystem()
    made = grants(system, FakeKit(system, polkit="Not authorized."), scheduling="rtkit")
    made.apply({"play": 1})
    assert system.priorities == {1: 10}


def test_rtkits_limit_is_not_taken_without_a_handler_that_makes_it_safe():
    system = FakeSystem(set_fifo="no", arm_belt="the host process has a handler of SIGXCPU")
    kit = FakeKit(system)
    made = grants(system, kit, scheduling="rtkit")
    assert "handler of SIGXCPU" in made.apply({"play": 1})["scheduling.play"]
    assert not any("call" in words for words in kit.words)


def test_without_a_belt_a_direct_grant_stands_and_says_so():
    made = grants(FakeSystem(arm_belt="RLIMIT_CPU is set"), scheduling="fifo")
    made.apply({"play": 1})
    assert made.said["scheduling.play"] == "granted SCHED_FIFO 10"
    assert made.said["belt"] == "refused: RLIMIT_CPU is set"


@pytest.mark.parametrize("refused", [{}, {"set_fifo": "no"}])
def test_what_was_granted_to_threads_that_go_on_is_given_back(refused):
    system = FakeSystem(**refused)
    first, kit = grants(system, scheduling="auto"), FakeKit(system)
    second = Grants(Realtime(scheduling="auto", priority=15), first._process, kit)
    first.apply(THREADS)
    second.apply({"decode": 101})
    assert system.priorities[101] == 13
    first.give_back()
    assert system.priorities == {101: 13, 102: 0, 103: 0}
    assert system.asked("disarm_belt") == []
    second.give_back()
    assert system.priorities == {101: 0, 102: 0, 103: 0}
    assert system.calls[-1] == ("disarm_belt",)


def test_rtkit_does_not_lower_what_another_engine_has_for_a_shared_thread():
    system = FakeSystem(set_fifo="no")
    first = grants(system, scheduling="auto", priority=20)
    second = Grants(Realtime(scheduling="auto"), first._process, FakeKit(system))
    first.apply({"play": 1})
    assert "another engine asked for" in second.apply({"play": 1})["scheduling.play"]
    assert system.priorities == {1: 20}


def test_a_grant_that_is_lost_is_told_once_and_the_belt_tightened_again():
    system = FakeSystem()
    made = grants(system, scheduling="fifo")
    made.apply(THREADS)
    assert made.look() == {}
    system.priorities[102] = 0
    belts = len(system.asked("arm_belt"))
    assert list(made.look()) == ["scheduling.render"]
    assert made.said["scheduling.render"].startswith("lost: ")
    assert len(system.asked("arm_belt")) == belts + 1
    assert made.look() == {}


def test_a_thread_that_has_gone_is_not_lost():
    system = FakeSystem()
    made = grants(system, scheduling="fifo")
    made.apply(THREADS)
    del system.priorities[103]
    assert made.look() == {}


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_cores_that_are_not_there_are_left_out_and_named():
    made = grants(FakeSystem(cores=(0, 1)), cpus=(1, 2))
    assert made.apply({"play": 1})["cpus.play"] == "granted core 1; core 2 may not be used"


def test_equal_refusals_are_told_together():
    made = grants(FakeSystem(set_fifo="no", rtkit=False), scheduling="auto")
    made.apply(THREADS)
    assert problems(made.said) == "scheduling.decode, scheduling.render, scheduling.play refused: no"


@pytest.mark.parametrize("answer", ["refused: no", "lost: gone"])
def test_what_is_not_granted_is_a_problem(answer):
    assert problems({"memory": answer, "gc": "granted 3"}) == f"memory {answer}"
