import ast
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DEVELOPMENT = PROJECT["optional-dependencies"]["dev"]
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))
FRAMEWORKS = {"torch", "transformers", "trl", "accelerate", "peft", "sentence-transformers"}


def normal(name: str) -> str:
    """A distribution's name as package indices compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def named(requirement: str) -> str:
    return normal(re.split(r"[^A-Za-z0-9._-]", requirement)[0])


def locked() -> dict[str, str]:
    lines = (ROOT / "envs/lock.txt").read_text().splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {normal(name): version for name, version in pins}


def pinned(environment: Path) -> dict[str, str]:
    dependencies = yaml.safe_load(environment.read_text())["dependencies"]
    (pip,) = [entry["pip"] for entry in dependencies if isinstance(entry, dict)]
    return {normal(name): version for name, version in (requirement.split("==") for requirement in pip)}


def imported(*folders: str) -> set[str]:
    """Top-level modules that Python files below `folders` import, the standard library and our own left out."""
    found: set[str] = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"modecollapse"}


def undeclared(modules: set[str], requirements: list[str]) -> set[str]:
    declared = {named(requirement) for requirement in requirements}
    distributions = packages_distributions()
    return {
        module for module in modules if not {normal(name) for name in distributions.get(module, [module])} & declared
    }


def test_the_lock_pins_every_package_to_one_exact_public_version() -> None:
    for line in (ROOT / "envs/lock.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line), line
    assert not locked().keys() & {"pip", "setuptools", "modecollapse"}


def test_the_lock_is_complete() -> None:
    problems = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert problems.returncode == 0, problems.stdout
    command = [sys.executable, "-m", "pip", "freeze", "--exclude-editable"]
    frozen = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    pins = [line.partition("+")[0].split("==") for line in frozen if re.match("[A-Za-z0-9._-]+==", line)]
    ours = {"pip", "setuptools", "wheel", "modecollapse"}
    installed = {normal(name): version for name, version in pins if normal(name) not in ours}
    assert {name: locked().get(name) for name in installed} == installed


def test_every_package_that_the_project_names_is_in_the_lock() -> None:
    names = {named(requirement) for requirement in PROJECT["dependencies"] + DEVELOPMENT}
    assert names - locked().keys() == set()


def test_torch_is_required_exactly_as_it_is_locked() -> None:
    assert f"torch=={locked()['torch']}" in PROJECT["dependencies"]


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda path: path.stem)
def test_a_conda_environment_agrees_with_the_lock(environment: Path) -> None:
    pins = pinned(environment)
    assert pins == {name: locked().get(name) for name in pins}
    assert pins.keys() <= {named(requirement) for requirement in PROJECT["dependencies"]}


def test_the_analysis_environment_has_no_deep_learning_framework() -> None:
    assert not pinned(ROOT / "envs/analysis.yaml").keys() & FRAMEWORKS
    assert pinned(ROOT / "envs/models.yaml").keys() >= FRAMEWORKS


RUN_WITHOUT = """
import importlib.abc, json, runpy, sys
absent, scripts = json.loads(sys.argv[1])

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
for script in scripts:
    runpy.run_path(script, run_name="imported")
"""


def with_dependencies(names: set[str]) -> set[str]:
    """These distributions and everything that they require, extras left out."""
    found: set[str] = set()
    while names:
        name = names.pop()
        found.add(name)
        try:
            required = requires(name) or []
        except PackageNotFoundError:  # for another platform
            continue
        names |= {normal(named(entry)) for entry in required if "extra ==" not in entry} - found
    return found


def test_the_analysis_environment_has_everything_that_its_scripts_import() -> None:
    rules = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    found = re.findall(r'envs/(\w+)\.yaml"(?:(?!envs/).)*?scripts/(\w+)\.py', rules, re.DOTALL)
    scripts = [str(ROOT / f"scripts/{script}.py") for environment, script in found if environment == "analysis"]
    assert len(scripts) > 10
    there = with_dependencies(set(pinned(ROOT / "envs/analysis.yaml"))) | {"modecollapse"}
    absent = [
        module
        for module, distributions in packages_distributions().items()
        if not {normal(name) for name in distributions} & there
    ]
    command = [sys.executable, "-c", RUN_WITHOUT, json.dumps([absent, scripts])]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_every_environment_that_a_rule_names_exists_and_none_is_left_over() -> None:
    rules = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    assert set(re.findall(r"envs/([a-z-]+)\.yaml", rules)) == {path.stem for path in ENVIRONMENTS}


def test_everything_that_the_code_imports_is_declared() -> None:
    assert undeclared(imported("workflow/modecollapse", "scripts"), PROJECT["dependencies"]) == set()


def test_everything_that_the_tests_import_is_declared() -> None:
    assert undeclared(imported("tests") - {"conftest", "tests"}, PROJECT["dependencies"] + DEVELOPMENT) == set()


def test_the_licence_is_the_one_that_the_metadata_names() -> None:
    licence = (ROOT / "LICENSE").read_text()
    assert "Apache License" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["license"] == PROJECT["license"] == "Apache-2.0"


def test_the_citation_states_the_version_of_the_package() -> None:
    text = (ROOT / "workflow/modecollapse/__init__.py").read_text()
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert f'__version__ = "{citation["version"]}"' in text


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True)


def test_a_python_that_is_missing_or_too_old_is_named_with_what_to_do(tmp_path: Path) -> None:
    missing = make("lint", f"VENV={tmp_path}/new", "PYTHON=no-such-python")
    assert missing.returncode != 0
    assert "'no-such-python' is not found. Install Python 3.11" in missing.stderr
    # A Python of another version: the real one, told to say that it is 3.9.
    old = tmp_path / "python3.9"
    say = "import collections, sys; V = collections.namedtuple('V', 'major minor'); sys.version_info = V(3, 9)"
    old.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{say}; exec(sys.stdin.read())"\n')
    old.chmod(0o755)
    refused = make("lint", f"VENV={tmp_path}/new", f"PYTHON={old}")
    assert refused.returncode != 0
    assert "3.11, 3.12 or 3.13 is needed. Name another: make PYTHON=python3.11" in refused.stderr
    assert not (tmp_path / "new").exists()


def test_make_help_lists_every_target_with_a_word_on_it() -> None:
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets is not None
    shown = make("help").stdout
    for target in targets[1].split():
        assert re.search(rf"^  {target} +\S", shown, re.MULTILINE), target


def test_continuous_integration_is_executable_and_runs_tests_then_the_study() -> None:
    script = ROOT / ".ci/run"
    assert script.stat().st_mode & 0o111
    assert script.read_text().rstrip().endswith("make test\nmake study")
