"""Nouns of captions that name no region of the image."""

from __future__ import annotations

# The picture itself, places in it, amounts, times, and words for anything or nothing.
_WORDS = """
    photo photograph picture image shot view scene camera close-up closeup snapshot
    black-and-white footage caption
    front back side top bottom left right middle center centre edge end corner inside
    outside background foreground distance direction line row angle part section spot
    place area surrounding setting location position rest half
    group bunch couple pair lot number variety assortment collection set series
    array amount type kind sort style piece stack pile dozen plenty bit handful
    one two three four five six many several some other others another each
    day night time morning afternoon evening today year moment summer winter
    thing stuff something anything everything nothing someone anyone everyone object
    item way use case fact idea display color colour size shape design pattern
    air action motion view preparation process event activity game play fun ride trick
    jump turn walk look watch talk smile pose wait help work job trip
"""

STOP_WORDS = frozenset(_WORDS.split())
