"""Everything that can go wrong, as one tree.

    PersonareError                       exit code
      InputError                         3    what the user gave cannot be used
        UnreadableMedia                       not a picture, sound or video, damaged, or not there
        PictureTooLarge                       above the pixel budget; refused before decoding
        NoFaceFound                           no face in the portrait
        NoPersonFound                         no body in the picture, or in the guide
        FaceTooSmall                          a face, but too few pixels to animate
        FaceTurnedAway                        a face, but too far from frontal
        UnusableSpeech                        empty, or with NaN or infinite samples
        InvalidOption                         an option that does not exist or is out of range
        UnknownName                           no such engine, avatar or voice
        ConsentExpired                        whoever is in the portrait consented until a day that is past
        UnwritableOutput                      the folder is missing, read-only or the disk is full
      WeightsError                       4
        WeightsMissing                        a checkpoint, model or speech synthesiser is not installed
        LicenceNotAccepted                    the user has to fetch a licence-gated file
        WeightsMismatch                       a checkpoint of another model, truncated or damaged
      CacheError                         5    the feature store cannot do what was asked
      EngineError                        5    an engine failed, or was used against its contract
      ServiceError                       5    a service of personare refused, failed, or cannot be reached
      Busy                               5    no free place for another session
      Cancelled                        130    stopped by the user

Every error says in one line what was wrong with which file, and in `hint` what to do next.
"""

from __future__ import annotations

from typing import ClassVar

LONGEST_LINE = 320
"""Characters of a message or a hint; what is longer loses its middle."""


def one_line(text: str) -> str:
    """The text as one line that a terminal shows as it is: white space joined, control
    characters escaped, at most LONGEST_LINE characters.
    """
    # what is cut must not be read first: a message may hold megabytes
    if len(text) > 2 * LONGEST_LINE:
        text = f"{text[:LONGEST_LINE]} … {text[-LONGEST_LINE:]}"
    plain = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in " ".join(text.split())
    )
    if len(plain) <= LONGEST_LINE:
        return plain
    end = LONGEST_LINE // 3
    return f"{plain[: LONGEST_LINE - end - 3]} … {plain[-end:]}"


class PersonareError(Exception):
    """Base of all errors that personare raises on purpose.

    `message` is one line; `hint` says what to do next ("" if there is nothing to do). What an
    error quotes may be long or odd: both are made `one_line` here, once for all errors.
    """

    exit_code: ClassVar[int] = 5

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = one_line(message)
        self.hint = one_line(hint)
        super().__init__(self.message)


class InputError(PersonareError):
    exit_code = 3


class UnreadableMedia(InputError):
    pass


class PictureTooLarge(InputError):
    pass


class NoFaceFound(InputError):
    pass


class NoPersonFound(InputError):
    pass


class FaceTooSmall(InputError):
    pass


class FaceTurnedAway(InputError):
    pass


class UnusableSpeech(InputError):
    pass


class InvalidOption(InputError):
    pass


class UnknownName(InputError):
    pass


class ConsentExpired(InputError):
    pass


class UnwritableOutput(InputError):
    pass


class WeightsError(PersonareError):
    exit_code = 4


class WeightsMissing(WeightsError):
    pass


class LicenceNotAccepted(WeightsError):
    pass


class WeightsMismatch(WeightsError):
    pass


class CacheError(PersonareError):
    pass


class EngineError(PersonareError):
    pass


class ServiceError(PersonareError):
    """What `personare.Client` raises. status: of HTTP, None where there was no answer, or the
    job failed. code: the word that programs read.
    """

    def __init__(
        self, message: str, hint: str = "", *, status: int | None = None, code: str = "error"
    ) -> None:
        super().__init__(message, hint)
        self.status = status
        self.code = code


class Busy(PersonareError):
    pass


class Cancelled(PersonareError):
    exit_code = 130
