"""What must hold when all is healed and calm: no journal holds anything, all nodes have one state, and what was
promised anywhere is in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from chaos.nodes.checks import violated
from chaos.nodes.process import Host
from chaos.sites.checks import SiteChecks
from chaos.sites.reading import text_in
from replica.cases import queries
from replica.cases.draft import Draft
from replica.cases.verdicts import VerdictKind


def settle(checks: SiteChecks, hosts: Sequence[Host], replaced: set[str]) -> None:
    """Raises InvariantViolated. `replaced`: the sites one of whose lives the log has and no disk any more."""
    states = {host.name: _state(host) for host in hosts}
    digests_equal(states)
    checks._logs_agree()
    state = states[hosts[0].name]
    every_operation_has_its_verdict(checks, hosts)
    counted(checks, state)
    notes_are_there(checks, state)
    for case, field in checks.severities:
        checks.severities.stands(case, field, Draft(state))
    for host in hosts:
        if not host.is_zone:
            journal_is_empty(checks, host)
            view_is_the_state(host)
            restored_is_said(host, replaced)


def _state(host: Host) -> Any:
    assert host.running is not None, f"{host.name} is not up"
    return host.running.node.state


def digests_equal(states: dict[str, Any]) -> None:
    """Not only the digests: record by record."""
    digests = {name: (state.index, queries.digest(state)) for name, state in states.items()}
    if len(set(digests.values())) != 1:
        raise violated("DigestsEqual", "the nodes are not level", digests)
    names = list(states)
    first = dict(states[names[0]].scan(b""))
    for name in names[1:]:
        other = dict(states[name].scan(b""))
        if other != first:
            differ = sorted(key for key in first.keys() | other.keys() if first.get(key) != other.get(key))
            raise violated("DigestsEqual", f"{name} has other records than {names[0]}, and one digest", differ[:5])


def view_is_the_state(host: Host) -> None:
    """Nothing is tentative anywhere."""
    assert host.running is not None, f"{host.name} is not up"
    core = host.running.node.desk.core
    changes = core.view().changes
    if changes or core.undecided:
        raise violated("DigestsEqual", f"the view of {host.name} is not the state", sorted(changes)[:5])


def journal_is_empty(checks: SiteChecks, host: Host) -> None:
    """By the disk, and by what was written down of it."""
    store = host.disk.store
    length = 0 if store is None else store.journal.length
    if length or checks.drawer(host).held:
        held = sorted(checks.drawer(host).held.values())
        raise violated("JournalEmptiesAfterHeal", f"{host.name} has {length} records left", held[:5])


def every_operation_has_its_verdict(checks: SiteChecks, hosts: Sequence[Host]) -> None:
    """All that any disk has ever taken and was not lost with, and what its own site says of it."""
    for host in hosts:
        if host.is_zone:
            continue
        for name in sorted(checks.drawer(host).names):
            if name not in checks.agreed_at:
                raise violated("EveryOperationHasOneVerdict", f"{host.name} has taken {name}, and it has none")
    for host in hosts:
        assert host.running is not None, f"{host.name} is not up"
        names = checks.drawer(host).names
        for name in sorted(names & checks.applied_ids.keys()):
            _outcome_is_told(checks, host, name)


def _outcome_is_told(checks: SiteChecks, host: Host, name: str) -> None:
    assert host.running is not None, f"{host.name} is not up"
    ident = checks.applied_ids[name]
    index, verdict = checks.decided[ident]
    outcome = host.running.service.outcome(ident)
    forgotten = outcome.index == 0 and outcome.verdict is not None and outcome.verdict.kind is VerdictKind.APPLIED
    if outcome.state != "agreed" or not (forgotten or (outcome.index in (0, index) and outcome.verdict == verdict)):
        told = f"{host.name} says {outcome}", f"the log has {verdict} at {index}"
        raise violated("EveryOperationHasOneVerdict", f"what became of {name}", *told)


def counted(checks: SiteChecks, state: Any) -> None:
    """As many verdicts as operations, by the state's own count."""
    decided = Counter(ident.site for ident in checks.decided)
    for site in queries.sites(state):
        view = queries.site(state, site)
        told = 0 if view is None else sum(view.verdicts.values())
        if told != decided[site]:
            text = f"{site} has {decided[site]} operations decided and {told} verdicts counted"
            raise violated("EveryOperationHasOneVerdict", text)


def notes_are_there(checks: SiteChecks, state: Any) -> None:
    """Each agreed note once, and none that nobody wrote."""
    for case, agreed in checks.notes.items():
        view = queries.read_case(state, case)
        elements = () if view is None else view.elements
        here = Counter(text_in(one.value.value) for one in elements if one.field == "medical_note")
        if lost := agreed.keys() - here.keys():
            raise violated("NotesNeverLost", f"{case} is without notes that were agreed", sorted(lost))
        if twice := [text for text, count in here.items() if count > 1]:
            raise violated("NothingAppliedTwice", f"{case} has notes twice", twice)
        if strange := here.keys() - agreed.keys():
            raise violated("NothingAppliedTwice", f"{case} has notes that were not agreed", sorted(strange))


def restored_is_said(host: Host, replaced: set[str]) -> None:
    assert host.running is not None, f"{host.name} is not up"
    if host.site in replaced and not host.running.service.freshness().restored:
        raise violated("FreshnessIsTrue", f"a life of {host.site} was lost with its disk, and it does not say so")
