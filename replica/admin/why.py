"""What became of an act, and how a case came to its values, in sentences: for who asks "why does it say P1?".

Everything is read out of an answer that a node gave (`show_case`, `verdicts`): nothing here asks or decides. In French
and in English; the words are beside each other, so that neither falls behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from replica.admin.show import moment

Language = Literal["fr", "en"]

WORDS: dict[str, dict[Language, str]] = {
    "holds": {
        "en": "{field} is {value}: said by {who} at {when}, agreed as entry {index}.",
        "fr": "{field} vaut {value} : dit par {who} à {when}, convenu à l'entrée {index}.",
    },
    "tentative": {
        "en": "{field} is {value}: said by {who} at {when}, on this site's disk and not agreed yet.",
        "fr": "{field} vaut {value} : dit par {who} à {when}, sur le disque de ce site, pas encore convenu.",
    },
    "stranger": {
        "en": "  Whoever said it was not in charge.",
        "fr": "  Son auteur n'avait pas la charge du dossier.",
    },
    "clock": {
        "en": "  The clock there said {when}; it was taken back to the zones' time.",
        "fr": "  Son horloge disait {when} ; elle a été ramenée à l'heure des zones.",
    },
    "conflict": {
        "en": "  In conflict with {value}, by {who} at {when} (entry {index}); the first one holds meanwhile.",
        "fr": "  En conflit avec {value}, de {who} à {when} (entrée {index}) ; le premier vaut en attendant.",
    },
    "proposed": {
        "en": "  {who} proposed {value} at {when}; whoever is in charge has not answered.",
        "fr": "  {who} a proposé {value} à {when} ; le responsable n'a pas encore répondu.",
    },
    "past": {
        "en": "  Before: {value}, by {who} at {when}; {became} by entry {index}, rule {rule}.",
        "fr": "  Avant : {value}, de {who} à {when} ; {became} par l'entrée {index}, règle {rule}.",
    },
    "charge": {
        "en": "{holder} is in charge (epoch {epoch}) of this case of {owner}.",
        "fr": "{holder} a la charge (époque {epoch}) de ce dossier de {owner}.",
    },
    "act": {
        "en": "{who} did {act} on {subject} at {when}.",
        "fr": "{who} a fait {act} sur {subject} à {when}.",
    },
    "agreed": {
        "en": "It was agreed as entry {index} at {when}: {kind}.",
        "fr": "Convenu à l'entrée {index} à {when} : {kind}.",
    },
    "finding": {
        "en": "  {field}: {kind}, by the rule {rule}{other}.",
        "fr": "  {field} : {kind}, par la règle {rule}{other}.",
    },
    "reason": {"en": "  Because: {reason}.", "fr": "  Motif : {reason}."},
    "against": {"en": ", against {other}", "fr": ", face à {other}"},
    "waits": {
        "en": "It is on this site's disk and waits for its verdict.",
        "fr": "Il est sur le disque de ce site et attend son verdict.",
    },
    "unknown": {
        "en": "This node has never heard of it. Ask at the site that did it.",
        "fr": "Ce nœud n'en a jamais entendu parler. Demandez au site qui l'a fait.",
    },
    "somebody": {"en": "somebody", "fr": "quelqu'un"},
}
KINDS: dict[str, dict[Language, str]] = {
    "applied": {"en": "it holds as it was said", "fr": "il vaut tel qu'il a été dit"},
    "merged": {"en": "it went in, put together with what others said", "fr": "pris en compte, fusionné avec le reste"},
    "superseded": {
        "en": "another value holds; it is in the history",
        "fr": "une autre valeur vaut ; gardé au passé",
    },
    "conflict": {"en": "both values stay until a person decides", "fr": "les deux valeurs restent jusqu'à décision"},
    "proposed": {"en": "kept for whoever is in charge to accept", "fr": "gardé pour que le responsable l'accepte"},
    "refused": {"en": "it did not go in", "fr": "non pris en compte"},
    "duplicate": {"en": "it was there already", "fr": "déjà présent"},
    "replaced": {"en": "replaced", "fr": "remplacé"},
    "released": {"en": "released", "fr": "libéré"},
}


def tell(word: str, language: Language, **facts: Any) -> str:
    """One sentence. `facts`: what stands in its braces."""
    return WORDS[word][language].format(**facts)


def of_case(case: dict[str, Any], language: Language) -> Iterator[str]:
    """How a case came to its values: field by field, the holder first, then what it is in conflict with, what was
    proposed, and what held before; then its verdicts that were no plain `applied`."""
    charge = case["charge"]
    yield tell("charge", language, holder=charge["holder"] or "-", epoch=charge["epoch"], owner=case["owner"] or "-")
    for field in (*case["fields"], *case.get("statuses", ())):
        yield from _of_field(field, case.get("history", ()), language)
    for verdict in case.get("verdicts", ()):
        yield from of_act({**verdict, "subject": case["id"]}, language)


def _of_field(field: dict[str, Any], history: Any, language: Language) -> Iterator[str]:
    name = f"{field['field']}[{field['key']}]" if field.get("key") else field["field"]
    values = field["values"]
    if values:
        holder = values[0]
        yield tell("tentative" if holder.get("tentative") else "holds", language, field=name, **_said(holder, language))
        if not holder["with_authority"]:
            yield tell("stranger", language)
        if holder.get("clock_said_ms"):
            yield tell("clock", language, when=moment(holder["clock_said_ms"]))
    for other in values[1:] if field.get("conflict") else ():
        yield tell("conflict", language, **_said(other, language))
    for other in field.get("proposed", ()):
        yield tell("proposed", language, **_said(other, language))
    for past in history:
        if (past["field"], past.get("key", "")) == (field["field"], field.get("key", "")):
            facts = {**_said(past["value"], language), "index": past["by_index"]}
            became = KINDS[past["became"]][language]
            yield tell("past", language, became=became, rule=past["rule"], **facts)


def _said(value: dict[str, Any], language: Language) -> dict[str, Any]:
    return {
        "value": value["value"],
        "who": value["author"] or WORDS["somebody"][language],
        "when": moment(value["act_ms"]),
        "index": value["index"],
    }


def of_act(act: dict[str, Any], language: Language) -> Iterator[str]:
    """What became of one act: who did it, what the verdict says, and which rule decided what."""
    who = act["author"] or WORDS["somebody"][language]
    when = moment(act["act_ms"]) if act["act_ms"] else "-"
    yield tell("act", language, who=who, act=act["act"] or "?", subject=act.get("subject") or "-", when=when)
    when = moment(act["agreed_ms"]) if act["agreed_ms"] else "-"
    yield tell("agreed", language, index=act["index"], when=when, kind=KINDS[act["kind"]][language])
    for finding in act.get("findings", ()):
        other = tell("against", language, other=finding["other"]) if finding.get("other") else ""
        name = finding.get("field", "") or finding.get("subject", "")
        kind = KINDS[finding["kind"]][language]
        yield tell("finding", language, field=name, kind=kind, rule=finding.get("rule", ""), other=other)
    if act.get("reason"):
        yield tell("reason", language, reason=act["reason"])
