"""Small JPEG files in the layouts of Tiny ImageNet, Imagenette and ImageNet, as folders and archives."""

import hashlib
import io
import tarfile
import zipfile
from functools import partial

import numpy as np
from PIL import Image
from torchvision.datasets import Imagenette

from sgdphases.datasets import download, remote
from sgdphases.datasets.remote import RemoteFile
from sgdphases.datasets.wordnet import IMAGENETTE

CLASSES = ("n01443537", "n01784675", "n02002724")
TINY = "tiny-imagenet-200"


def jpeg(number, *, width=64, height=64, mode="RGB", kind="JPEG"):
    """A file of random blocks of colour, another one for each number."""
    blocks = np.random.default_rng(number).integers(256, size=(8, 8, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(blocks).resize((width, height)).convert(mode).save(stream, kind, quality=95)
    return stream.getvalue()


def number_of(name):
    """A number for each name of a file, the same in every process."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")


def tiny_files(classes=CLASSES, train=6, test=2):
    """Names and contents of Tiny ImageNet's files."""
    files = {f"{TINY}/wnids.txt": "\n".join(classes).encode()}
    files[f"{TINY}/words.txt"] = "\n".join(f"{name}\tcalled {name}" for name in classes).encode()
    lines = []
    for name in classes:
        for number in range(train):
            files[f"{TINY}/train/{name}/images/{name}_{number}.JPEG"] = jpeg(number_of(f"{name}_{number}"))
        for number in range(test):
            image = f"val_{name[-3:]}{number}.JPEG"
            files[f"{TINY}/val/images/{image}"] = jpeg(number_of(image))
            lines.append(f"{image}\t{name}\t0\t0\t9\t9")
    files[f"{TINY}/val/val_annotations.txt"] = "\n".join(lines).encode()
    return files


def class_files(classes, *, prefix="", train=5, test=2, width=90, height=70):
    """Names and contents of files in ImageNet's own layout."""
    files = {}
    for name in classes:
        for part, count in (("train", train), ("val", test)):
            for number in range(count):
                path = f"{part}/{name}/{name}_{number}.JPEG"
                files[prefix + path] = jpeg(number_of(path), width=width, height=height)
    return files


def write_folder(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def write_zip(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return path


def write_tar(path, files, *, more=()):
    """A compressed tar archive of files, and of further members as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in more:
            archive.addfile(member)
    return path


def tiny_mirror(folder, files, *, name="tiny-imagenet-20.zip"):
    """A mirror with a part of Tiny ImageNet beside its checksum."""
    archive = write_zip(folder / "tiny-imagenet" / name, files)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    (archive.parent / "SHA256SUMS").write_text(f"{digest}  {name}\n")
    return folder


def imagenette_mirror(folder, monkeypatch, **options):
    """A mirror with small archives of Imagenette, whose checksums torchvision is made to know."""
    archives = {}
    for size in (160, 320):
        name = f"imagenette2-{size}"
        files = class_files(IMAGENETTE, prefix=f"{name}/", width=size + 20, height=size, **options)
        files[f"{name}/noisy_imagenette.csv"] = b"path,noisy"
        path = write_tar(folder / "imagenette" / f"{name}.tgz", files)
        archives[f"{size}px"] = (f"http://127.0.0.1:1/{name}.tgz", hashlib.md5(path.read_bytes()).hexdigest())
    monkeypatch.setattr(Imagenette, "_ARCHIVES", archives)
    return folder


def offline(monkeypatch):
    """Nothing is asked of the publisher, and no mirror is known but those a test names."""
    nowhere = RemoteFile(
        "tiny-imagenet-200.zip", "tiny-imagenet", remote._TINY_IMAGENET.md5, ("http://127.0.0.1:1/x.zip",)
    )
    monkeypatch.setattr(remote, "_TINY_IMAGENET", nowhere)
    for variable in ("SGDPHASES_MIRROR", "SGDPHASES_IMAGENET"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "Patience", partial(download.Patience, attempts=1))


def publish(monkeypatch, archive):
    """Let an archive be the published one, by its checksum."""
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    known = remote._TINY_IMAGENET
    monkeypatch.setattr(remote, "_TINY_IMAGENET", RemoteFile(known.name, known.folder, md5, known.official))
