"""Hub Santé messages ⇄ what the state machine takes: bytes in, values out. Pure.

`decode.read` turns a message (EDXL-DE envelope or bare content) into reports, or raises InvalidMessage with every
wrong place at once; `answer.error_answer` makes the answer to a refused one; `encode` lets a case, a resource or a
request out again, from what `holding` finds in the state. `mapping` is the one place where the standard's names meet
ours.
"""
