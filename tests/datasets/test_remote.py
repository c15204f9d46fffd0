import pytest

from sgdphases.datasets.registry import DATASETS
from sgdphases.datasets.remote import RemoteFile, addresses, mirror_list, public, remote_files


def test_given_mirrors_come_first_then_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("SGDPHASES_MIRROR", f"http://b/x/, file:///c\n{tmp_path}")
    assert mirror_list(["https://a", "file:///c"]) == ["https://a", "file:///c", "http://b/x", tmp_path.as_uri()]


@pytest.mark.parametrize("empty", ["", "  ", " , "])
def test_no_mirror(monkeypatch, empty):
    monkeypatch.setenv("SGDPHASES_MIRROR", empty)
    assert mirror_list() == []


def test_relative_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("SGDPHASES_MIRROR", raising=False)
    monkeypatch.chdir(tmp_path)
    assert mirror_list(["my mirror"]) == [(tmp_path / "my mirror").as_uri()]


@pytest.mark.parametrize(
    ("mirror", "words"),
    [
        ("ftp://me:word@host/x", "mirror host/x must be"),
        ("http://me:word@[bad", "mirror .bad is no valid address"),
        ("http://me:word@host:port/", "host:port/ is no valid address"),
    ],
)
def test_bad_mirror_is_refused_without_its_password(mirror, words):
    with pytest.raises(ValueError, match=words) as error:
        mirror_list([mirror])
    assert "me:" not in str(error.value)
    assert "word" not in str(error.value)


def test_official_addresses_come_last():
    remote = RemoteFile("a b.gz", "box", "0", ("http://official/a.gz",))
    assert addresses(remote, ["http://m"]) == ["http://m/box/a%20b.gz", "http://official/a.gz"]


def test_public():
    assert public("https://user:pass@host:8080/path?token=1#x") == "https://host:8080/path"


def test_fashion_mnist_files_are_torchvisions():
    files = remote_files(DATASETS["fashion_mnist"])
    assert {file.name for file in files} == {
        f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
    }
    assert all(len(file.md5) == 32 and file.official[0].endswith(file.name) for file in files)
    assert {file.folder for file in files} == {"fashion-mnist"}


@pytest.mark.parametrize("entry", DATASETS.values(), ids=lambda entry: entry.name)
def test_every_data_set_with_a_folder_has_files(entry):
    assert bool(remote_files(entry)) == bool(entry.folder)
