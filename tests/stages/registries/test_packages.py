"""Downloads without a network: a stand-in client, the cache, checksums, and what is said when something is missing."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from stages.registries import packages
from stages.registries.archives import members, safe_name
from stages.registries.packages import Package, Unavailable, obtain

CONTENT = b"a package"
SUM = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands run by a stand-in for every client, which leaves one file of the right ending."""
    made: list[list[str]] = []

    def client(command: list[str], folder: Path) -> str:
        made.append(command)
        if "pack" in command or "download" in command:
            (folder / f"got.{'tgz' if 'npm' in command else 'whl'}").write_bytes(CONTENT)
        return "listed"

    monkeypatch.setattr(packages, "_run", client)
    return made


def test_download_is_checked_kept_and_used_again(tmp_path: Path, calls: list[list[str]]) -> None:
    package = Package("npm", "icons", "1.0", "CC0-1.0", SUM)
    assert obtain(package, tmp_path).read_bytes() == CONTENT
    assert obtain(package, tmp_path).name == "npm-icons-1.0.tgz"
    assert len(calls) == 1


def test_damaged_cache_is_downloaded_anew(tmp_path: Path, calls: list[list[str]]) -> None:
    package = Package("pypi", "icons", "1.0", "CC0-1.0", SUM)
    package.held(tmp_path).write_bytes(b"torn")
    assert obtain(package, tmp_path).read_bytes() == CONTENT
    assert len(calls) == 1


def test_wrong_checksum_names_expected_and_found(tmp_path: Path, calls: list[list[str]]) -> None:
    with pytest.raises(Unavailable, match=f"expected {'0' * 64}, found {SUM}"):
        obtain(Package("pypi", "icons", "1.0", "CC0-1.0", "0" * 64), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("registry", "tool"), [("npm", "npm"), ("debian", "apt-get")])
def test_missing_tool_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: packages.Registry, tool: str
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(Unavailable, match=f"{tool} is not on this machine"):
        obtain(Package(registry, "icons", "1.0", "CC0-1.0"), tmp_path)


def test_ordinary_user_without_package_lists_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "_run", lambda *_: "")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(Unavailable, match="apt-get update"):
        obtain(Package("debian", "stamps", "1.0", "GPL-2.0-only"), tmp_path)


def test_client_that_fails_or_hangs_gives_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unavailable, match="sh failed: no route"):
        packages._run(["sh", "-c", "echo first >&2; echo no route >&2; exit 3"], tmp_path)
    monkeypatch.setattr(packages, "SECONDS", 0.1)
    with pytest.raises(Unavailable, match="sleep gave no answer"):
        packages._run(["sleep", "5"], tmp_path)


@pytest.mark.parametrize(
    ("name", "safe"), [("./a/b", "a/b"), ("a/./b", "a/b"), ("/etc/passwd", None), ("a/../../b", None)]
)
def test_unsafe_names_are_left_out(name: str, safe: str | None) -> None:
    assert safe_name(name) == safe


def test_members_of_a_tar_are_regular_safe_and_below_the_folder(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "p.tgz", "w:gz") as archive:
        for name in ("package/a.txt", "package/../../evil", "other/b.txt"):
            item = tarfile.TarInfo(name)
            item.size = 2
            archive.addfile(item, io.BytesIO(b"ok"))
        link = tarfile.TarInfo("package/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert list(members(tmp_path / "p.tgz", "package/")) == [("a.txt", b"ok")]


def test_members_of_wheel_folder_and_debian_package_agree(tmp_path: Path) -> None:
    files = {"data/a.txt": b"one", "data/b/c.txt": b"two"}
    with zipfile.ZipFile(tmp_path / "p.whl", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
            (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "tree" / name).write_bytes(content)
    wanted = {"a.txt": b"one", "b/c.txt": b"two"}
    assert dict(members(tmp_path / "p.whl", "data/")) == wanted
    assert dict(members(tmp_path / "tree", "data/")) == wanted
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not on this machine")
    control = tmp_path / "tree" / "DEBIAN" / "control"
    control.parent.mkdir()
    control.write_text("Package: p\nVersion: 1.5\nArchitecture: all\nMaintainer: x <x@x.org>\nDescription: p\n")
    subprocess.run(["dpkg-deb", "--build", tmp_path / "tree", tmp_path / "p.deb"], check=True, capture_output=True)
    assert dict(members(tmp_path / "p.deb", "data/")) == wanted
    assert packages.version_of(Package("debian", "p", "1.0", ""), tmp_path / "p.deb") == "1.5"


def test_damaged_archive_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "p.whl").write_bytes(b"no zip")
    with pytest.raises(Unavailable, match=r"p\.whl is damaged"):
        list(members(tmp_path / "p.whl"))
