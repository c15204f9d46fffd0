"""Addresses do not depend on the working directory; locks are exclusive."""

import pytest
from filelock import Timeout

from sgdphases.tracking import address


def test_addresses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    there = f"sqlite:///{tmp_path}/results/mlflow.db"
    assert address.absolute("results/mlflow.db") == there
    assert address.absolute("sqlite:///results/mlflow.db") == there
    assert address.absolute(there) == there
    assert address.absolute("https://host:1/x") == "https://host:1/x"
    assert address.absolute("postgresql://u@h/d") == "postgresql://u@h/d"
    assert address.artifacts(there) == f"file://{tmp_path}/results/artifacts"
    assert address.artifacts("postgresql://u@h/d") == f"file://{tmp_path}/results/tracking/artifacts"
    assert address.artifacts("http://host") is None
    assert address.as_uri("a b") == f"file://{tmp_path}/a%20b"
    assert address.as_uri("s3://bucket/x") == "s3://bucket/x"


def test_no_password_is_shown():
    assert address.shown("postgresql://me:secret@host/db") == "postgresql://***@host/db"
    assert address.shown("sqlite:////a/b@c.db") == "sqlite:////a/b@c.db"
    assert (
        address.shown("http://me:s@e/cret@host:1/x is down, as is h://u@i")
        == "http://***@host:1/x is down, as is h://***@i"
    )
    assert address.shown(ValueError("no h://me:secret@host")) == "no h://***@host"


@pytest.mark.parametrize("name", ["password", "sslpassword", "ssl_key_password", "PASSWORD", "passwd", "token"])
def test_no_password_in_a_query_is_shown(name):
    assert address.shown(f"postgresql://h/db?user=a&{name}=s") == f"postgresql://h/db?user=a&{name}=***"
    assert address.shown(f"postgresql://h/db?{name}=s3c@ret&user=a") == f"postgresql://h/db?{name}=***&user=a"
    assert address.shown(f"postgresql://u:p@h/db?{name}=s is down") == f"postgresql://***@h/db?{name}=*** is down"
    assert address.shown(f"--uri 'postgresql://h/db?{name}=s' x") == f"--uri 'postgresql://h/db?{name}=***' x"
    assert address.shown(f"train --{name}=s") == f"train --{name}=s"  # no address


@pytest.mark.parametrize("uri", ["sqlite", "http://127.0.0.1:9/none"])
def test_one_writer_at_a_time(tmp_path, monkeypatch, uri):
    monkeypatch.setattr(address, "LOCK_SECONDS", 0.05)
    monkeypatch.setattr(address.tempfile, "gettempdir", lambda: str(tmp_path))
    uri = f"sqlite:///{tmp_path}/new/mlflow.db" if uri == "sqlite" else uri
    with address.one_writer(uri), pytest.raises(Timeout), address.one_writer(uri):
        pass
    with address.one_writer(uri):
        pass
