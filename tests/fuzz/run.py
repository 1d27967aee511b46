"""Fuzz the Python parsers, FUZZ_SECONDS (60) each, two at a time; findings are left in artifacts/fuzz.

With atheris (`pip install 'lectern[fuzz]'`) libFuzzer follows the coverage of our parsers and aiortc's;
without it the corpora are mutated blindly. `python -m tests.fuzz.run [TARGET...]`.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parents[2]
CORPORA = Path(__file__).parent / "corpora"
FOUND = ROOT / "artifacts" / "fuzz"
INSTRUMENTED = ["signaling", "wire", "control", "sfu", "aiortc.sdp", "aiortc.rtcsctptransport"]
INPUT_BYTES_MAX = 8192
INPUT_S_MAX = 5
AT_ONCE = 2
ONE = "--one"


def seeds(target: str) -> list[Path]:
    """Return the committed inputs of a target, findings that were mended among them."""
    return sorted((CORPORA / target).iterdir())


def mutated(target: str, chance: random.Random) -> Iterator[bytes]:
    """Yield committed inputs, changed a little, without end."""
    known = [path.read_bytes() for path in seeds(target)]
    while True:
        data = bytearray(chance.choice(known))
        for _ in range(chance.randint(1, 8)):
            at = chance.randrange(len(data) + 1)
            match chance.randrange(5):
                case 0:
                    data[at:at] = chance.randbytes(chance.randint(1, 8))
                case 1:
                    del data[at : at + chance.randint(1, 16)]
                case 2 if data:
                    data[at % len(data)] ^= 1 << chance.randrange(8)
                case 3 if data:
                    data[at % len(data)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
                case _:
                    other = chance.choice(known)
                    start = chance.randrange(len(other) + 1)
                    data[at:at] = other[start : start + chance.randint(1, 64)]
        yield bytes(data[:INPUT_BYTES_MAX])


def _fuzz_one(name: str, seconds: int) -> None:
    """Run one target in this process; ends with another exit code than 0 where something is found."""
    FOUND.mkdir(parents=True, exist_ok=True)
    if find_spec("atheris") is None:
        _fuzz_blindly(name, seconds)
        return
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        from tests.fuzz.targets import TARGETS
    grown = ROOT / "artifacts" / "corpus" / name
    grown.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={seconds}", f"-max_len={INPUT_BYTES_MAX}", "-rss_limit_mb=1024"]
    options += [
        f"-timeout={INPUT_S_MAX}",
        f"-artifact_prefix={FOUND}/{name}-",
        "-print_final_stats=1",
    ]
    atheris.Setup([name, *options, str(grown), str(CORPORA / name)], TARGETS[name])
    atheris.Fuzz()


def _fuzz_blindly(name: str, seconds: int) -> None:
    from tests.fuzz.targets import TARGETS

    seed, runs, ends_s = time.time_ns(), 0, time.monotonic() + seconds
    signal.signal(signal.SIGALRM, _too_long)
    for data in mutated(name, random.Random(seed)):
        signal.alarm(INPUT_S_MAX)
        try:
            TARGETS[name](data)
        except BaseException:
            (FOUND / f"{name}-{seed}").write_bytes(data)
            raise
        finally:
            signal.alarm(0)
        runs += 1
        if time.monotonic() > ends_s:
            break
    print(f"stat::number_of_executed_units: {runs}")


class TooLong(BaseException):
    """No error of what is fuzzed, which it might take for one of its own."""


def _too_long(number: int, frame: FrameType | None) -> None:
    raise TooLong(f"an input takes longer than {INPUT_S_MAX} s")


def _run(name: str, seconds: int) -> bool:
    command = [sys.executable, "-m", "tests.fuzz.run", ONE, name, str(seconds)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    said = (done.stdout + done.stderr).splitlines()
    if done.returncode == 0:
        runs = next((x.split()[-1] for x in said if "number_of_executed_units" in x), "?")
        print(f"fuzz {name}: {runs} runs in {seconds} s, nothing found", flush=True)
        return True
    print("\n".join(said[-40:]), file=sys.stderr)
    print(f"fuzz {name}: FOUND something; its input is artifacts/fuzz/{name}-*", file=sys.stderr)
    return False


def main() -> int:
    """Fuzz all targets, or those that are named."""
    if sys.argv[1:2] == [ONE]:
        _fuzz_one(sys.argv[2], int(sys.argv[3]))
        return 0
    seconds = int(os.environ.get("FUZZ_SECONDS", "60"))
    targets = sys.argv[1:] or sorted(path.name for path in CORPORA.iterdir())
    if find_spec("atheris") is None:
        print("fuzz: without atheris inputs are mutated blindly; pip install 'lectern[fuzz]'")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = list(pool.map(lambda name: _run(name, seconds), targets))
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
