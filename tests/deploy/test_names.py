"""Our packages have plain names at the root: safe only as long as no foreign distribution brings one of them."""

from __future__ import annotations

import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_no_foreign_distribution_owns_one_of_our_names() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    ours = {name.split(".")[0] for name in listed}
    owners = packages_distributions()
    foreign = {name: owners[name] for name in ours if set(owners.get(name, ())) - {"sluice"}}
    assert foreign == {}


def test_every_package_of_the_root_is_listed_as_ours() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    found = {folder.parent.name for folder in ROOT.glob("*/__init__.py")} - {"tests"}
    assert found == {name for name in listed if "." not in name}
