"""Power cuts: everything not fsynced is gone, and still nothing acknowledged is lost or doubled.

The disk that forgets is tests/simulation/powercut/powercut.c; the first tests show that it does forget.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from althing.testing.faults import FAULTS, OTHER_FAULTS
from althing.testing.powercut import PowerCut, build_library
from althing.testing.rounds import fault_rounds

SEED = os.environ.get("ALTHING_SEED", "power 1")
pytestmark = pytest.mark.needs_cc

HEAD = """
import os, sys
os.chdir(sys.argv[1])
def sync(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
"""


@pytest.fixture(scope="module")
def library(cc, tmp_path_factory):
    source = Path(__file__).parent / "powercut" / "powercut.c"
    return build_library(cc, source, tmp_path_factory.mktemp("powercut"))


@pytest.fixture
def disk(library, tmp_path):
    """A folder with a file that is durable, and a function that runs Python there before the power is cut."""
    home = tmp_path / "home"
    (home / "sub").mkdir(parents=True)
    (home / "old").write_bytes(b"old")
    cuts = PowerCut(library, home, tmp_path / "disk")

    def run(program, torn=None):
        environment = {**os.environ, **cuts.environment}
        subprocess.run([sys.executable, "-c", HEAD + program, str(home)], check=True, env=environment)
        cuts.cut(torn)
        return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}

    run.cuts = cuts
    return run


OLD = {"old": b"old"}


@pytest.mark.parametrize(
    ("program", "left"),
    [
        ("open('old', 'wb').write(b'new')", OLD),
        ("open('old', 'wb').write(b'new'); sync('old')", {"old": b"new"}),
        ("open('old', 'ab').write(b'+1'); sync('old'); open('old', 'ab').write(b'+2')", {"old": b"old+1"}),
        ("open('new', 'wb').write(b'new'); sync('new')", OLD),
        ("open('new', 'wb').write(b'new'); sync('.')", {**OLD, "new": b""}),
        ("open('new', 'wb').write(b'new'); sync('new'); sync('.')", {**OLD, "new": b"new"}),
        ("open('new', 'wb').write(b'new'); sync('new'); os.rename('new', 'old')", OLD),
        ("open('new', 'wb').write(b'new'); sync('new'); os.rename('new', 'old'); sync('.')", {"old": b"new"}),
        ("open('new', 'wb').write(b'new'); os.rename('new', 'old'); sync('.')", {"old": b""}),
        ("os.unlink('old')", OLD),
        ("os.unlink('old'); sync('.')", {}),
        ("os.unlink('old'); open('next', 'wb').write(b'next'); sync('next')", OLD),
        ("os.truncate('old', 1)", OLD),
        ("os.truncate('old', 1); sync('old')", {"old": b"o"}),
        ("open('sub/x', 'wb').write(b'x'); sync('sub/x'); sync('.')", OLD),
        ("open('sub/x', 'wb').write(b'x'); sync('sub/x'); sync('sub')", {**OLD, "sub/x": b"x"}),
        ("os.mkdir('dir'); open('dir/x', 'wb').write(b'x'); sync('dir/x'); sync('dir')", OLD),
        (
            "os.link('old', 'twin'); sync('.'); open('twin', 'wb').write(b'both'); sync('old')",
            {"old": b"both", "twin": b"both"},
        ),
        ("os.pwrite(os.open('old', os.O_WRONLY | os.O_DSYNC), b'N', 0)", {"old": b"Nld"}),
        (
            "open('old', 'r+b').write(b'AAA'); os.pwrite(os.open('old', os.O_WRONLY | os.O_DSYNC), b'N', 2)",
            {"old": b"olN"},
        ),
        ("f = open('old', 'r+b'); os.writev(f.fileno(), [b'n', b'e']); os.fdatasync(f.fileno())", {"old": b"ned"}),
        ("fd = os.open('old', os.O_RDWR); os.posix_fallocate(fd, 0, 8); os.fsync(fd)", {"old": b"old\0\0\0\0\0"}),
        (
            "import mmap\nf = open('old', 'r+b'); m = mmap.mmap(f.fileno(), 3); m[:] = b'new'; m.flush()",
            {"old": b"new"},
        ),
        ("import mmap\nf = open('old', 'r+b'); m = mmap.mmap(f.fileno(), 3); m[:] = b'new'", OLD),
    ],
)
def test_what_a_cut_leaves(disk, program, left):
    assert disk(program) == left


def test_what_is_durable_stays_so_over_several_cuts(disk):
    assert disk("open('a', 'wb').write(b'1'); sync('a'); sync('.')") == {**OLD, "a": b"1"}
    assert disk("open('a', 'ab').write(b'2')") == {**OLD, "a": b"1"}
    assert disk("open('a', 'ab').write(b'2'); sync('a')") == {**OLD, "a": b"12"}


def test_a_torn_cut_leaves_any_part_of_what_was_not_synced(disk):
    program = "f = open('big', 'r+b') if os.path.exists('big') else open('big', 'wb'); f.write(b'%d' * 4096)"
    disk("open('big', 'wb').write(b'0' * 4096); sync('big'); sync('.')")
    seen = set()
    for number in range(1, 9):
        found = disk(program % number, Random(number))["big"]
        assert len(found) == 4096
        seen.add(found)
    assert any(len({found[at] for at in range(0, 4096, 512)}) > 1 for found in seen)


def test_lmdb_duckdb_and_arrow_pass_through_the_library(disk):
    """What these libraries say is durable is; they use no way to the disk that the library does not see."""
    left = disk(
        "import lmdb\n"
        "environment = lmdb.open('db')\n"
        "sync('.'); sync('db')\n"
        "for number in range(50):\n"
        "    with environment.begin(write=True) as transaction:\n"
        "        transaction.put(b'k%d' % number, b'v' * 500)\n"
        "os._exit(0)\n"
    )
    assert "db/data.mdb" in left
    check = (
        "import lmdb\n"
        "with lmdb.open('db').begin() as transaction:\n"
        "    assert [transaction.get(b'k%d' % n) for n in range(50)] == [b'v' * 500] * 50\n"
        "import pyarrow as pa, pyarrow.parquet as pq\n"
        "pq.write_table(pa.table({'x': list(range(1000))}), 'a.parquet'); sync('a.parquet'); sync('.')\n"
        "pq.write_table(pa.table({'x': list(range(1000))}), 'b.parquet')\n"
        "import duckdb\n"
        "with duckdb.connect('d.db') as database: database.execute('create table t as select 7 as x')\n"
        "sync('.')\n"
    )
    left = disk(check)
    assert "b.parquet" in left  # its name was synced, its bytes never
    assert left["b.parquet"] == b""
    disk(
        "import pyarrow.parquet as pq\n"
        "assert pq.read_table('a.parquet').column('x').to_pylist() == list(range(1000))\n"
        "import duckdb\n"
        "assert duckdb.connect('d.db').execute('select x from t').fetchall() == [(7,)]\n"
    )


def test_a_full_disk_takes_nothing_until_there_is_room_again(disk):
    disk.cuts.fill()
    program = """
try:
    os.write(os.open('old', os.O_WRONLY), b'new')
except OSError as error:
    assert error.errno == 28
else:
    raise AssertionError
"""
    assert disk(program) == OLD
    disk.cuts.free()
    assert disk("os.write(os.open('old', os.O_WRONLY), b'new'); sync('old')") == {"old": b"new"}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("rounds", [4, pytest.param(100, marks=pytest.mark.long)])
def test_power_cuts(library, tmp_path, rounds, record_property):
    outcome = fault_rounds(
        tmp_path, rounds=rounds, seed=SEED, power=lambda site: PowerCut(library, site.path, tmp_path / "disk")
    )
    record_property("outcome", str(outcome))
    print(outcome)
    assert outcome.audit.acknowledged > 10 * rounds
    assert outcome.hand_overs
    assert outcome.moves, "no message went to the second gateway"
    assert outcome.passed >= {*FAULTS["node"], *FAULTS["gateway"], *OTHER_FAULTS} - {"spool.room"}
    assert outcome.audit.proofs == 10
    assert outcome.files_lost > 0, "no cut took anything: the disk did not forget"
