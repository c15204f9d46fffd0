import gzip
import hashlib
import logging

import numpy as np
import pytest

from sgdphases.datasets.download import LONGEST_TEXT, DownloadError, Patience, fetch, fetch_from, fetch_text
from sgdphases.datasets.remote import RemoteFile

BODY = np.random.default_rng(1).bytes(200_000)
PATH = "/box/file.bin"
QUICK = Patience(attempts=3, pause=0.01, timeout=(2.0, 2.0))
PAGE = b"<!DOCTYPE html><html>sorry</html>"


def md5(body):
    return hashlib.md5(body).hexdigest()


def remote(*official, body=BODY):
    return RemoteFile("file.bin", "box", md5(body), official)


@pytest.fixture
def box(server, tmp_path):
    """Fetches the file from the server and gives the folder's content back."""
    server.files[PATH] = BODY

    def get(*mirrors, file=None, wanted=()):
        path = tmp_path / "file.bin"
        return fetch(file or remote(), path, mirrors=mirrors or (server.address,), wanted=wanted, patience=QUICK)

    get.folder = tmp_path
    get.names = lambda: sorted(path.name for path in tmp_path.iterdir())
    get.body = lambda: (tmp_path / "file.bin").read_bytes()
    return get


def test_plain_download(box, server):
    assert box() == f"{server.address}{PATH}"
    assert box.body() == BODY
    assert box.names() == ["file.bin"]
    assert server.requests == [[PATH, None, len(BODY)]]


def test_cut_body_is_continued_where_it_ended(box, server):
    server.answers[PATH] = [{"cut": 150_000}]
    box()
    assert box.body() == BODY
    assert server.requests == [[PATH, None, 150_000], [PATH, "bytes=150000-", 50_000]]


def test_progress_is_never_given_up(box, server):
    server.answers[PATH] = [{"cut": 20_000}] * 8  # more cuts than attempts
    box()
    assert box.body() == BODY
    assert sum(server.sent(PATH)) == len(BODY)


def test_part_survives_failure_and_next_call_resumes(box, server):
    server.answers[PATH] = [{"cut": 150_000}, *[{"status": 503}] * 3]
    with pytest.raises(DownloadError, match="503"):
        box()
    assert box.names() == ["file.bin.part"]
    box()
    assert box.body() == BODY
    assert server.requests[-1] == [PATH, "bytes=150000-", 50_000]
    assert box.names() == ["file.bin"]


def test_server_without_ranges_starts_over(box, server):
    server.ranges = False
    server.answers[PATH] = [{"cut": 150_000}]
    box()
    assert box.body() == BODY
    assert server.sent(PATH) == [150_000, len(BODY)]


def test_server_without_ranges_that_always_cuts_is_given_up(box, server):
    server.ranges = False
    server.answers[PATH] = [{"cut": 1000}] * 100
    with pytest.raises(DownloadError, match=r"1000 .*199000|1000 of 200000"):
        box()
    assert len(server.requests) == 1 + QUICK.attempts  # the first brought something new, the others did not


def test_cut_body_of_unknown_length_is_not_taken_for_whole(box, server):
    server.answers[PATH] = [{"cut": 1000, "length": False}]
    with pytest.raises(DownloadError, match="wrong checksum"):
        box()
    assert box.names() == [f"file.bin.bad-{md5(BODY[:1000])[:8]}"]


def test_complete_part_needs_no_byte_more(box, server):
    (box.folder / "file.bin.part").write_bytes(BODY)
    box()
    assert box.body() == BODY
    assert [status for _, status, _ in server.requests] == [f"bytes={len(BODY)}-"]


@pytest.mark.parametrize("damage", [b"x" * 1000, b"x" * 300_000], ids=["short", "too long"])
def test_wrong_part_is_kept_aside_and_the_download_begins_again(box, damage):
    (box.folder / "file.bin.part").write_bytes(damage)
    box()
    assert box.body() == BODY
    bad = damage + BODY[len(damage) :]
    assert box.names() == ["file.bin", f"file.bin.bad-{md5(bad)[:8]}"]


def test_other_range_than_asked_for(box, server):
    (box.folder / "file.bin.part").write_bytes(BODY[:1000])
    server.answers[PATH] = [{"range": "bytes 0-199999/200000"}]
    box()
    assert box.body() == BODY
    assert box.names() == ["file.bin"]


def test_servers_compression_is_not_undone(box, server):
    packed = gzip.compress(BODY)
    server.answers[PATH] = [{"body": packed, "encoding": "gzip"}]
    box(file=remote(body=packed))
    assert box.body() == packed


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_server_is_asked_again(box, server, status):
    server.answers[PATH] = [{"status": status}] * 2
    box()
    assert box.body() == BODY


@pytest.mark.parametrize("status", [403, 404, 410])
def test_refusal_is_not_repeated(box, server, status):
    server.answers[PATH] = [{"status": status}] * 5
    with pytest.raises(DownloadError, match=rf"{server.address}{PATH}: the server answered {status}"):
        box()
    assert len(server.requests) == 1
    assert box.names() == []


@pytest.mark.parametrize(
    ("kind", "words", "kept"),
    [("text/html; charset=utf-8", "HTML page instead", False), ("application/octet-stream", "an HTML page", True)],
)
def test_html_instead_of_data(box, server, kind, words, kept):
    server.answers[PATH] = [{"body": PAGE, "type": kind}]
    with pytest.raises(DownloadError, match=words):
        box()
    assert box.names() == ([f"file.bin.bad-{md5(PAGE)[:8]}"] if kept else [])


def test_html_does_not_destroy_a_part(box, server):
    (box.folder / "file.bin.part").write_bytes(BODY[:1000])
    server.answers[PATH] = [{"body": PAGE, "type": "text/html"}]
    with pytest.raises(DownloadError, match="HTML"):
        box()
    assert (box.folder / "file.bin.part").read_bytes() == BODY[:1000]


def test_wrong_checksum_names_all_and_next_mirror_is_tried(box, server, caplog):
    wrong = b"y" + BODY[1:]
    server.files["/bad" + PATH] = wrong
    assert box(f"{server.address}/bad", server.address) == f"{server.address}{PATH}"
    bad = f"file.bin.bad-{md5(wrong)[:8]}"
    assert box.names() == ["file.bin", bad]
    assert (box.folder / bad).read_bytes() == wrong
    for word in (f"{server.address}/bad{PATH}", f"expected md5 {md5(BODY)}", f"found {md5(wrong)}", bad):
        assert word in caplog.text


def test_wrong_checksum_everywhere_fails_and_leaves_nothing_in_place(box, server):
    wrong = b"y" + BODY[1:]
    server.files[PATH] = wrong
    with pytest.raises(DownloadError) as error:
        box()
    for word in (f"{server.address}{PATH}", md5(BODY), md5(wrong)):
        assert word in str(error.value)
    assert "file.bin" not in box.names()


def test_bad_file_in_place_is_kept_aside(box):
    (box.folder / "file.bin").write_bytes(b"old")
    box()
    assert box.body() == BODY
    assert (box.folder / f"file.bin.bad-{md5(b'old')[:8]}").read_bytes() == b"old"


def test_dead_mirror_then_official_address(box, server, dead):
    assert box(dead, file=remote(f"{server.address}{PATH}")) == f"{server.address}{PATH}"
    assert box.body() == BODY


def test_silent_server_times_out(box, server):
    server.delay = 0.5
    short = Patience(attempts=1, pause=0.01, timeout=(1.0, 0.1))
    with pytest.raises(DownloadError, match="(?i)timed out"):
        fetch(remote(), box.folder / "file.bin", mirrors=[server.address], patience=short)


def test_no_network_and_no_mirror_says_what_to_set(box, dead):
    wanted = [remote(), RemoteFile("other.bin", "box", "0", ())]
    with pytest.raises(DownloadError) as error:
        fetch(remote(f"{dead}{PATH}"), box.folder / "file.bin", mirrors=[], wanted=wanted, patience=QUICK)
    message = str(error.value)
    for word in ("SGDPHASES_MIRROR", "data.mirrors in config.yaml", "box/file.bin, box/other.bin", "refused", dead):
        assert word in message


@pytest.mark.parametrize("form", ["uri", "file, wrong first"])
def test_file_address(box, tmp_path_factory, form):
    good, wrong = tmp_path_factory.mktemp("good mirror"), tmp_path_factory.mktemp("wrong")
    for folder, body in ((good, BODY), (wrong, b"z")):
        (folder / "box").mkdir()
        (folder / "box" / "file.bin").write_bytes(body)
    mirrors = [good.as_uri()] if form == "uri" else [wrong.as_uri(), good.as_uri()]
    assert box(*mirrors) == f"{good.as_uri()}/box/file.bin"
    assert box.body() == BODY
    assert (good / "box" / "file.bin").read_bytes() == BODY


def test_missing_folder_is_named(box):
    with pytest.raises(DownloadError, match="file:///no/such/box/file.bin: No such file"):
        box("file:///no/such")


def test_credentials_are_nowhere(box, server, dead, caplog, capfd):
    caplog.set_level(logging.DEBUG, logger="sgdphases")
    host = server.address.removeprefix("http://")
    source = box(f"http://user:secret@{dead.removeprefix('http://')}", f"http://user:secret@{host}")
    server.files.clear()
    with pytest.raises(DownloadError) as error:
        box(f"http://user:secret@{host}", "http://user:secret@host:99999")
    seen = source + caplog.text + str(error.value) + "".join(capfd.readouterr())
    assert host in source
    assert "secret" not in seen
    assert "user" not in seen


def test_sha256_where_no_md5_is_known(box, server, tmp_path):
    wanted = RemoteFile("file.bin", "box", "", sha256=hashlib.sha256(BODY).hexdigest())
    assert fetch_from(f"{server.address}{PATH}", wanted, tmp_path / "file.bin") == f"{server.address}{PATH}"
    assert box.body() == BODY
    server.files[PATH] = b"x" + BODY[1:]
    with pytest.raises(DownloadError, match=f"wrong checksum: expected sha256 {wanted.sha256}, found"):
        fetch_from(f"{server.address}{PATH}", wanted, tmp_path / "file.bin")


def test_text_from_a_server_and_a_folder(server, tmp_path):
    server.files["/list"] = "für".encode()
    (tmp_path / "list").write_text("für")
    assert fetch_text(f"{server.address}/list") == fetch_text((tmp_path / "list").as_uri()) == "für"


@pytest.mark.parametrize("body", [None, b"\xff", b"x" * (LONGEST_TEXT + 1)], ids=["none", "no text", "too long"])
def test_text_that_cannot_be_had(server, tmp_path, body):
    if body is not None:
        server.files["/list"] = body
        (tmp_path / "list").write_bytes(body)
    host = server.address.removeprefix("http://")
    for address in (f"http://user:secret@{host}/list", (tmp_path / "list").as_uri(), "http://user:secret@127.0.0.1:1/"):
        with pytest.raises(DownloadError) as error:
            fetch_text(address, patience=QUICK)
        assert "secret" not in str(error.value)
        assert str(error.value).startswith((f"{server.address}/list: ", (tmp_path / "list").as_uri(), "http://127"))
