"""The images, built by `scripts/images` on the base that HATCHWAY_TEST_BASE names, and run as pods run them.

HATCHWAY_TEST_BASE=localhost/base pytest tests/deploy/test_images.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import hatchway
from hatchway.backends.kubernetes.manifests import ReplicaPods
from hatchway.kubernetes.pieces import USER_ID

REPOSITORY = Path(__file__).resolve().parents[2]
DOCKERFILES = sorted((REPOSITORY / "deploy" / "images").glob("*/Dockerfile"))
BASE = os.environ.get("HATCHWAY_TEST_BASE", "")
PREFIX = "localhost/hatchway-test-"
PODS = ReplicaPods(image="")

needs_buildah = pytest.mark.skipif(
    not BASE or shutil.which("buildah") is None,
    reason="takes minutes: needs buildah, and HATCHWAY_TEST_BASE, an image with Python 3.11 at /usr/local/bin/python3",
)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_every_image_stands_on_a_base_of_choice_and_runs_as_nobody(dockerfile: Path) -> None:
    lines = dockerfile.read_text().splitlines()
    assert [line.split("=")[0] for line in lines if line.startswith("ARG")] == ["ARG BASE", "ARG PACKAGES"]
    assert "FROM ${BASE}" in lines
    assert f"USER {USER_ID}:{USER_ID}" in lines
    assert f"ARG PACKAGES={PODS.package_dir}" in lines
    assert (dockerfile.parent / "without.txt").exists()


@pytest.fixture(scope="module")
def images() -> Iterator[None]:
    subprocess.run(
        [REPOSITORY / "scripts" / "images", "--base", BASE, "--prefix", PREFIX], check=True, capture_output=True
    )
    yield
    found = subprocess.run(["buildah", "images", "--quiet", "--filter", f"reference={PREFIX}*"],
                           check=True, capture_output=True, text=True)  # fmt: skip
    subprocess.run(["buildah", "rmi", "--force", *found.stdout.split()], check=True, capture_output=True)


def run(image: str, *command: str) -> str:
    """All that it prints, in a container of the image."""
    tag = f"{PREFIX}{image}:{hatchway.__version__}"
    name = subprocess.run(["buildah", "from", "--pull-never", tag], check=True, capture_output=True, text=True)
    container = name.stdout.strip()
    try:
        done = subprocess.run(["buildah", "run", "--isolation", "chroot", container, "--", *command],
                              check=False, capture_output=True, text=True, timeout=60)  # fmt: skip
        return done.stdout + done.stderr
    finally:
        subprocess.run(["buildah", "rm", container], check=True, capture_output=True)


@needs_buildah
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("image", "command", "says"),
    [
        ("operator", [PODS.python, "-c", "import os; print(os.getuid())"], str(USER_ID)),
        ("operator", [PODS.python, "-m", "hatchway.operator"], "HATCHWAY_PODS is not set"),
        ("gateway", [PODS.python, "-c", "import hatchway.gateway_pod.agent; print('imported')"], "imported"),
        ("gateway", [f"{PODS.package_dir}/envoy/_bin/envoy", "--version"], "/RELEASE/"),
        ("gateway", [PODS.python, "-P", "-m", "hatchway.gateway.activator"], "to unpack (expected"),  # it is told paths
        ("replica", [PODS.python, "-c", "import hatchway.pod.prepare; print('imported')"], "imported"),
        ("replica", [f"{PODS.package_dir}/bin/uv", "--version"], "uv "),
        ("replica", [PODS.python, f"{PODS.package_dir}/hatchway/replica/__main__.py", "/none"], "/none"),
    ],
)
def test_it_runs_with_all_that_it_needs(images: None, image: str, command: list[str], says: str) -> None:
    assert says in run(image, *command)
