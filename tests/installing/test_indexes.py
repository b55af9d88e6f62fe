from __future__ import annotations

import pytest

from hatchway.installing.indexes import elsewhere, index_variables


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({"UV_INDEX_URL": "a", "HOME": "c"}, {"UV_INDEX_URL": "a"}),
        ({"UV_INDEX_WORK_PASSWORD": "b"}, {"UV_INDEX_WORK_PASSWORD": "b"}),
        ({"PIP_INDEX_URL": "a", "PIP_EXTRA_INDEX_URL": "b c"}, {"UV_DEFAULT_INDEX": "a", "UV_INDEX": "b c"}),
        ({"PIP_INDEX_URL": "a", "UV_INDEX_URL": "b"}, {"UV_INDEX_URL": "b"}),
        ({"PIP_EXTRA_INDEX_URL": "a", "UV_EXTRA_INDEX_URL": "b"}, {"UV_EXTRA_INDEX_URL": "b"}),
        ({"UV_INDEX_URL": "", "UV_CACHE_DIR": "x"}, {}),
    ],
)  # fmt: skip
def test_what_says_where_packages_come_from(environ: dict[str, str], found: dict[str, str]) -> None:
    assert index_variables(environ) == found


def test_what_a_requirements_file_refers_to() -> None:
    text = "--extra-index-url https://${TOKEN}@example.com\nsix ; os_name == '${not_a_name}'\n"
    assert index_variables({"TOKEN": "s", "not_a_name": "x"}, text) == {"TOKEN": "s"}


def test_what_names_files_of_this_machine_does_not_leave_it() -> None:
    far = {
        "UV_DEFAULT_INDEX": "https://jo:pw@example.com/simple",
        "UV_INDEX": "acme=https://example.com/simple",
        "UV_INDEX_ACME_PASSWORD": "pw",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_NO_INDEX": "1",
        "TOKEN": "/not/an/index",
    }
    near = {"UV_FIND_LINKS": "/opt/wheels", "UV_INDEX_URL": "file:///opt/simple", "NETRC": "/home/jo/.netrc"}
    assert elsewhere({**far, **near}) == far
