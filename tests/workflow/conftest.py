"""Fixtures of the workflow's tests."""

import pytest

from copied_project import copy_project


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A copy of the project in which the toy experiment has run to its end."""
    copy = copy_project(tmp_path_factory.mktemp("finished"))
    copy.snakemake()
    return copy
