import hashlib
from pathlib import Path

import pytest
from torchvision.datasets import Imagenette

from made_images import (
    CLASSES,
    TINY,
    class_files,
    imagenette_mirror,
    jpeg,
    offline,
    publish,
    tiny_files,
    tiny_mirror,
    write_folder,
    write_zip,
)
from sgdphases.datasets.download import DownloadError
from sgdphases.datasets.image_files import ImageError
from sgdphases.datasets.image_sources import find_source
from sgdphases.datasets.registry import DATASETS, stored
from sgdphases.datasets.remote import imagenet_folder
from sgdphases.datasets.wordnet import IMAGENETTE, TINY_IMAGENET


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    offline(monkeypatch)


@pytest.fixture
def find(tmp_path):
    """The source of a data set, with archives kept in a folder of this test."""

    def found(name, mirrors=(), **parameters):
        raw = tmp_path / "raw"
        raw.mkdir(exist_ok=True)
        imagenet = parameters.pop("imagenet", "")
        return find_source(DATASETS[name], stored({"name": name, **parameters}), raw, list(mirrors), imagenet)

    return found


def counts(source):
    return {part: {name: len(files) for name, files in images.items()} for part, images in source.images.items()}


def test_published_archive(find, tmp_path, monkeypatch):
    archive = write_zip(tmp_path / "mirror" / "tiny-imagenet" / f"{TINY}.zip", tiny_files())
    publish(monkeypatch, archive)
    source = find("tiny_imagenet", [str(tmp_path / "mirror")], classes=2)
    assert counts(source) == {"train": dict.fromkeys(CLASSES[:2], 6), "test": dict.fromkeys(CLASSES[:2], 2)}
    assert source.titles[CLASSES[0]] == f"called {CLASSES[0]}"
    assert source.archive["md5"] == hashlib.md5(archive.read_bytes()).hexdigest()
    assert source.archive["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert source.archive["source"] == source.address == archive.as_uri()


def test_a_part_with_checksum_is_taken_where_the_whole_is_not(find, tmp_path):
    mirror = tiny_mirror(tmp_path / "mirror", tiny_files())
    source = find("tiny_imagenet", [str(mirror)], classes=list(CLASSES))
    assert source.archive["name"] == "tiny-imagenet-20.zip"
    assert source.archive["md5"] is None
    (mirror / "tiny-imagenet" / "tiny-imagenet-20.zip").unlink()
    again = find("tiny_imagenet", classes=1)  # kept here, so that no mirror is needed
    assert again.address == source.address
    assert list(again.images["train"]) == [CLASSES[0]]


def test_an_archive_that_is_here_is_used_where_the_data_directory_is_a_relative_path(find, tmp_path, monkeypatch):
    archive = write_zip(tmp_path / "mirror" / "tiny-imagenet" / f"{TINY}.zip", tiny_files())
    publish(monkeypatch, archive)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()
    known = DATASETS["tiny_imagenet"], stored({"name": "tiny_imagenet", "classes": 2}), Path("raw")
    first = find_source(*known, [str(tmp_path / "mirror")])
    archive.unlink()
    assert find_source(*known).address == first.address == archive.as_uri()
    (tmp_path / "raw/sources.json").unlink()
    assert find_source(*known).address == (tmp_path / "raw" / archive.name).as_uri()


def test_a_part_from_a_server(find, server, tmp_path):
    mirror = tiny_mirror(tmp_path / "mirror", tiny_files())
    for path in (mirror / "tiny-imagenet").iterdir():
        server.files[f"/tiny-imagenet/{path.name}"] = path.read_bytes()
    source = find("tiny_imagenet", [server.address], classes=3)
    assert source.address == f"{server.address}/tiny-imagenet/tiny-imagenet-20.zip"


def test_an_unpacked_folder(find, tmp_path):
    folder = write_folder(tmp_path / "my mirror" / "tiny-imagenet", tiny_files())
    source = find("tiny_imagenet", [str(tmp_path / "my mirror")], classes=3)
    assert source.archive is None
    assert source.address == str(folder / TINY)
    assert counts(source)["test"] == dict.fromkeys(CLASSES, 2)
    assert all(name.startswith(f"{TINY}/train/") for name in source.images["train"][CLASSES[0]])


def test_mirrors_of_the_configuration_come_first_then_those_of_the_environment(find, tmp_path, monkeypatch):
    first, second = (tiny_mirror(tmp_path / name, tiny_files()) for name in ("first", "second"))
    monkeypatch.setenv("SGDPHASES_MIRROR", str(second))
    assert find("tiny_imagenet", [str(first)], classes=3).address.startswith(first.as_uri())


def test_mirror_of_the_environment(find, tmp_path, monkeypatch):
    monkeypatch.setenv("SGDPHASES_MIRROR", str(tiny_mirror(tmp_path / "second", tiny_files())))
    assert find("tiny_imagenet", classes=3).address.startswith((tmp_path / "second").as_uri())


def test_next_place_where_classes_are_missing(find, tmp_path):
    few = tiny_mirror(tmp_path / "few", tiny_files(CLASSES[:1]), name="tiny-imagenet-1.zip")
    more = tiny_mirror(tmp_path / "more", tiny_files())
    source = find("tiny_imagenet", [str(few), str(more)], classes=3)
    assert source.archive["name"] == "tiny-imagenet-20.zip"


def test_nowhere_tells_each_place_and_what_to_set(find, tmp_path):
    mirror = tiny_mirror(tmp_path / "mirror", tiny_files())
    with pytest.raises(DownloadError) as error:
        find("tiny_imagenet", [str(mirror)], classes=5)
    message = str(error.value)
    for words in (
        "tiny_imagenet with the wanted classes (5 of 200) could not be had",
        f"{mirror.as_uri()}/tiny-imagenet/{TINY}.zip: No such file",
        f"tiny-imagenet-20.zip has no train images of {TINY_IMAGENET[3]}, {TINY_IMAGENET[4]}; it has classes: "
        + ", ".join(CLASSES),
        "http://127.0.0.1:1/x.zip: ",
        "SGDPHASES_MIRROR",
        "data.mirrors in config.yaml",
        f"tiny-imagenet/{TINY}.zip",
    ):
        assert words in message


def test_wrong_md5_is_no_published_archive(find, tmp_path):
    archive = write_zip(tmp_path / "mirror" / "tiny-imagenet" / f"{TINY}.zip", tiny_files())
    with pytest.raises(DownloadError, match="wrong checksum: expected md5 90528d7ca1a48142e341f4ef8d21d0de, found"):
        find("tiny_imagenet", [str(tmp_path / "mirror")], classes=3)
    assert not (tmp_path / "raw" / archive.name).exists()


def test_part_with_another_checksum_than_listed(find, tmp_path):
    mirror = tiny_mirror(tmp_path / "mirror", tiny_files())
    sums = mirror / "tiny-imagenet" / "SHA256SUMS"
    sums.write_text("0" * 64 + "  tiny-imagenet-20.zip\nno checksum at all\n")
    with pytest.raises(DownloadError, match="wrong checksum: expected sha256 0{64}, found"):
        find("tiny_imagenet", [str(mirror)], classes=3)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * ((1 << 20) + 1)], ids=["no text", "too long"])
def test_a_list_that_is_none_lists_nothing(find, tmp_path, content):
    mirror = tiny_mirror(tmp_path / "mirror", tiny_files())
    (mirror / "tiny-imagenet" / "SHA256SUMS").write_bytes(content)
    with pytest.raises(DownloadError, match="could not be had"):
        find("tiny_imagenet", [str(mirror)], classes=3)


def test_a_class_without_test_images(find, tmp_path):
    files = {name: content for name, content in tiny_files().items() if "/val/images" not in name}
    files[f"{TINY}/val/val_annotations.txt"] = b""
    with pytest.raises(DownloadError, match=rf"has no test images of {CLASSES[0]}; it has classes: none"):
        find("tiny_imagenet", [str(tiny_mirror(tmp_path / "mirror", files))], classes=1)


@pytest.mark.parametrize("line", ["", "val_99.JPEG\tn01443537", "val_5370.JPEG"])
def test_annotations_that_name_no_image(find, tmp_path, line):
    files = tiny_files()
    files[f"{TINY}/val/val_annotations.txt"] += b"\n" + line.encode() + b"\n"
    with pytest.raises(DownloadError, match="val_annotations.txt, line 7: .* names no image that is there"):
        find("tiny_imagenet", [str(tiny_mirror(tmp_path / "mirror", files))], classes=1)


def test_unsafe_part_is_refused_and_named(find, tmp_path):
    mirror = tiny_mirror(tmp_path / "mirror", {**tiny_files(), "../../evil": b"bad"})
    with pytest.raises(DownloadError, match=r"'../../evil' leads out of its folder, and the archive is refused"):
        find("tiny_imagenet", [str(mirror)], classes=1)
    assert not list(tmp_path.rglob("evil"))


@pytest.fixture
def imagenette(tmp_path, monkeypatch):
    return imagenette_mirror(tmp_path / "mirror", monkeypatch)


@pytest.mark.parametrize(("resolution", "size"), [(64, 160), (160, 160), (161, 320), (320, 320)])
def test_imagenette_from_the_archive_of_its_size(find, imagenette, resolution, size):
    source = find("imagenette", [str(imagenette)], resolution=resolution, classes=["n03028079", "n01440764"])
    assert source.archive["name"] == f"imagenette2-{size}.tgz"
    assert source.archive["md5"] == Imagenette._ARCHIVES[f"{size}px"][1]
    assert counts(source) == {part: {"n01440764": n, "n03028079": n} for part, n in (("train", 5), ("test", 2))}
    assert source.titles["n03028079"] == "church, church building"


def test_imagenette_is_found_where_it_is_kept(find, imagenette):
    first = find("imagenette", [str(imagenette)])
    assert find("imagenette").address == first.address
    assert list(first.images["train"]) == list(IMAGENETTE)


def test_imagenette_with_another_checksum(find, imagenette):
    path = imagenette / "imagenette" / "imagenette2-160.tgz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DownloadError, match=r"imagenette2-160.tgz could not be downloaded:\n.*wrong checksum"):
        find("imagenette", [str(imagenette)])


def test_known_classes_are_torchvisions():
    assert tuple(sorted(Imagenette._WNID_TO_CLASS)) == IMAGENETTE
    assert len(set(TINY_IMAGENET)) == 200


def test_imagenets_folder(find, tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "mine", class_files(["apple", "pear", "plum", "quince"], prefix=""))
    (folder / "val" / "apple" / "notes.txt").write_text("no image")
    (folder / "train" / "apple" / "more.png").write_bytes(jpeg(1, kind="PNG"))
    source = find("imagenet", imagenet=str(folder))
    assert list(source.images["train"]) == ["apple", "pear", "plum", "quince"]
    assert len(source.images["train"]["apple"]) == 6
    assert len(source.images["test"]["apple"]) == 2
    monkeypatch.setenv("SGDPHASES_IMAGENET", str(folder))
    assert list(find("imagenet", classes=2).images["train"]) == ["apple", "plum"]
    assert list(find("imagenet", classes=["quince"]).images["test"]) == ["quince"]
    with pytest.raises(ImageError, match="classes is 5, but it has only 4"):
        find("imagenet", classes=5)
    with pytest.raises(ImageError, match="no train images of cherry; it has classes: apple, pear, plum, quince"):
        find("imagenet", classes=["cherry"])


def test_the_configuration_names_imagenets_folder_before_the_environment(tmp_path, monkeypatch):
    for name in ("one", "two"):
        write_folder(tmp_path / name, class_files(["apple"]))
    monkeypatch.setenv("SGDPHASES_IMAGENET", str(tmp_path / "two"))
    assert imagenet_folder() == tmp_path / "two"
    assert imagenet_folder(str(tmp_path / "one")) == tmp_path / "one"


def test_no_folder_of_imagenet_says_what_to_set(find):
    with pytest.raises(FileNotFoundError) as error:
        find("imagenet")
    assert str(error.value) == (
        "dataset imagenet is never downloaded: set data.imagenet in config.yaml or the variable SGDPHASES_IMAGENET to "
        "your own folder with train/<class>/*.JPEG and val/<class>/*.JPEG"
    )


def test_a_folder_of_imagenet_that_is_none(find, tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(FileNotFoundError, match=rf"names {tmp_path}, but there is no folder {tmp_path}/val$"):
        find("imagenet", imagenet=str(tmp_path))
    (tmp_path / "val").mkdir()
    with pytest.raises(ImageError, match="has no images in the layout that is wanted"):
        find("imagenet", imagenet=str(tmp_path))
