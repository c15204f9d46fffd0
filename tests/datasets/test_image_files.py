import tarfile
import zipfile

import pytest

from made_images import write_folder, write_tar, write_zip
from sgdphases.datasets import image_files
from sgdphases.datasets.image_files import FolderFiles, ImageError, TarFiles, ZipFiles

FILES = {"a/one.JPEG": b"1" * 50, "a/two.JPEG": b"22", "b/words.txt": "n1\tfür\n".encode()}


@pytest.fixture(params=["zip", "tar", "folder"])
def files(request, tmp_path):
    if request.param == "zip":
        return ZipFiles(write_zip(tmp_path / "x.zip", FILES))
    if request.param == "tar":
        return TarFiles(write_tar(tmp_path / "x.tgz", {f"./{name}": content for name, content in FILES.items()}))
    folder = write_folder(tmp_path, FILES)
    (folder / "unseen").write_text("not in any pattern")
    return FolderFiles(folder, ("a/*", "b/*"))


def test_all_three_are_read_alike(files):
    assert files.names() == sorted(FILES)
    wanted = ["b/words.txt", "a/one.JPEG"]
    assert {name: load() for name, load in files.loads(wanted)} == {name: FILES[name] for name in wanted}
    assert files.text("b/words.txt") == "n1\tfür\n"
    with pytest.raises(ImageError, match="no-such"):
        files.text("no-such")


def test_what_is_no_text_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"x.zip: words is no text"):
        ZipFiles(write_zip(tmp_path / "x.zip", {"words": b"\xff\xfe"})).text("words")


def test_a_folder_may_stand_under_another_name(tmp_path):
    files = FolderFiles(write_folder(tmp_path, FILES), ("a/*",), "box/")
    assert files.names() == ["box/a/one.JPEG", "box/a/two.JPEG"]
    assert [load() for _, load in files.loads(["box/a/two.JPEG"])] == [b"22"]


BAD_NAMES = ["/etc/passwd", "../outside", "a/../../outside", "..\\outside", "C:\\outside", "\\\\host\\share"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_lead_elsewhere_are_refused(name, tmp_path):
    for files in (
        ZipFiles(write_zip(tmp_path / "x.zip", {**FILES, name: b"bad"})),
        TarFiles(write_tar(tmp_path / "x.tgz", {**FILES, name: b"bad"})),
    ):
        with pytest.raises(ImageError, match="leads out of its folder, and the archive is refused"):
            files.names()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["x.tgz", "x.zip"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_archive_are_refused(kind, tmp_path):
    member = tarfile.TarInfo("a/three.JPEG")
    member.type, member.linkname = kind, "/etc/passwd"
    with pytest.raises(ImageError, match=r"x.tgz: a/three.JPEG is a link or a device, and the archive is refused"):
        TarFiles(write_tar(tmp_path / "x.tgz", FILES, more=[member])).names()


def test_links_in_a_zip_archive_are_refused(tmp_path):
    path = write_zip(tmp_path / "x.zip", FILES)
    link = zipfile.ZipInfo("a/three.JPEG")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ImageError, match=r"x.zip: a/three.JPEG is a link"):
        ZipFiles(path).names()


def test_a_name_stands_there_once(tmp_path):
    path = write_zip(tmp_path / "x.zip", FILES)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a/one.JPEG", b"another")
    with pytest.raises(ImageError, match=r"two files a/one.JPEG"):
        ZipFiles(path).names()


def test_what_is_too_large_for_an_image_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "LARGEST", 40)
    for files in (
        ZipFiles(write_zip(tmp_path / "x.zip", FILES)),
        TarFiles(write_tar(tmp_path / "x.tgz", FILES)),
    ):
        with pytest.raises(ImageError, match=r"a/one.JPEG has 50 bytes, more than any image"):
            files.names()
    folder = FolderFiles(write_folder(tmp_path, FILES), ("a/*",))
    (load,) = [load for _, load in folder.loads(["a/one.JPEG"])]
    with pytest.raises(ImageError, match="has 41 bytes, more than any image"):
        load()


def test_what_is_no_archive_is_named(tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(b"<html>sorry</html>")
    with pytest.raises(ImageError, match=r"x.zip is no readable zip archive"):
        ZipFiles(path)
    with pytest.raises(ImageError, match=r"x.zip is no readable tar archive"):
        TarFiles(path).names()


def test_damaged_members_are_named(tmp_path):
    path = write_zip(tmp_path / "x.zip", FILES)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"1" * 50, b"1" * 49 + b"0"))
    with pytest.raises(ImageError, match=r"a/one.JPEG cannot be read: Bad CRC-32"):
        [load() for _, load in ZipFiles(path).loads(["a/one.JPEG"])]
    tar = write_tar(tmp_path / "x.tgz", {"big": bytes(range(256)) * 4000})
    tar.write_bytes(tar.read_bytes()[:-2000])
    with pytest.raises(ImageError, match=r"x.tgz is no readable tar archive"):
        list(TarFiles(tar).loads(["big"]))


def test_a_file_that_vanished_is_named(tmp_path):
    files = FolderFiles(write_folder(tmp_path, FILES), ("a/*",))
    loads = dict(files.loads(files.names()))
    (tmp_path / "a" / "two.JPEG").unlink()
    with pytest.raises(ImageError, match=r"a/two.JPEG cannot be read: No such file"):
        loads["a/two.JPEG"]()


def test_archives_are_never_unpacked(tmp_path, monkeypatch):
    for kind in (zipfile.ZipFile, tarfile.TarFile):
        for method in ("extract", "extractall"):
            monkeypatch.setattr(kind, method, None)
    for files in (
        ZipFiles(write_zip(tmp_path / "x.zip", FILES)),
        TarFiles(write_tar(tmp_path / "x.tgz", FILES)),
    ):
        assert {name: load() for name, load in files.loads(files.names())} == FILES
