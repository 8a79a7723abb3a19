"""README and docs/ say what is: studies parse, commands, options, routes and names exist, links resolve."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from searchd.cli import main
from spaces.optimizers import OPTIMIZERS
from spaces.study import Study
from workers.__main__ import parse

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
INLINE = re.compile(r"`(searchd [^`]+)`")
TOP = {"study", "space", "use", "constraints", "objectives", "search", "budget", "task", "device", "needs", "priority",
       "seed", "warm_start", "latency"}


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def fences(page: Path, *kinds: str) -> list[str]:
    return [text for kind, text in FENCE.findall(page.read_text()) if kind in kinds]


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


# ---------------------------------------------------------------- studies
STUDIES = [
    pytest.param(text, id=f"{name(page)}-{i}")
    for page in PAGES
    for i, text in enumerate(fences(page, "yaml"))
    if {"study", "objectives"} <= yaml.safe_load(text).keys()
]


@pytest.mark.parametrize("text", STUDIES)
def test_every_study_that_is_shown_is_one(text: str) -> None:
    """A fenced block that names a study and its objectives is read without a problem, and reads back the same."""
    study = Study.loads(text)
    assert Study.parse(study.dump()) == study


def test_the_optimizers_are_counted() -> None:
    """README says how many there are."""
    said = re.search(r"(\d+) are built in", (ROOT / "README.md").read_text())
    assert said is not None
    assert int(said.group(1)) == len(OPTIMIZERS)


def test_there_are_studies_to_read() -> None:
    """README and the reference show at least one whole study each."""
    shown = " ".join(str(p.id) for p in STUDIES)
    assert "README.md" in shown
    assert "docs/studies.md" in shown


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_parts_of_studies_use_keys_that_exist(page: Path) -> None:
    """Every fenced yaml block is a mapping of a study's top-level keys."""
    for text in fences(page, "yaml"):
        assert set(yaml.safe_load(text)) <= TOP, text


def test_the_reference_has_every_key() -> None:
    """docs/studies.md names every key, scheduler, searcher, option, library space, metric and function."""
    from searchd.search.algorithms import SCHEDULERS, SEARCHERS
    from spaces.builtin import BUILT_IN
    from spaces.constraints import FUNCTIONS
    from spaces.forms import KINDS, BudgetForm, SearchForm, StudyForm
    from spaces.optimizers import OPTIMIZERS

    text = (ROOT / "docs" / "studies.md").read_text()
    tasks = [word for task in BUILT_IN.values() for word in (task.name, *task.metrics, *task.reads)]
    keys = {*StudyForm.model_fields, *SearchForm.model_fields, *BudgetForm.model_fields, *tasks}
    options = {option for row in (*SCHEDULERS.values(), *SEARCHERS.values()) for option in row.options}
    for word in {*keys, *options, *SCHEDULERS, *SEARCHERS, *KINDS, *OPTIMIZERS}:
        assert re.search(rf"`{re.escape(word)}\b", text), word
    for word in (*FUNCTIONS, *(hyper for takes in OPTIMIZERS.values() for hyper in takes)):
        assert re.search(rf"\b{word}\b", text), word
    for file in sorted((ROOT / "spaces" / "library").glob("*.yaml")):
        for part in yaml.safe_load(file.read_text()):
            assert f"`{file.stem}/{part}`" in text, f"{file.stem}/{part}"


# ---------------------------------------------------------------- commands
def commands(page: Path) -> list[str]:
    """Every `searchd …` of a page: in the text between backticks, and at the start of a line of a shell block."""
    found = [line.strip() for line in INLINE.findall(prose(page))]
    for text in fences(page, "", "sh", "bash", "console"):
        joined = text.replace("\\\n", " ")
        for line in joined.splitlines():
            bare = line.strip().removeprefix("$ ")
            if bare.startswith("searchd "):
                found.append(bare)
    return found


def check(line: str) -> None:
    """The command exists and takes these options."""
    words = shlex.split(line.replace("…", "x"), comments=True)[1:]
    words = words[: next((i for i, w in enumerate(words) if w in {"|", "&&", ">"}), len(words))]
    if not words or words[0].isupper() or words[0].startswith("-"):
        return
    context = click.Context(main, info_name="searchd")
    command = main.get_command(context, words[0])  # type: ignore[attr-defined]
    assert command is not None, f"no command {words[0]!r} in {line!r}"
    if isinstance(command, click.Group) and len(words) > 1:
        group, words = words[0], words[1:]
        command = command.get_command(context, words[0])
        assert command is not None, f"{group} has no command {words[0]!r} in {line!r}"
    known = {o for p in command.params if isinstance(p, click.Option) for o in (*p.opts, *p.secondary_opts)}
    known |= {"--help", "-h"}
    for word in words[1:]:
        if re.match(r"--?[a-z]", word):
            assert word.split("=")[0] in known, f"{words[0]} has no option {word} in {line!r}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_and_options_exist(page: Path) -> None:
    """Every `searchd` command line shown names a command that exists and options that it has."""
    for line in commands(page):
        check(line)


@pytest.mark.parametrize("line", [
    "searchd frnt digits", "searchd run study.yaml --frsh", "searchd log digits -q", "searchd device ad x",
])  # fmt: skip
def test_the_check_of_commands_finds_mistakes(line: str) -> None:
    """A misspelt command or option is found."""
    with pytest.raises(AssertionError):
        check(line)


def test_the_command_page_names_every_option() -> None:
    """docs/cli.md has every option of every command."""
    text = (ROOT / "docs" / "cli.md").read_text()
    context = click.Context(main, info_name="searchd")
    for command_name in main.list_commands(context):  # type: ignore[attr-defined]
        command = main.get_command(context, command_name)  # type: ignore[attr-defined]
        assert command is not None
        below = command.commands.values() if isinstance(command, click.Group) else ()
        for option in (p for c in (command, *below) for p in c.params if isinstance(p, click.Option)):
            assert f"`{option.opts[0]}" in text, f"{command_name} {option.opts[0]}"


def test_what_a_worker_is_told_exists() -> None:
    """The options that `searchd worker` hands on are those of the worker's own command line."""
    told = parse(["--broker", "redis://h", "--slots", "2", "--device", "cpu", "--name", "n", "--artifacts", "a",
                  "--allow", "m:f", "--path", "p"])  # fmt: skip
    assert (told.slots, told.allow, told.path) == (2, ["m:f"], ["p"])


# ---------------------------------------------------------------- routes
def test_the_http_page_names_every_route() -> None:
    """docs/http.md has every path that the application serves, and no other."""
    from searchd.http.devices import devices
    from searchd.http.health import health
    from searchd.http.routes import v1
    from searchd.http.tokens import tokens

    text = (ROOT / "docs" / "http.md").read_text()
    for route in (*health.routes, *v1.routes, *devices.routes, *tokens.routes):
        path: str = getattr(route, "path", "")
        wanted = path.replace("{n}", "N").replace("{path:path}", "PATH")
        if path.startswith("/v1/studies/{study}/"):
            wanted = "…" + wanted.removeprefix("/v1/studies/{study}")
        wanted = wanted.replace("{study}", "STUDY")
        assert re.search(rf"{re.escape(wanted)}[`?]", text), path


# ---------------------------------------------------------------- links and names
def slug(heading: str) -> str:
    """The anchor that a heading gets on a forge."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    """A link to a file of the repository, and its anchor, exist."""
    for target in LINK.findall(prose(page)):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.exists(), f"{name(page)} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text()), re.MULTILINE)
            assert anchor in {slug(h) for h in headings}, f"{name(page)} links to {target}"


def imports(code: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module:
            found += [(node.module, alias.name) for alias in node.names]
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_that_is_shown_parses_and_its_imports_exist(page: Path) -> None:
    """Python blocks compile; what they import from our packages is there."""
    for code in fences(page, "python"):
        for module, wanted in imports(code):
            if module.partition(".")[0] in {"searchd", "spaces", "workers", "kernels", "ui"}:
                assert hasattr(importlib.import_module(module), wanted), f"{module}.{wanted}"


def test_methods_of_the_client_that_are_shown_exist() -> None:
    """Every `client.NAME(` of the pages is a method of the SDK."""
    from searchd import Client

    for page in PAGES:
        for code in fences(page, "python"):
            for method in re.findall(r"\bclient\.(\w+)\(", code):
                assert callable(getattr(Client, method, None)), f"{name(page)}: client.{method}"


def test_the_loop_of_the_tutorial_runs() -> None:
    """The tutorial's own loop over Search runs as printed and finds a front."""
    code = next(c for c in fences(ROOT / "docs" / "tutorial.md", "python") if "searchd.search" in c)
    scope: dict[str, Any] = {}
    exec(compile(code, "tutorial", "exec"), scope)
    assert scope["search"].front()
    assert len(scope["search"].trials) == 27
