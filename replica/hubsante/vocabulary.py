"""The coded words of the standard (Hub Santé model, schemas 26.07.29): facts, kept as data.

Every list is whole, also the long ones: a code that is not in it is refused with the allowed values, so that a partner's
typing error does not become part of a case. Those lists that a rule of merge reads in order (priorities, care levels, the
statuses of cases and resources) stand in replica/cases/fields.py and are taken from there.
Left out: the labels; a person's screen shows the label the message brought.
"""

# One word after the other is how such lists are read and compared with the published tables: ruff: noqa: SIM905

from __future__ import annotations

LANGUAGES = tuple(
    (
        "aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el "
        "en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it "
        "iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt "
        "my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl "
        "sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo "
        "za zh zu"
    ).split()
)
"""ISO 639-1, as the standard lists it."""
COUNTRIES = tuple(
    (
        "AF AX AL DZ AS AD AO AI AQ AG AR AM AW AU AT AZ BS BH BD BB BY BE BZ BJ BM BT BO BA BW BV BR IO BN BG BF BI "
        "CV KH CM CA KY CF TD CL CN CX CC CO KM CG CK CR CI HR CU CW CY CZ DK DJ DM DO EC EG SV GQ ER EE SZ ET FK FO "
        "FJ FI FR GF PF TF GA GM GE DE GH GI GR GL GD GP GU GT GG GN GW GY HT HM VA HN HK HU IS IN ID IR IQ IE IM IL "
        "IT JM JP JE JO KZ KE KI KP KW KG LA LV LB LS LR LY LI LT LU MO MG MW MY MV ML MT MH MQ MR MU YT MX FM MC MN "
        "ME MS MA MZ MM NA NR NP NL NC NZ NI NE NG NU NF MK MP NO OM PK PW PA PG PY PE PH PN PL PT PR QA RE RO RU RW "
        "BL KN LC MF PM VC WS SM ST SA SN RS SC SL SG SX SK SI SB SO ZA GS SS ES LK SD SR SJ SE CH SY TJ TH TL TG TK "
        "TO TT TN TR TM TC TV UG UA AE GB US UM UY UZ VU VE VN VG VI WF EH YE ZM ZW"
    ).split()
)
"""ISO 3166-1 alpha-2."""
CALLER_TYPES = tuple(
    (
        "SUJET FAMILLE TIERS POMPIER AMBULANC AMBULANC.AASC AMBULANC.AUTRESEC SECOUR MED MED.MEDSOS MED.MRL MED.EFFML "
        "SANTE SANTE.INF SANTE.AIDESOIN SANTE.SF SANTE.AIDEDOM SANTE.PHARMA SANTE.DENTISTE SANTE.LABO FDO-MILI "
        "FDO-MILI.POL FDO-MILI.GENDARM FDO-MILI.MILI ADM-TUTL VIP OBJCONNC AUTRE INCONNU"
    ).split()
)
"""Who calls."""
CALLER_TROUBLES = tuple("AUCUNE MUET VISION LANGUE PANIQUE HOSTILE AGITE AUTRE IMPOSS".split())
"""What makes it hard to talk with the caller."""
CONTACT_CHANNELS = tuple("APPLICATION BAU DAU DEFIBRILLATEUR ECALL PERSONNE".split())
CONTACT_TYPES = tuple("EMAIL FAX MSS POSTAL RADIO TEL WEB".split())
ORIGINS = tuple(
    (
        "15 116117 AUTOCOM 112 115 CRRA AUTREC15 CTA-CONF CTA-PI AUTRECTA CNR FDO SNATED PDSSOS TELASSIST CROSS "
        "PUBLIC DATA AUTRE"
    ).split()
)
"""By which number or service the call came in."""
ATTRIBUTIONS = tuple(
    (
        "DRM DRM.MRU DRM.MRU.MU DRM.MRU.INDISPMU DRM.MRU.SSE DRM.MRU.PLANBLAN DRM.MRU.PCSAMU DRM.SPE DRM.SPE.DENT "
        "DRM.SPE.GERIA DRM.SPE.PEDIA DRM.SPE.OBST DRM.SPE.PSY DRM.SPE.TOXICOL DRM.SPE.AUTRESPE DRM.MRL DRM.MRL.MG "
        "DRM.MRL.INDISPMG DRM.MRL.ABSML DR DR.DREG DR.DREG.DRARM DR.DREG.DRDAC DR.DREG.DRMED DR.DREG.DRPHARMA "
        "DR.DREG.DRDENT DR.DREG.DRINFO DR.DREG.DOS-SIS DR.DREG.DOS-FDO D D.D-MALV D.D-MALV.ERR D.D-MALV.NRP "
        "D.D-MALV.MALV D.D-MALV.FAX D.D-MALV.ITERATIF D.D-IDENT D.D-IDENT.ADMIN D.D-IDENT.PERSO D.D-IDENT.AUTRE"
    ).split()
)
"""To whom the call is passed: a regulating doctor (DRM), without one (DR), a wrong call (D)."""
PERIMETERS = tuple("AMU NEONAT PSY SNP".split())
INTERVENTION_TYPES = tuple("T1 T2-INTER T2-INTRA T3 T4".split())
"""T1 primary, T2 secondary (between or inside hospitals), T3, T4."""
PLACE_SOURCES = tuple("FINESS_ADMINISTRATIF FINESS_GEOGRAPHIQUE SIREN SIRET APE_NAF".split())
MAP_SOURCES = tuple("BAN IGN NEXSIS".split())
MAP_TYPES = tuple("MANUEL CARTE AUTRE PHOTO SITE_INTERNET".split())
PRECISIONS = tuple("VILLE RUE ADRESSE EXACTE INCONNUE".split())
PATIENT_ID_SOURCES = tuple("NIR SINUS DOSSARD PLACE AUTRE".split())
SEXES = tuple("M F O UN".split())
ROLES = tuple("AMBULANCIER ARM INFIRMIER MEDECIN PILOTE TCM AUTRE INCONNU".split())
DECISIONS = tuple("CONSEIL PMT INTER ORIENT PASPLUS".split())
ORIENTATIONS = tuple("URGENCES REA-USI SANTE CABINET DOMICILE EPHAD AUTRE".split())
RESOURCE_KINDS = tuple(
    (
        "SMUR SMUR.ADULT SMUR.PED SMUR.UMH-S SMUR.CUMP HOSPIT LIBERAL LIBERAL.MG LIBERAL.PHARM LIBERAL.INF "
        "LIBERAL.KINE LIBERAL.SOS LIBERAL.MMG LIBERAL.MSPD LIBERAL.MCS LIBERAL.SPEMED LIBERAL.DENT LIBERAL.LABO "
        "LIBERAL.AUTREPRO TSU SIS SIS.MEDSP SIS.ISP SIS.SP AASC FDO FDO.PN FDO.GEND FDO.PM FDO.DOUANES AUTRE "
        "AUTRE.ADM AUTRE.DAE AUTRE.AUTRE"
    ).split()
)
"""What kind of resource a decision calls for."""
ALERT_REPORTING = tuple("STANDARD ATTENTION".split())
VICTIM_COUNTS = ("0", "1", "PLUSIEURS", "BEAUCOUP", "INCONNU", "NON DEFINI",)
MAIN_VICTIMS = tuple("NOURRISSON ENFANT ADULTE SENIOR ENCEINTE".split())
VEHICLES = tuple(
    (
        "AASC AASC.VLSC AASC.VPSP AASC.AUTRESC AUTREVEC AUTREVEC.APIED AUTREVEC.AVION AUTREVEC.PERSO AUTREVEC.TAXI "
        "AUTREVEC.TRAIN AUTREVEC.TRANSP AUTREVEC.AUTRE AUTREVEC.AUTRETRA FSI FSI.HELIFSI FSI.VLFSI FSI.FFSI FSI.VHFSI "
        "LIB LIB.MEDV LIB.INF LIB.AUTREPRO SIS SIS.DRAGON SIS.AVSC SIS.FEUSIS SIS.GRIMP SIS.NAVISIS SIS.PCSIS "
        "SIS.SRSIS SIS.VCH SIS.VLCG SIS.VLISP SIS.VLMSP SIS.VLSIS SIS.VPL SIS.VPMA SIS.VR SIS.VSAV SIS.MOYSSE "
        "SIS.AUTRESIS SMUR SMUR.VLM SMUR.VL SMUR.PSM1 SMUR.PSM2 SMUR.PSM3 SMUR.PSMP SMUR.VPC SMUR.AR SMUR.AR-BAR "
        "SMUR.AR-PED SMUR.HELISMUR SMUR.HELISAN SMUR.AVSMUR SMUR.AVSAN SMUR.NAVISMUR TSU TSU.VSL TSU.AMB-GV "
        "TSU.AMB-PV TSU.AMB-BAR TSU.AMB"
    ).split()
)
SHARED_VEHICLES = tuple("SMUR SIS".split())
"""The two families the exchange with fire services knows."""
MEDICAL_LEVELS = tuple("MED PARAMED SECOURS SANS".split())
MOVES = tuple("MOBILE STATIQUE".split())
POSITION_STATUSES = tuple("DISPONIBLE INDISPONIBLE INCONNU".split())
ENGAGED_STATUSES = tuple(
    (
        "ALERTEE PARTIE ARRIVEE_LIEU TRANSPORT_DESTINATION ARRIVEE_DESTINATION FIN_MED QUITTE_DESTINATION "
        "RETOUR_DISPONIBLE RETOUR_INDISPONIBLE ARRIVEE_CENTRE"
    ).split()
)
GEO_RESOURCE_TYPES = tuple("SMUR SDIS TSU SNP MSPE SHIP".split())
NATURES = tuple("EFFECTEUR BASE".split())
MOBILITIES = tuple("FIXE VEHICULE HELICOPTERE SHIP".split())
CAPACITIES = tuple("URGENCE MEDICALE PARAMEDICALE INCONNUE".split())
GEO_CONTACT_TYPES = tuple("PMRADD PHNADD".split())
CONVENTIONS = tuple("DRSIS MISSION ITSP CARENCE CONVENT SPE HORS AUTRE1 AUTRE2 AUTRE3".split())
PURPOSES = tuple("SAP REGUL CUMP SMUR MG PARAMED SAMU RELEVE NOVI TIH BRANCARD BARIA".split())
DEADLINES = tuple("DEL0 ASAP 30M 45M 1H 2H 4H 8H 12H 24H RDV".split())
ANSWERS = tuple("ACCEPTEE PARTIELLE REFUSEE DIFFEREE".split())
DISTRIBUTION_STATUSES = ("Actual", "Exercise", "System", "Test", "Draft", "Unknown", "NoAppropriateDefault")
"""Of EDXL-DE; the exchange uses the first three. Only `Actual` ever touches real state."""
DISTRIBUTION_KINDS = ("Report", "Update", "Cancel", "Ack", "Error")
