"""One receiver a SQLite file, whatever the file is called."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from receiver.db.database import database
from receiver.db.process_lock import AlreadyRunningError, ProcessLock


def _symlink(file: Path) -> Path:
    link = file.with_name("other.db")
    link.symlink_to(file)
    return link


def _hard_link(file: Path) -> Path:
    link = file.parent / "elsewhere" / "hard.db"
    link.parent.mkdir()
    os.link(file, link)
    return link


def _folder(file: Path) -> Path:
    link = file.parent / "folder"
    link.symlink_to(file.parent)
    return link / file.name


def _relative(file: Path) -> Path:
    return Path(os.path.relpath(file))


@pytest.mark.parametrize("rename", [lambda file: file, _symlink, _hard_link, _folder, _relative])
def test_a_second_receiver_is_refused(tmp_path: Path, rename: Callable[[Path], Path]) -> None:
    """By device and inode; until the first one ends."""
    file = tmp_path / "state.db"
    first = ProcessLock(f"sqlite:///{file}").acquire()
    second = ProcessLock(f"sqlite:///{rename(file)}")
    with pytest.raises(AlreadyRunningError, match="another receiver runs"):
        second.acquire()
    first.release()
    second.acquire().release()


def test_the_lock_does_not_disturb_the_database(tmp_path: Path) -> None:
    """SQLite's locks are of another kind: this process writes, and so does another one."""
    file = tmp_path / "state.db"
    lock = ProcessLock(f"sqlite:///{file}").acquire()
    opened = database(f"sqlite:///{file}")
    with opened.write() as connection:
        connection.exec_driver_sql("CREATE TABLE t (n)")
    script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
    script += "c.execute('INSERT INTO t VALUES (1)'); c.commit()"
    subprocess.run([sys.executable, "-c", script, str(file)], check=True, timeout=60)
    with opened.read() as connection:
        assert connection.exec_driver_sql("SELECT n FROM t").scalar_one() == 1
    opened.engine.dispose()
    lock.release()
