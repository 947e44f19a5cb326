"""How a node stands, as plain values: for an operator, for a probe, for a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from replica.cases import queries
from replica.runtime.bell import now_ms, wall_ms
from replica.version import __version__

if TYPE_CHECKING:
    from replica.runtime.site import SiteNode
    from replica.runtime.zone import ZoneNode


def zone_status(node: ZoneNode) -> dict[str, Any]:
    """A zone's part in the log, its state and who follows it."""
    raft = node.raft
    return {
        "node": node.config.zone.name,
        "role": "zone",
        "cluster": node.config.cluster.id,
        "version": __version__,
        "raft": {
            "number": node.number,
            "role": raft.role.value,
            "leader": raft.leader,
            "leader_name": next(
                (zone.name for zone in node.belonging.directory.zones if zone.number == raft.leader), ""
            ),
            "term": raft.term,
            "commit_index": raft.commit_index,
            "last_index": raft.last_index,
            "durable_index": raft.stable_index,
            "voters": sorted(raft.membership.voters),
            "learners": sorted(raft.membership.learners),
            "membership_index": raft.membership_index,
            "transferring": raft.transferring,
            "election_timeout_ms": raft.election_timeout_ms,
            "votes": not raft.hard_state.rebuilding,
            "elections_seen": node.elections,
        },
        "feature_level": queries.feature_level(node.state),
        "applied_index": node.state.index,
        "flushed_index": node.state.flushed_index,
        "dirty_bytes": node.unwritten_bytes,
        "log": {
            "first_index": node.raft.first_index,
            "bytes": node.stored_log.payload_bytes,
            "compacted_through": node.compaction.through,
        },
        "snapshots": {
            "held": len(node.snapshots.shipper.held),
            "sending": node.snapshots.shipper.sending,
            "sent_bytes": node.snapshots.shipper.sent_bytes,
            "installed": node.snapshots.installs,
        },
        "storage": "full" if node.storage_full else "ok",
        "removed": node.is_out,
        "linked_zones": node.links.connected,
        "link_bytes": node.links.waiting_bytes,
        "link_dropped": node.links.dropped,
        "refused_by": node.links.refusals,
        "sites_following": node.feed.followers,
        "waiting_operations": len(node.ingress),
    }


def site_status(node: SiteNode) -> dict[str, Any]:
    """A site's mode, freshness and what is still undecided."""
    fresh = node.desk.core.freshness(now_ms(), None)
    return {
        "node": node.config.site.name,
        "role": "site",
        "cluster": node.config.cluster.id,
        "version": __version__,
        "mode": fresh.mode.value,
        "wall_ms": wall_ms(),
        "zone": node.line.zone,
        "feature_level": node.feature_level,
        "damaged": list(node.damaged),
        "generation": node.generation,
        **node.history.status(node.desk.core.offers_again),
        "applied_index": node.state.index,
        "preview_index": fresh.preview_index,
        "flushed_index": node.state.flushed_index,
        "storage": "full" if node.storage_full else "ok",
        "confirmed_age_ms": fresh.confirmed_age_ms,
        "unconfirmed_since_ms": fresh.unconfirmed_since_ms,
        "authority": fresh.authority,
        "epoch": fresh.epoch,
        "undecided": fresh.undecided,
        "replay": node.replay,
        "clock_unsure": fresh.clock_unsure,
        "restored": fresh.restored,
        "fenced": fresh.fenced,
        "drill": None if node.drills.current is None else node.drills.current.standing(now_ms()),
        "journal_length": node.store.journal.length,
        "journal_bytes": node.store.journal.payload_bytes,
        "past_length": node.store.journal.past_length,
        "past_bytes": node.store.journal.past_bytes,
    }
