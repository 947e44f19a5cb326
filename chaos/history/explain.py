"""A failure as a person reads it: who did what when, in a small table, and what could be right until then.

    key "c": not linearizable from this answer on: p2 read → 1
      who  what      from    to  answer
      p1   write 1     10    20  ok
      p1   write 2     30    40  ok
    » p2   read        50    60  1
    in order until then: p1 write 1, p1 write 2

The table holds the culprit, what overlaps it, what explains its answer (whoever wrote that value) and the newest of the
rest, so that it stays small; how many it leaves out is said. Moments count from the first one shown.

Leaves out: the table of a history that is in order.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence

from chaos.history.check import Failure
from chaos.history.operations import Operation

ROWS = 12
STEPS_OF_THE_ORDER = 6


def explain(failure: Failure, rows: int = ROWS) -> list[str]:
    """The lines to print. `rows` bounds the table."""
    shown = _chosen(failure, rows)
    left_out = len(failure.prefix) - len(shown)
    lines = [f"key {text(failure.key)}: not linearizable from this answer on: {_told(failure.culprit)}"]
    lines += _table(shown, failure.culprit, _unit(shown))
    if left_out:
        lines.append(f"({left_out} operations before these are left out)")
    if not failure.is_shortest:
        lines.append("(there may be a shorter prefix: the search for it was given up)")
    lines.append(_order(failure))
    return lines


def _chosen(failure: Failure, rows: int) -> list[Operation]:
    culprit, prefix = failure.culprit, failure.prefix
    overlapping = [one for one in prefix if one.returned_at is None or one.returned_at >= culprit.invoked_at]
    explaining = [one for one in prefix if _explains(one, culprit.result)]
    newest = sorted(prefix, key=lambda one: one.returned_at or one.invoked_at, reverse=True)
    chosen: list[Operation] = [culprit]
    for one in [*explaining[-(rows // 3) :], *overlapping[-(rows // 2) :], *newest]:
        if len(chosen) < rows and one not in chosen:
            chosen.append(one)
    return sorted(chosen, key=lambda one: one.invoked_at)


def _explains(operation: Operation, result: Hashable) -> bool:
    """Whether it put there what was read."""
    if operation.value is None or result is None or isinstance(result, bool):
        return False
    wrote = operation.value[-1:] if isinstance(operation.value, tuple) else (operation.value,)
    return result in wrote or (isinstance(result, tuple) and any(item in result for item in wrote))


def _table(shown: Sequence[Operation], culprit: Operation, unit: int) -> list[str]:
    begin = min(one.invoked_at for one in shown)
    rows = [("", "who", "what", "from", "to", "answer")]
    for one in shown:
        until = "" if one.returned_at is None else str((one.returned_at - begin) // unit)
        answer = "unknown" if one.returned_at is None else _answer(one)
        mark = "»" if one == culprit else ""
        rows.append((mark, one.process, _asked(one), str((one.invoked_at - begin) // unit), until, answer))
    wide = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = []
    for row in rows:
        left = f"{row[0]:<{max(wide[0], 1)}} {row[1]:<{wide[1]}}  {row[2]:<{wide[2]}}"
        lines.append(f"{left}  {row[3]:>{wide[3]}}  {row[4]:>{wide[4]}}  {row[5]}".rstrip())
    return lines


def _unit(shown: Sequence[Operation]) -> int:
    """Nanoseconds are shown as microseconds: nobody reads more digits."""
    last = max(one.returned_at or one.invoked_at for one in shown)
    return 1000 if last - min(one.invoked_at for one in shown) > 10_000_000 else 1


def _order(failure: Failure) -> str:
    if failure.order is None:
        return "in order until then: not found in time"
    steps = [f"{one.process} {_asked(one)}" for one in failure.order]
    dropped = len(steps) - STEPS_OF_THE_ORDER
    head = f"… ({dropped} more), " if dropped > 0 else ""
    return "in order until then: " + (head + ", ".join(steps[-STEPS_OF_THE_ORDER:]) or "nothing")


def _told(operation: Operation) -> str:
    return f"{operation.process} {_asked(operation)} → {_answer(operation)}"


def _asked(operation: Operation) -> str:
    return operation.what if operation.value is None else f"{operation.what} {text(operation.value)}"


def _answer(operation: Operation) -> str:
    return "ok" if operation.result is None and operation.what != "read" else text(operation.result)


def text(value: Hashable) -> str:
    """A value as JSON, so that a table has one line for each row whatever the value holds."""
    return json.dumps(value, ensure_ascii=False, default=str)
