"""The sheet: what a dispatcher holds in the hand when no screen works any more, and the way back from paper.

Pure: what was read goes in, text comes out. `collect` turns records into plain values (model.py) and leaves out nothing
in silence; `compose` says them in one of two languages (words.py); `text` and `html` lay them out on A4; `form` and
`acts` read what was written by hand and turn it into operations.

Left out: opening a store (admin/sheet_store.py), keeping the file fresh (runtime/sheet_keeper.py).
"""
