"""One colour and one marker for each species, wherever species are drawn."""

from __future__ import annotations

#: Okabe and Ito's palette, told apart with every common colour-vision deficiency
#: (Okabe & Ito, "Color Universal Design", 2008).
_ORANGE, _SKY, _GREEN, _YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
_BLUE, _VERMILION, _PURPLE, _GREY = "#0072B2", "#D55E00", "#CC79A7", "#999999"

#: Colour and matplotlib marker by role: a dopant, a vacancy, a divacancy, ...
_ROLES = {
    "dopant": (_SKY, "o"),
    "bound": (_BLUE, "h"),
    "metal vacancy": (_VERMILION, "s"),
    "vacancy": (_ORANGE, "^"),
    "divacancy": (_YELLOW, "v"),
    "adatom": (_PURPLE, "D"),
    "hole edge": (_GREEN, "P"),
    "unknown": (_GREY, "x"),
}

_ROLE_OF = {
    "MoW": "dopant",
    "V@Mo": "dopant",
    "SiC": "dopant",
    "VW": "metal vacancy",
    "VMo": "metal vacancy",
    "VC": "metal vacancy",
    "VS": "vacancy",
    "VSe": "vacancy",
    "VS2": "divacancy",
    "VSe2": "divacancy",
    "adatom": "adatom",
    "hole_edge": "hole edge",
}


def style_of(species: str, state: str = "") -> tuple[str, str]:
    """Hex colour and matplotlib marker of a species; a dopant with a vacancy has its own."""
    role = "bound" if "+" in state else _ROLE_OF.get(species, "unknown")
    return _ROLES[role]
