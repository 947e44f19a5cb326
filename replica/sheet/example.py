"""A form to fill in, in either language: every kind of place that a form has, and the tests read it as one."""

from __future__ import annotations

from typing import Final

EXAMPLES: Final = {
    "en": """\
# One form for each sheet of paper. Times as they were written by hand, with the offset (+01:00 winter, +02:00 summer).
form = "samu440-2026-11-27-A"          # a name of its own: the same form again does nothing twice
organisation = "fr.health.samu440"     # whose case numbers the short ones are

[[act]]
time = 2026-11-27T03:05:00+01:00
author = "L. Petit"
what = "new-case"                      # its id becomes fr.health.samu440.P0305
case = "P0305"
value = "Man, 58, chest pain, pale. Caller +33 6 39 98 01 14"
address = "14 rue des Charmilles"
city = "Nantes"
priority = "P1"

[[act]]
time = 2026-11-27T03:12:00+01:00
author = "Dr Martin"
what = "priority"                      # note, priority, care-level, close, reopen: of a case
case = "P0305"
value = "P0"

[[act]]
time = 2026-11-27T03:13:00+01:00
author = "Dr Martin"
what = "engage"                        # engage, release, status: of a resource
resource = "fr.health.samu440.resource.VLM1"
case = "P0305"

[[act]]
time = 2026-11-27T03:31:00+01:00
author = "L. Petit"
what = "status"
resource = "fr.health.samu440.resource.VLM1"
case = "P0305"
value = "ARRIVEE"

[[act]]
time = 2026-11-27T03:40:00+01:00
author = "Dr Martin"
what = "note"
case = "fr.health.samu440.A12"
value = "Seen at home, stays there."
""",
    "fr": """\
# Un formulaire par feuille. Les heures écrites à la main, avec le décalage (+01:00 l'hiver, +02:00 l'été).
formulaire = "samu440-2026-11-27-A"    # son nom à lui : le même formulaire saisi deux fois ne fait rien deux fois
organisation = "fr.health.samu440"     # celle des numéros de dossier courts

[[ligne]]
heure = 2026-11-27T03:05:00+01:00
auteur = "L. Petit"
acte = "nouveau"                       # son identifiant devient fr.health.samu440.P0305
dossier = "P0305"
valeur = "Homme 58 ans, douleur thoracique, pâle. Appelant 06 39 98 01 14"
adresse = "14 rue des Charmilles"
commune = "Nantes"
priorite = "P1"

[[ligne]]
heure = 2026-11-27T03:12:00+01:00
auteur = "Dr Martin"
acte = "priorite"                      # note, priorite, soins, clore, rouvrir : d'un dossier
dossier = "P0305"
valeur = "P0"

[[ligne]]
heure = 2026-11-27T03:13:00+01:00
auteur = "Dr Martin"
acte = "engager"                       # engager, liberer, statut : d'un moyen
moyen = "fr.health.samu440.resource.VLM1"
dossier = "P0305"

[[ligne]]
heure = 2026-11-27T03:31:00+01:00
auteur = "L. Petit"
acte = "statut"
moyen = "fr.health.samu440.resource.VLM1"
dossier = "P0305"
valeur = "ARRIVEE"

[[ligne]]
heure = 2026-11-27T03:40:00+01:00
auteur = "Dr Martin"
acte = "note"
dossier = "fr.health.samu440.A12"
valeur = "Vu à domicile, laissé sur place."
""",
}
