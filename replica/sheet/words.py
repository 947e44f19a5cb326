"""The two languages side by side (french.py, english.py). The tests hold that no word is missing in either.

Codes of the standard keep their code beside the word wherever a form asks for the code again.
"""

from __future__ import annotations

from typing import Final

from replica.sheet.english import ENGLISH
from replica.sheet.french import FRENCH

LANGUAGES: Final = {"fr": FRENCH, "en": ENGLISH}


class Words:
    """One language's words. `words["cases"]`; `words.say("page", page=1, pages=2)`; `words.code("step", "PEC")`."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._words = LANGUAGES[language]

    def __getitem__(self, key: str) -> str:
        return self._words[key]

    def say(self, key: str, **values: object) -> str:
        """The sentence with its values in place."""
        return self._words[key].format(**values)

    def code(self, family: str, code: str) -> str:
        """The word for a code, the code in brackets behind it; a code nobody knows as it is."""
        word = self._words.get(f"{family}.{code}")
        return code if word is None else word if word == code else f"{word} ({code})"

    def field(self, name: str) -> str:
        """A field's name as people say it."""
        return self._words.get(f"field.{name}", name)

    @property
    def other(self) -> Words:
        """The other language: what nobody may miss is said in both."""
        return Words(next(language for language in LANGUAGES if language != self.language))
