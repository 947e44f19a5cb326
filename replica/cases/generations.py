"""A cluster forced new: which generation it is in, and since when (O17 of what a cluster must survive).

Two of three zones are gone for good, or the cluster comes back from a backup. Whoever goes on with what is left cannot
know what was acknowledged beyond it, and a site may hold just that. So it is never done without a word: a generation is
counted in the state, and who did it, when and from which index is kept for ever. A site that followed an earlier
generation then knows that it may be ahead.

`operations` makes what the offline tool appends, as one entry of its own:

    batch = Batch(wall_ms, queries.feature_level(records), operations(records, "zone-a", life, "dr. Ker", …))

The first of the two opens a draining incarnation of the node it is done at: the gate lets nothing pass without one, and
a drain is never current and has no authority (rule 8), so nothing else follows from it.

Leaves out: the store it is done to, the membership that goes with it, and what a site does about it.
"""

from __future__ import annotations

from replica.cases import keys
from replica.cases.act import Act, refused
from replica.cases.commands import ForceNewCluster, Opening, Payload
from replica.cases.draft import drafted
from replica.cases.operations import HybridTime, Operation, OperationId
from replica.cases.records import Records
from replica.cases.state import NUMBER, Generation
from replica.cases.verdicts import Verdict


def operations(
    records: Records, node: str, life: bytes, who: str, wall_ms: int, from_cluster: str, from_index: int, cluster: str
) -> tuple[Operation, Operation]:
    """What the offline tool appends to the log of `node`'s stopped store, both in one entry: see the module.

    `records`: the state after `from_index`, the last entry it goes on from; `life`: 16 bytes drawn for this;
    `from_cluster` and `cluster`: the id it had, and the new one.
    """
    number = (drafted(records).load(keys.GENERATION, NUMBER) or 0) + 1
    forced = ForceNewCluster(who, wall_ms, from_cluster, from_index, number, cluster)
    payloads: tuple[Payload, ...] = (Opening(None, 0, None, drain=True), forced)
    opened, done = (
        Operation(OperationId(node, life, seq), 0, from_index, HybridTime(wall_ms), wall_ms, who, payload)
        for seq, payload in enumerate(payloads)
    )
    return opened, done


def force_new_cluster(act: Act, command: ForceNewCluster) -> Verdict:
    """The next generation begins. Refused where it is not the next one: two copies of one store were forced new apart,
    or the same was done twice; a person has to look."""
    now = act.draft.load(keys.GENERATION, NUMBER) or 0
    if command.generation != now + 1:
        return refused(f"the cluster is in generation {now}; the next is {now + 1}, not {command.generation}")
    number = command.generation
    begun = Generation(
        number,
        command.who,
        command.wall_ms,
        command.from_cluster,
        command.from_index,
        command.cluster,
        act.time_ms,
        act.mark,
    )
    act.draft.put(keys.GENERATION, number)
    act.draft.put(keys.generation(number), begun)
    return act.verdict()
