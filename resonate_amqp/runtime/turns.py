"""Turns: what an `async def` body does between two resumes, and how it goes on. Sans-IO."""

from __future__ import annotations

from collections.abc import Iterable

from resonate_amqp.runtime.commands import Race
from resonate_amqp.runtime.frames import GIVEN_UP, AsyncFrame, Dismissed, Turn, Wait
from resonate_amqp.runtime.issuing import Issuing
from resonate_amqp.runtime.records import Records
from resonate_amqp.runtime.waits import Over, judged
from resonate_amqp.runtime.withdrawals import Withdrawals


class Turns:
    """Takes in the turns of one task's async bodies, and answers what they await."""

    def __init__(self, records: Records, issuing: Issuing, withdrawals: Withdrawals) -> None:
        self._records = records
        self._issuing = issuing
        self._withdrawals = withdrawals

    def take(self, frame: AsyncFrame, turn: Turn, now: int) -> None:
        """Have recorded what a turn asked for, and canceled what it gave up."""
        frame.heard, frame.quiet = turn.echo, turn.quiet
        if not self._records.branches(turn.branches):
            return
        for key, awaited in turn.asked:
            if awaited is GIVEN_UP:
                self._give_up(frame, key)
                continue
            try:
                answer = self._issuing.issue(frame, awaited, now)
            except Exception as refusal:  # what cannot be recorded is raised where it was awaited
                frame.answers.append((key, None, refusal))
                continue
            if isinstance(answer, Wait):
                frame.wait(key, answer, self._records.missing(frame, answer))
                self.answerable(frame, key)
            else:
                frame.answers.append((key, answer, None))
        if turn.returned:
            # The branches that are left do nothing but wait, and nobody waits for them.
            frame.answers.extend((key, None, Dismissed()) for key in frame.dismiss())

    def _give_up(self, frame: AsyncFrame, key: int) -> None:
        for place in frame.give_up(key):
            frame.given_up.add(place)
            self._withdrawals.give_up(frame, place)

    def answerable(self, frame: AsyncFrame, key: int) -> None:
        """Have an await answered in its turn, if it is over.

        What the body itself had canceled is no answer before it does so again: it must not hear
        of the cancellation first.
        """
        wait = frame.waits[key]
        if self._taken_back(frame, wait):
            return
        verdict = judged(wait, self._records)
        if isinstance(verdict, Over):
            frame.make_ready(verdict.at, key)
        elif verdict is not None:
            for place in verdict.promises:
                self._withdrawals.give_up(frame, place)

    def resume(self, frame: AsyncFrame) -> None:
        """Hand over what an async body may go on with, unless it is under way already."""
        if frame.running:
            return
        if frame.answers:
            answers, frame.answers = frame.answers, []
        elif (ready := frame.next_ready()) is not None:
            key, wait = ready
            over = judged(wait, self._records)
            assert isinstance(over, Over)
            frame.reached = max(frame.reached, over.at)
            if isinstance(wait.of, Race):
                frame.given_up.update(wait.ids)
            answers = [(key, over.value, over.error)]
        else:
            return
        frame.sent += 1
        frame.body.resume(frame.sent, answers)

    def check(self, frames: Iterable[AsyncFrame]) -> None:
        """Halt the task if a body waits for what by its record it canceled, and now does not."""
        for frame in frames:
            for wait in frame.waits.values() if frame.idle else ():
                taken_back = self._taken_back(frame, wait)
                if taken_back:
                    self._records.halt(
                        f"the body canceled {taken_back!r}, and now waits for what it comes to"
                    )

    def _taken_back(self, frame: AsyncFrame, wait: Wait) -> str:
        """A promise of an await that by its record the body canceled, which it has not yet."""
        if isinstance(wait.of, Race):
            return ""
        places = (
            place
            for place in wait.ids
            if self._records.withdrawn(place) and place not in frame.given_up
        )
        return next(places, "")
