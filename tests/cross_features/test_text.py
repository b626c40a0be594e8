"""Parts of texts and their hashes."""

from __future__ import annotations

import hashlib
import unicodedata

import pytest

from interactrank.cross_features.text import compact, hash63, normalize, trigrams, words
from interactrank.cross_features.text_keys import text_keys


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Call of\tDUTY \n", "call of duty"),
        ("\u3000\uff28\uff41\uff4c\uff4f\u00a03", "halo 3"),  # full-width letters and other blanks
        ("ﬁfa", "fifa"),  # a ligature
        ("", ""),
    ],
)
def test_normalize(text: str, expected: str) -> None:
    assert normalize(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FIFA12 - Xbox_360", ["fifa", "12", "xbox", "360"]),
        ("Assassin's Assassin\u2019s", ["assassins", "assassins"]),
        ("naïve 日本語", ["naïve", "日本語"]),
        ("?!", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_compact_joins_what_blanks_part() -> None:
    assert compact("X-Box 360") == compact("xbox360") == "xbox360"


@pytest.mark.parametrize(
    ("text", "expected"), [("ab", ["^ab", "ab$"]), ("a", ["^a$"]), ("", []), ("a b", ["^ab", "ab$"])]
)
def test_trigrams(text: str, expected: list[str]) -> None:
    assert trigrams(text) == expected


def test_hash63_is_the_upper_63_bits_of_blake2b() -> None:
    digest = hashlib.blake2b("käse".encode(), digest_size=8).digest()
    assert hash63("käse") == int.from_bytes(digest, "big") // 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("दिल दाल", ["दिल", "दाल"]),  # heart, lentils
        ("தமிழ்", ["தமிழ்"]),
        ("مُحَمَّد", ["مُحَمَّد"]),
        ("สวัสดี123", ["สวัสดี", "123"]),
        ("שָׁלוֹם", ["שָׁלוֹם"]),
        ("İzmir IZMIR", ["izmir", "izmir"]),
        ("می\u200cشود", ["میشود"]),  # with the joiner within a word
        ("ไทย\u200bแลนด์", ["ไทย", "แลนด์"]),  # an invisible blank
        ("co\u00adop", ["coop"]),
        ("x\u0302y", ["x\u0302y"]),  # a mark that no composed letter has
        ("1\ufe0f\u20e3 one", ["1", "one"]),  # a keycap
        ("🎮 \u0301", []),
    ],
)
def test_words__letters_keep_their_marks(text: str, expected: list[str]) -> None:
    assert words(text) == [unicodedata.normalize("NFKC", word) for word in expected]


def test_text_keys__texts_without_letters_share_nothing() -> None:
    for kind in ("compact", "words", "trigrams"):
        assert text_keys(kind, ["?!", "🎮"]).lengths.tolist() == [0, 0]
    mine, yours = text_keys("query", ["?!", "🎮"]).values
    assert mine != yours
