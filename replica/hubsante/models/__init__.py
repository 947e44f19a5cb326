"""The messages as typed structs, written from the standard's field names; one module a family.

A struct says what may stand where, which members are required (those without a default) and, in `types`, which form a
text has. check.py reads these declarations and reports every place that does not keep them; msgspec then builds the
values.
"""
