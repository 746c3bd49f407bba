"""Traces: what Python prints of an exception, in a size that can be recorded.

The first and the last lines are kept: the error that began it all stands first, and where it came
out last.
"""

from __future__ import annotations

import traceback

from resonate_amqp.errors import REMOTE_LINES, RemoteError

MAX_TRACEBACK = 16_384
MAX_CHAIN = 100
MOST_FRAMES = 40
AGAIN = "\nIts caller raised it again:\n\n"


def trace_of(error: BaseException) -> str:
    """What `traceback.print_exception` shows of an error; raises nothing.

    Where it came from other processes, their lines come first, each once.
    """
    remote: list[str] = []
    try:
        shown = traceback.TracebackException.from_exception(error, compact=True)
        remote = _taken_out(error, shown)
        here = "".join(shown.format())
    except Exception as failed:  # the user's classes may do anything while they are printed
        here = f"{type(error).__name__}: it cannot be printed ({type(failed).__name__})\n"
    told = [*dict.fromkeys(remote), here]
    return shortened(AGAIN.join(told), MAX_TRACEBACK)


def shortened(text: str, limit: int) -> str:
    """A text of at most `limit` characters; the middle is left out, by lines where there are."""
    if len(text) <= limit:
        return text
    kept = (limit - 50) // 2
    head, tail = text[:kept], text[len(text) - kept :]
    head = head[: head.rfind("\n") + 1] or head
    tail = tail[tail.find("\n") + 1 :] or tail
    return f"{head}\n… {len(text) - len(head) - len(tail)} characters are left out …\n\n{tail}"


def _taken_out(error: BaseException, shown: traceback.TracebackException) -> list[str]:
    """The remote lines of a chain of errors, the first first, taken out of what is shown of it."""
    remote: list[str] = []
    left: list[tuple[BaseException | None, traceback.TracebackException | None]] = [(error, shown)]
    for _ in range(MAX_CHAIN):
        if not left:
            break
        one, seen = left.pop()
        if one is None or seen is None:
            continue
        _cut_frames(seen)
        if isinstance(one, RemoteError) and one.remote_traceback:
            remote.append(one.remote_traceback)
            notes = seen.__notes__ or []
            seen.__notes__ = [note for note in notes if not str(note).startswith(REMOTE_LINES)]
        left += [(one.__cause__, seen.__cause__), (one.__context__, seen.__context__)]
    return remote[::-1]


def _cut_frames(shown: traceback.TracebackException) -> None:
    """Leave out the middle of a deep stack, so that no error of a chain displaces the others."""
    frames = shown.stack
    if len(frames) > MOST_FRAMES:
        left_out = len(frames) - MOST_FRAMES
        line = traceback.FrameSummary(f"<{left_out} frames are left out>", 0, "…", line="")
        half = MOST_FRAMES // 2
        frames[half : len(frames) - half] = [line]
