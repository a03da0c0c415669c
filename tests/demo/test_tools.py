import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from demo.stack import chromium, servers, tools
from demo.stack.debian import ToolsError, run

ROOT = Path(__file__).parents[2]
# An archive that fails to unpack once, and a package list that is found to be old once.
APT_GET = """#!/bin/sh
echo "$@" >> {log}
case "$*" in
  *update*) touch {log}.updated; exit 100 ;;
  *download*) [ -e {log}.updated ] || {{ echo 'E: Failed to fetch: 404 Not Found' >&2; exit 100; }}
    shift 3; while [ "$1" != download ]; do shift; done; shift
    for package; do echo partial > "$package"_1_amd64.deb; done ;;
esac
"""
DPKG_DEB = """#!/bin/sh
[ "$1" = -f ] && {{ case "$2" in */prometheus_*) echo 'promtool, libjs-jquery' ;; esac; exit; }}
[ -e {log}.good ] || {{ echo 'unexpected end of file' >&2; exit 2; }}
mkdir -p "$3/usr/bin" "$3/usr/share/prometheus"
case "$2" in
  */prometheus_*) names=prometheus ;;
  */promtool_*) names=promtool ;;
  */prometheus-alertmanager_*) names='prometheus-alertmanager amtool' ;;
  */prometheus-node-exporter_*) names='prometheus-node-exporter' ;;
  *) echo pages > "$3/usr/share/prometheus/page"; exit ;;
esac
for name in $names; do
  cp {log}.program "$3/usr/bin/$name"
done
"""
_APT_GET_OF_A_BROWSER = """#!/bin/sh
echo "$@" >> {log}
case "$*" in
  *simulate*) echo 'Inst chromium (150)'; echo 'Inst libnss3 (3)'; echo 'Conf chromium (150)' ;;
  *download*) echo x > chromium_1_amd64.deb; echo x > libnss3_1_amd64.deb ;;
esac
"""
_DPKG_DEB_OF_A_BROWSER = """#!/bin/sh
mkdir -p "$3/usr/lib/chromium"
echo '#!/bin/sh
echo "browser $@"' > "$3/usr/lib/chromium/chromium"
/bin/chmod 755 "$3/usr/lib/chromium/chromium"
"""
PROGRAM = """#!/bin/sh
read -r page < /usr/share/prometheus/page
echo "tool, version 9.9 with $page"
"""


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with a shell and little else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "cp", "mkdir", "touch", "dirname", "readlink"):
        (folder / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def debian(bare: Path, tmp_path: Path) -> Path:
    """The same with a Debian's apt-get and dpkg-deb; returns the log of apt-get's calls."""
    log = tmp_path / "apt.log"
    for name, script in (("apt-get", APT_GET), ("dpkg-deb", DPKG_DEB)):
        (bare / name).write_text(script.format(log=log))
        (bare / name).chmod(0o755)
    program = Path(f"{log}.program")
    program.write_text(PROGRAM)
    program.chmod(0o755)
    return log


def good(log: Path) -> None:
    Path(f"{log}.good").touch()


def test_a_tool_on_path_is_taken(bare: Path, tmp_path: Path) -> None:
    """What the user installed is used, under either of its names."""
    installed = bare / "prometheus-alertmanager"
    installed.write_text("#!/bin/sh\necho alertmanager, version 1.2.3 >&2\n")
    installed.chmod(0o755)
    assert tools.find("alertmanager", folder=tmp_path) == installed
    assert tools.version(installed) == "1.2.3"


@pytest.mark.usefixtures("bare")
def test_a_missing_tool_is_named(tmp_path: Path) -> None:
    """`find` fetches nothing and says what to do."""
    with pytest.raises(ToolsError, match="promtool is missing: run 'make tools'"):
        tools.find("promtool", folder=tmp_path)
    assert not list(tmp_path.glob("debian"))


@pytest.mark.usefixtures("bare")
def test_another_system_is_told_what_to_install(tmp_path: Path) -> None:
    """Without apt-get there is one line, not a trace."""
    with pytest.raises(ToolsError, match="install Prometheus") as raised:
        tools.require(folder=tmp_path / "tools")
    assert "\n" not in str(raised.value)


def test_packages_are_fetched_once(debian: Path, tmp_path: Path) -> None:
    """Old package lists are renewed in a private folder, and a second call does nothing."""
    good(debian)
    programs = tools.require(folder=tmp_path / "tools")
    assert tools.version(programs.amtool) == "9.9"
    calls = debian.read_text()
    assert f"Dir::State::Lists={tmp_path}/tools/apt/lists update" in calls
    assert tools.require(folder=tmp_path / "tools") == programs
    assert debian.read_text() == calls


def test_a_release_is_unpacked_beside_the_others(debian: Path, tmp_path: Path) -> None:
    """Its packages come from its own list, and leave the usual tools alone."""
    good(debian)
    folder = servers.programs("sid", folder=tmp_path / "tools")
    assert {"prometheus", "promtool", "prometheus-alertmanager"} <= {
        p.name for p in folder.iterdir()
    }
    assert not (tmp_path / "tools/debian").exists()
    sources = (tmp_path / "tools/servers/sid/apt/sources.list").read_text()
    assert sources.endswith("http://deb.debian.org/debian sid main")
    assert "victoria-metrics" in debian.read_text()
    calls = debian.read_text()
    assert servers.programs("sid", folder=tmp_path / "tools") == folder
    assert debian.read_text() == calls


def test_programs_look_for_their_pages_where_they_were_unpacked(
    debian: Path, tmp_path: Path
) -> None:
    """Debian's builds name a folder of the machine, which is led to ours, also after a move."""
    good(debian)
    programs = tools.require(folder=tmp_path / "tools")
    (tmp_path / "tools").rename(tmp_path / "moved")
    moved = tmp_path / "moved" / programs.prometheus.relative_to(tmp_path / "tools")
    process = subprocess.run([moved], capture_output=True, text=True, check=True)
    assert process.stdout == "tool, version 9.9 with pages\n"


def test_an_interrupted_fetch_is_repeated(debian: Path, tmp_path: Path) -> None:
    """A broken archive leaves no tool behind, and the next try starts again."""
    folder = tmp_path / "tools"
    (folder / "unpacking-old/debian/usr/bin").mkdir(parents=True)
    with pytest.raises(ToolsError, match=r"dpkg-deb failed \(unexpected end of file"):
        tools.require(folder=folder)
    with pytest.raises(ToolsError):
        tools.find("prometheus", folder=folder)
    assert not list(folder.glob("unpacking-*"))
    good(debian)
    assert tools.require(folder=folder).prometheus.is_file()


def test_two_at_once_fetch_once(debian: Path, tmp_path: Path) -> None:
    """The second make waits for the first and uses what it fetched."""
    good(debian)
    folder = tmp_path / "tools"
    folder.mkdir()
    results: list[tools.Tools] = []
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        threads = [
            threading.Thread(target=lambda: results.append(tools.require(folder=folder)))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        assert not debian.exists(), "nobody fetches while another holds the lock"
        fcntl.flock(lock, fcntl.LOCK_UN)
    for thread in threads:
        thread.join()
    assert len(results) == 2
    # By the machine's lists, which are old, and by renewed ones.
    assert debian.read_text().count("prometheus-node-exporter") == 2


def test_a_tool_that_cannot_run_is_named(tmp_path: Path) -> None:
    """A program for another machine is not taken for a tool."""
    broken = tmp_path / "prometheus"
    broken.write_text("not a program")
    broken.chmod(0o755)
    with pytest.raises(ToolsError, match="does not run on this machine"):
        tools.version(broken)


def test_make_tools_prints_a_line_a_tool() -> None:
    """Name, version and path of all five, and nothing else."""
    ran = subprocess.run(
        [sys.executable, "-m", "demo.stack.tools"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "HOME": ""},
    )
    lines = [line.split() for line in ran.stdout.splitlines()]
    names = ["prometheus", "promtool", "alertmanager", "amtool", "node_exporter"]
    assert [line[0] for line in lines] == names
    assert all(Path(line[2]).is_file() for line in lines)


@pytest.mark.usefixtures("bare")
def test_make_tools_fails_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A system without the tools gets one line on stderr and exit code 1."""
    assert tools.main(folder=tmp_path / "tools") == 1
    output = capsys.readouterr()
    assert not output.out
    assert len(output.err.splitlines()) == 1
    assert output.err.startswith("tools: this system has no apt-get")


def test_a_browser_on_path_is_taken(bare: Path, tmp_path: Path) -> None:
    """Whatever it is called there."""
    installed = bare / "google-chrome"
    installed.write_text("#!/bin/sh\n")
    installed.chmod(0o755)
    assert chromium.require(folder=tmp_path) == installed


def test_a_browser_is_unpacked_with_all_that_it_needs(
    debian: Path, tmp_path: Path, bare: Path
) -> None:
    """What apt would install, and nothing is installed."""
    (bare / "apt-get").write_text(_APT_GET_OF_A_BROWSER.format(log=debian))
    (bare / "dpkg-deb").write_text(_DPKG_DEB_OF_A_BROWSER)
    program = chromium.require(folder=tmp_path / "tools")
    process = subprocess.run([program, "x"], capture_output=True, text=True, check=True)
    assert process.stdout == "browser x\n"
    assert "download chromium libnss3" in debian.read_text()


@pytest.mark.usefixtures("bare")
def test_another_system_is_told_to_install_a_browser(tmp_path: Path) -> None:
    """In one line."""
    with pytest.raises(ToolsError, match="install Chromium so that it is on PATH"):
        chromium.require(folder=tmp_path / "tools")


def test_a_program_that_is_not_there_is_named() -> None:
    """As an error that the demo knows, for it goes on without real machines then."""
    with pytest.raises(ToolsError, match="/sbin/no-such-program: No such file"):
        run("/sbin/no-such-program", check=False)
