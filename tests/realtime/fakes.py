"""A machine that grants what a test says, and remembers what it was asked."""

from __future__ import annotations

from rtmedia.realtime.rtkit import RealtimeKit
from rtmedia.realtime.system import Refused, System


class FakeSystem(System):
    """`refuse` maps the name of a call to the reason why it is refused."""

    name = "fake"

    def __init__(self, *, rtkit=True, cores=(0, 1, 2, 3), **refuse):
        self.refuse = refuse
        self.cores = cores
        self.rtkit = rtkit
        self.priorities = {}
        self.affinity = {}
        self.belts = []
        self.interval_s = 0.005
        self.locked = 0
        self.frozen = 0
        self.calls = []

    def _ask(self, name, *arguments):
        self.calls.append((name, *arguments))
        if name in self.refuse:
            raise Refused(self.refuse[name])

    def set_fifo(self, thread, priority):
        self._ask("set_fifo", thread, priority)
        self.priorities[thread] = priority
        return f"SCHED_FIFO {priority}"

    def step_down(self, thread):
        self._ask("step_down", thread)
        self.priorities[thread] = 0

    def priority_of(self, thread):
        return self.priorities.get(thread)

    def set_cpus(self, thread, cpus):
        self._ask("set_cpus", thread, cpus)
        got = tuple(sorted(set(cpus) & set(self.cores)))
        if not got:
            raise Refused("none of them may be used")
        self.affinity[thread] = got
        return got

    def has_rtkit(self):
        return self.rtkit

    def lock_memory(self):
        self._ask("lock_memory")
        self.locked = 1
        return "all"

    def unlock_memory(self):
        self._ask("unlock_memory")
        self.locked = 0

    def locked_bytes(self):
        return self.locked

    def arm_belt(self, soft_us, hard_us):
        self._ask("arm_belt", soft_us, hard_us)

    def disarm_belt(self):
        self._ask("disarm_belt")

    def switch_interval_s(self):
        return self.interval_s

    def set_switch_interval(self, seconds):
        self._ask("set_switch_interval", seconds)
        self.interval_s = seconds

    def freeze_gc(self):
        self._ask("freeze_gc")
        self.frozen += 100
        return self.frozen

    def frozen_objects(self):
        return self.frozen

    def unfreeze_gc(self):
        self._ask("unfreeze_gc")
        self.frozen = 0

    def asked(self, name):
        return [call[1:] for call in self.calls if call[0] == name]


class FakeKit(RealtimeKit):
    """A RealtimeKit; `why` is its refusal to anything but questions, `polkit` what decides of it says when it is asked itself."""

    def __init__(self, system=None, highest=20, most_us=200_000, absent="", why="", polkit=""):
        super().__init__(self._answer)
        self.system, self.highest, self.most_us, self.absent, self.why = system, highest, most_us, absent, why
        self.polkit = polkit
        self.words = []

    def _answer(self, words):
        self.words.append(list(words))
        if words[0] == "pkcheck":
            if self.polkit:
                raise Refused(self.polkit)
            return ""
        if self.absent:
            raise Refused(self.absent)
        if "get-property" in words:
            return f"i {self.highest}\n" if words[-1] == "MaxRealtimePriority" else f"x {self.most_us}\n"
        if self.why:
            raise Refused(self.why)
        if self.system is not None:
            self.system.priorities[int(words[-2])] = int(words[-1])
        return ""
