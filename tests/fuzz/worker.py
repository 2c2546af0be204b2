"""One reader, case after case, in a process of its own, so that what ends the process is seen.

    python -m tests.fuzz.worker READER SECONDS [--from CASE]
    python -m tests.fuzz.worker READER --case CASE --write FILE    the file of one case

A case is the same at every run. It prints the number of each before it reads it; it ends with
an error at the first that gives anything but a result or a PersonareError of one line, takes
more than LONGEST_SECONDS, or makes the process larger than LARGEST_MB.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

from personare.errors import PersonareError
from tests.fuzz.mutation import mutated
from tests.fuzz.readers import READERS, Reader

LONGEST_SECONDS = 30
LARGEST_MB = 1000
ADDRESS_SPACE = 16 << 30


def case(reader: Reader, name: str, number: int) -> tuple[str, bytes]:
    """Suffix and bytes of a case; the first ones are the samples themselves."""
    if number < len(reader.samples):
        return reader.samples[number]
    chance = random.Random(f"{name} {number}")
    suffix, sample = chance.choice(reader.samples)
    return suffix, mutated(sample, chance, [data for _, data in reader.samples])


def run(name: str, seconds: float, number: int) -> None:
    """Cases from `number` on, at least 20, until the time is over."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PERSONARE_HOME"] = str(Path(folder) / "home")
        reader = READERS[name](Path(folder))
        first, end, refused = number, time.monotonic() + seconds, 0
        while number < first + 20 or time.monotonic() < end:
            print(number, flush=True)
            suffix, data = case(reader, name, number)
            path = Path(folder) / f"case{suffix}"
            for beside in Path(folder).glob("case*"):
                beside.unlink()
            path.write_bytes(data)
            signal.alarm(LONGEST_SECONDS)
            try:
                reader.read(path)
            except PersonareError as error:
                refused += 1
                if not error.message.isprintable() or len(error.message) > 1000:
                    raise AssertionError(f"not one line: {error.message!r}") from error
            signal.alarm(0)
            if (peak := _peak_mb()) > LARGEST_MB:
                raise MemoryError(f"{peak} MB")
            number += 1
    print(f"{name}: {number - first} cases, {refused} refused, {_peak_mb()} MB", file=sys.stderr)


def _peak_mb() -> int:
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) // 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("reader", choices=READERS)
    parser.add_argument("seconds", nargs="?", type=float, default=0.0)
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--case", type=int)
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    if given.case is None:
        run(given.reader, given.seconds, given.first)
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PERSONARE_HOME"] = str(Path(folder) / "home")
        given.write.write_bytes(case(READERS[given.reader](Path(folder)), given.reader, given.case)[1])


if __name__ == "__main__":
    main()
