"""The trial of a fault: the tests that run it, the nearest first; for survivors the whole part."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.mutations.faults import Fault
from tests.mutations.tracing import BESIDE, EVERYDAY, Trace
from tests.mutations.tree import TIMED_OUT, Copy

FIRST_S = 8.0
"""How long the first tests of a trial take together, where no fault is planted."""
START_S = 60.0
SLOWER = 5.0
PER_TEST_S = 60
WHOLE_S = 3_600.0
USAGE, NO_TESTS = 4, 5
_NOT_FOUND = re.compile(r"^ERROR: not found: (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a fault: `caught_by` a test, or nothing."""

    fault: Fault
    caught_by: str
    tests: int
    """How many tests run it."""


def tried(copy: Copy, fault: Fault, trace: Trace) -> Verdict:
    """Plant a fault and run the tests that run it, until one fails."""
    tests = sorted(trace.running(fault), key=lambda test: (_far(test, fault), trace.took[test]))
    first: list[str] = []
    spent = 0.0
    while len(first) < len(tests) and spent < FIRST_S:
        spent += trace.took[tests[len(first)]]
        first.append(tests[len(first)])
    # The last tests are the slowest: those of others are nearer to failing than these.
    rest = sorted(tests[len(first) :], key=trace.took.__getitem__)
    with copy.planted([fault]):
        for some in (first, rest):
            caught_by = _run(copy, some, trace)
            if caught_by:
                return Verdict(fault, caught_by, len(tests))
    return Verdict(fault, "", len(tests))


def _far(test: str, fault: Fault) -> int:
    """How far the folder of a test is from the one that mirrors the fault's."""
    there = fault.path.split("/")[1:-1]
    here = test.split("::")[0].split("/")[1:-1]
    together = 0
    for one, other in zip(there, here, strict=False):
        if one != other:
            break
        together += 1
    return len(there) - together


def _run(copy: Copy, tests: Sequence[str], trace: Trace) -> str:
    """The test that failed, twice, or hung; nothing when none did."""
    if not tests:
        return ""
    limit_s = START_S + SLOWER * sum(trace.took[test] for test in tests)
    while True:
        code, output = copy.pytest("-x", f"--timeout={PER_TEST_S}", tests=tests, timeout_s=limit_s)
        if code == TIMED_OUT:
            return "a hang"
        if code in (0, NO_TESTS):
            return ""
        renamed = set(_NOT_FOUND.findall(output))
        if code == USAGE and renamed:
            # A fault may change a value that a parametrised test is named by.
            named = (test.split("[")[0] if _is_in(test, renamed) else test for test in tests)
            tests = list(dict.fromkeys(named))
            continue
        failing = _failing(output)
        if not failing:
            return f"pytest's exit code {code}"
        code, _ = copy.pytest("-x", f"--timeout={PER_TEST_S}", tests=failing, timeout_s=limit_s)
        if code != 0:
            return failing[0]
        tests = [test for test in tests if test not in failing]


def _is_in(test: str, paths: Iterable[str]) -> bool:
    return any(path.endswith(test) for path in paths)


def _failing(output: str) -> list[str]:
    lines = [line for line in output.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return [line.split(" ", 1)[1].split(" - ")[0] for line in lines if "::" in line][:1]


def survivors_of_all(copy: Copy, faults: Sequence[Fault], trace: Trace) -> list[Fault]:
    """Those that the whole everyday part lets live; they are planted together first."""
    if not faults:
        return []
    together = _apart(faults)
    if len(together) < len(faults):
        others = [fault for fault in faults if fault not in together]
        return [
            *survivors_of_all(copy, together, trace),
            *survivors_of_all(copy, others, trace),
        ]
    ignored = [f"--deselect={path}" for path in BESIDE]
    with copy.planted(faults):
        code, output = copy.pytest(*("-x", "-n", "2", "-m", EVERYDAY), *ignored, timeout_s=WHOLE_S)
        failing = [test for test in _failing(output) if test in trace.took]
        if code != 0 and failing:
            code, _ = copy.pytest("-x", tests=failing, timeout_s=WHOLE_S)
    if code == 0:
        return list(faults)
    if len(faults) == 1:
        print(f"caught by the whole part only: {faults[0].name} {failing}", flush=True)
        return []
    half = len(faults) // 2
    return [
        *survivors_of_all(copy, faults[:half], trace),
        *survivors_of_all(copy, faults[half:], trace),
    ]


def _apart(faults: Sequence[Fault]) -> list[Fault]:
    """As many as may be planted at once, because they do not overlap."""
    apart: list[Fault] = []
    for fault in faults:
        if all(
            fault.path != one.path or fault.end <= one.start or one.end <= fault.start
            for one in apart
        ):
            apart.append(fault)
    return apart
