"""I1 to I9 of docs/offline.md, each a function that raises `Broken` with its name and what it saw.

`check_now` holds after every step of the world, `check_decided` after every entry of the log, `check_healed` once
everything works again. They compare what the stores and the state machine say with what the world wrote down beside
them."""

from __future__ import annotations

from replica.cases import authority, gate, keys
from replica.cases.commands import CloseCase, Opening, TransferCase
from replica.cases.draft import Draft
from replica.cases.gate import Gate
from replica.cases.operations import Operation
from replica.cases.records import Records
from replica.cases.state import ELEMENT, Held, SiteRecord
from replica.cases.verdicts import VerdictKind
from replica.offline.view import WorkingView
from tests.offline.world import CASES, A, Box, Issued, World


class Broken(AssertionError):
    """An invariant does not hold. `name`: which."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"{name}: {what}")
        self.name = name


def check_now(world: World) -> None:
    i1_applied_at_most_once(world)
    i2_agreed_effects_stay(world)
    i6_trimming_loses_nothing(world)
    for box in world.boxes:
        i5_no_new_operation_is_swallowed(world, box)
        o12_freshness_is_true(world, box)
        if not box.recalls:  # what the state lacks is looked for: for a moment nothing behind it is shown
            i3_reads_own_writes(world, box)
            i3_view_shows_each_operation_once(box)
            i3_view_is_as_if_made_anew(box)
            the_shortcut_is_right(box)


def check_healed(world: World) -> None:
    check_now(world)
    i1_every_receipt_has_its_verdict(world)
    i9_journals_are_empty_and_views_equal(world)


def i1_applied_at_most_once(world: World) -> None:
    """Every operation is applied at most once."""
    for uid in world.issued:
        times = world.decided.get(uid, [])
        if len(times) > 1:
            raise Broken("I1", f"{uid} was applied {len(times)} times: {times}")


def i1_every_receipt_has_its_verdict(world: World) -> None:
    """Every operation with a receipt has one verdict, and its store says so."""
    for uid in sorted(world.receipted):
        if len(world.decided.get(uid, [])) != 1:
            raise Broken("I1", f"{uid} had a receipt, and has {len(world.decided.get(uid, []))} verdicts at rest")
    for box in world.boxes:
        for uid in sorted(box.receipted & world.receipted):
            ident = world.issued[uid].id
            assert ident is not None
            outcome = box.core.outcome(ident)
            if outcome.state != "agreed":
                raise Broken("I1", f"{uid} is agreed, its store says {outcome.state}")


def i2_agreed_effects_stay(world: World) -> None:
    """An agreed note is in its case for ever."""
    shown = {uid for case in CASES.values() for uid in notes(world.zone, case)}
    for uid, issued in world.issued.items():
        decided = world.decided.get(uid)
        if issued.kind == "note" and decided and decided[0][1].kind is not VerdictKind.REFUSED and uid not in shown:
            raise Broken("I2", f"the note of {uid}, agreed at {decided[0][0]}, is gone")


def i3_reads_own_writes(world: World, box: Box) -> None:
    """After its receipt a site shows the effect of an operation, or its verdict."""
    held = {operation.author for operation in box.core._journal}
    fed = box.fed
    view = box.core.view()
    shown = {case: notes(view, case) for case in CASES.values()}
    for uid in sorted(box.receipted):
        issued = world.issued[uid]
        if uid not in held and uid not in fed:
            raise Broken("I3", f"store {box.phys} lost {uid} after its receipt")
        if box.base.get(keys.head("case", issued.case)) is None:
            continue  # an emptied store: the case itself has not come back yet, so nothing can be shown of it
        if issued.kind == "note" and uid not in shown[issued.case]:
            raise Broken("I3", f"the view of store {box.phys} lost the note of {uid} after its receipt")
        if issued.kind == "priority" and not _is_shown(world, view, issued):
            raise Broken("I3", f"the view of store {box.phys} lost the priority of {uid} after its receipt")


def _is_shown(world: World, view: Records, issued: Issued) -> bool:
    """A priority is a sibling, or somebody who had seen it wrote since."""
    authors = {held.author for held in siblings(view, issued.case)}
    later = [one for one in world.issued.values() if one.case == issued.case and issued.uid in one.truth]
    return issued.uid in authors or any(one.kind == "priority" for one in later)


def i3_view_shows_each_operation_once(box: Box) -> None:
    """The view counts exactly the operations that the base lacks, each once."""
    waiting = [operation for operation in box.core._journal if not _is_in(box.base, operation)]
    counted = _verdicts(box.core.view(), box.site) - _verdicts(box.base, box.site)
    if counted != len(waiting):
        named = ", ".join(f"{operation.author}/{operation.id.seq}" for operation in waiting)
        raise Broken("I3", f"the view of store {box.phys} applies {counted} operations, {len(waiting)} wait ({named})")


def i3_view_is_as_if_made_anew(box: Box) -> None:
    """What the view kept through all that moved below it is what a new one would be made of."""
    kept = dict(box.core.view().scan(b""))
    fresh = dict(WorkingView(box.base).records(box.core._ledger.undecided()).scan(b""))
    for key in sorted(kept.keys() | fresh.keys()):
        # A life's record tells how far verdicts were let go of, too; of that the view has no need.
        if key[:1] != keys.STREAMS and kept.get(key) != fresh.get(key):
            anew = fresh.get(key)
            raise Broken("I3", f"the view of store {box.phys} has {kept.get(key)!r} at {key!r}, anew {anew!r}")


def i5_no_new_operation_is_swallowed(world: World, box: Box) -> None:
    """What the gate calls duplicate is what was applied: no number stands for two operations."""
    for operation in box.disk.journal:
        if operation.author in world.forgiven or operation.author not in world.issued:
            continue
        if gate.judge(world.zone, operation) is not Gate.DUPLICATE:
            continue
        if operation.author not in world.decided:
            raise Broken("I5", f"{operation.author}, {operation.id} in store {box.phys}, is called a duplicate")


def i6_trimming_loses_nothing(world: World) -> None:
    """A record goes from a disk only when what that disk has flushed holds it."""
    if world.lost_trims:
        raise Broken("I6", world.lost_trims[0])


def i9_journals_are_empty_and_views_equal(world: World) -> None:
    """After healing all journals are empty and all views equal."""
    for box in world.boxes:
        if box.disk.journal or box.core.undecided:
            names = [str(operation.id) for operation in box.disk.journal]
            raise Broken("I9", f"the journal of store {box.phys} never empties: {names}")
        if dict(box.core.view().scan(b"")) != world.zone.records:
            raise Broken("I9", f"the view of store {box.phys} differs from the agreed state")


def o12_freshness_is_true(world: World, box: Box) -> None:
    """What a read says of its own age and of what is undecided is so."""
    fresh = box.core.freshness(world.now_ms)
    waiting = sum(operation.id.seq > 0 and not _is_in(box.base, operation) for operation in box.core._journal)
    if fresh.undecided != waiting:
        raise Broken("O12", f"store {box.phys} says {fresh.undecided} undecided, {waiting} are")
    if fresh.index != box.applied[0]:
        raise Broken("O12", f"store {box.phys} says index {fresh.index}, it is {box.applied[0]}")
    box.core._telling.kept = None
    if fresh != box.core.freshness(world.now_ms):
        raise Broken("O12", f"store {box.phys} says what was so before: {fresh}")


def the_shortcut_is_right(box: Box) -> None:
    """Where the core asks the agreed state for permission instead of its view, the view would have said the same."""
    if not box.core._shapers.may_change_charges:
        for site in CASES:
            charge = authority.charge_of(Draft(box.core.view()), site)
            if charge != authority.charge_of(Draft(box.base), site):
                raise Broken("shortcut", f"the charge of {site} at store {box.phys} is {charge} in the view")
    for case in CASES.values():
        for command in (CloseCase(case), TransferCase(case, A)):
            if box.core._shapers.may_change(command):
                continue
            agreed = authority.permitted(box.base, box.site, command, connected=False)
            viewed = authority.permitted(box.core.view(), box.site, command, connected=False)
            if agreed != viewed:
                raise Broken("shortcut", f"{command} at store {box.phys}: {agreed} agreed, {viewed} in the view")


def check_decided(world: World, operation: Operation, before: Records) -> None:
    """I4, I7 and I8 for one entry of the log. `before`: the state as it was."""
    issued = world.issued.get(operation.author)
    if issued is None or issued.kind != "priority":
        return
    verdict = world.decided[issued.uid][-1][1]
    if verdict.kind is VerdictKind.REFUSED:
        return
    written = [
        one
        for uid, one in world.issued.items()
        if one.kind == "priority" and one.case == issued.case and uid in world.decided
    ]
    top = [one for one in written if not any(one.uid in other.truth for other in written)]
    held = siblings(world.zone, issued.case)
    _nothing_erased_unseen(issued, top, held)
    _nothing_back(world, written, top, held)
    _apart_is_said(issued, written, verdict.kind)
    _i8_old_epochs_do_not_decide(issued, operation, before, verdict.kind)


def _nothing_erased_unseen(issued: Issued, top: list[Issued], held: tuple[Held, ...]) -> None:
    """I4: no divergent write is lost without a word; I7: nor by an earlier write of the same site; I8: nor by an old
    epoch."""
    kept = {one.author for one in held}
    for one in top:
        if one.uid in kept:
            continue
        if one.uid == issued.uid:
            raise Broken("I4", f"the new value of {one.uid} is nowhere")
        if one.phys == issued.phys and one.at > issued.at:
            raise Broken("I7", f"{issued.uid} erased {one.uid}, the later one of the same store")
        raise Broken("I4", f"{issued.uid} erased {one.uid}, which its author never saw")


def _nothing_back(world: World, written: list[Issued], top: list[Issued], held: tuple[Held, ...]) -> None:
    """I7: a value that its own site wrote over is not back beside the later one."""
    uids = {one.uid for one in top}
    for value in held:
        one = world.issued.get(value.author)
        if one is None or one.uid in uids:
            continue
        for other in written:
            same_life = other.phys == one.phys and other.life == one.life
            if same_life and one.uid in other.truth and not any(box.drained for box in world.boxes):
                raise Broken("I7", f"{one.uid} is back beside {other.uid} of the same store, which had replaced it")


def _apart_is_said(issued: Issued, written: list[Issued], kind: VerdictKind) -> None:
    """I4: who wrote apart from another is told so."""
    standing = [one for one in written if one.uid != issued.uid]
    standing = [one for one in standing if not any(one.uid in other.truth for other in standing)]
    apart = [one for one in standing if one.uid not in issued.truth and issued.uid not in one.truth]
    if apart and kind is VerdictKind.APPLIED:
        raise Broken("I4", f"{issued.uid} wrote apart from {apart[0].uid} and was told plainly applied")


def _i8_old_epochs_do_not_decide(issued: Issued, operation: Operation, before: Records, kind: VerdictKind) -> None:
    """I8: under an old epoch nobody is in charge, and nobody but who is in charge gets `applied`."""
    owner = next(site for site, case in CASES.items() if case == issued.case)
    charge = authority.charge_of(Draft(before), owner)
    if kind is VerdictKind.APPLIED and charge.holder != issued.site:
        raise Broken("I8", f"{issued.uid} of {issued.site} was applied as the owner's, {charge.holder} is in charge")
    if kind is VerdictKind.APPLIED and owner == A == issued.site and operation.epoch < charge.since_epoch:
        raise Broken("I8", f"{issued.uid} of epoch {operation.epoch} was applied in epoch {charge.since_epoch}")


# --- looking at a state ---


def notes(records: Records, case: str) -> set[str]:
    """The authors of a case's notes."""
    prefix = keys.elements(keys.parts("case", case))
    return {ELEMENT.decode(value).held.author for _, value in records.scan(prefix)}


def siblings(records: Records, case: str) -> tuple[Held, ...]:
    """The values of a case's priority."""
    return Draft(records).slot(keys.group(keys.parts("case", case), "core", ""), "priority").siblings


def _verdicts(records: Records, site: str) -> int:
    record: SiteRecord = gate.load_site(Draft(records), site)
    return sum(record.counters)


def _is_in(records: Records, operation: Operation) -> bool:
    """Whether the gate of `records` calls it duplicate; an opening's number is 0 in a stream that is known."""
    stream = gate.load_stream(Draft(records), operation.id.site, operation.id.incarnation)
    return stream is not None and (isinstance(operation.payload, Opening) or operation.id.seq <= stream.last)
