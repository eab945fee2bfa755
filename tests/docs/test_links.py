"""Every link of the documents leads somewhere, and their site can be built."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docs.blocks import DOCUMENTS, TESTED, anchors, blocks, links

each_document = pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "README.md"], ids=lambda path: path.name)


def broken(document: Path) -> list[str]:
    """Links inside of the repository that lead to no file, or to no title."""
    found = []
    for link in links(document):
        path, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


@each_document
def test_every_link_leads_somewhere(document: Path) -> None:
    assert broken(document) == []


def test_a_link_that_leads_nowhere_is_noticed(tmp_path: Path) -> None:
    document = tmp_path / "a.md"
    document.write_text("# A title\n[1](#a-title) [2](#another) [3](b.md) `[4](c.md)` [5](https://example.org/x)\n")
    assert broken(document) == ["#another", "b.md"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_of_the_site_links_to_nothing_outside_of_it(document: Path) -> None:
    assert [link for link in links(document) if link.startswith("../")] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_says_how_it_is_tested(document: Path) -> None:
    told = [(str(block), block.how) for block in blocks(document) if block.language in TESTED]
    assert [name for name, how in told if how not in ("run", "check")] == []


def test_every_document_is_in_the_sites_contents() -> None:
    contents = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    assert {path for each in contents for path in each.values()} == {document.name for document in DOCUMENTS}


def test_the_site_can_be_built(tmp_path: Path) -> None:
    told = (ROOT / "zensical.toml").read_text().replace('".local/site"', f'"{tmp_path / "site"}"')
    shutil.copytree(ROOT / "docs", tmp_path / "docs")  # it wants them beside its own file
    (tmp_path / "zensical.toml").write_text(told)
    zensical = Path(sys.executable).with_name("zensical")
    done = subprocess.run([zensical, "build", "--strict"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for document in DOCUMENTS:
        page = (tmp_path / "site" / document.with_suffix(".html").name).read_text()
        assert "<h1" in page
        assert "//fonts." not in page  # whoever reads them is nobody's business
