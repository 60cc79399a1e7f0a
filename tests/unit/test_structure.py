"""Rules that the code keeps about itself."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.metrics import MetricWrapperBase

import service.metrics
import workers.direct.metrics
from service.contracts import errors, keys
from workers.cli import COMMANDS

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for top in ("service", "workers") for path in (ROOT / top).rglob("*.py"))
KEY_METHODS = {name for name, value in vars(keys.Keys).items() if callable(value) and not name.startswith("_")}
# `Keys.partition` and `x2q_version` return no key.
KEY_METHODS -= {"partition", "x2q_version"}


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _builds_a_key(node: ast.AST) -> bool:
    """Whether a string is put together from a key, or from the namespace."""
    if not isinstance(node, ast.JoinedStr | ast.BinOp):
        return False
    used = {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute)}
    called = {
        one.func.attr for one in ast.walk(node) if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute)
    }
    owners = {ast.unparse(one.func) for one in ast.walk(node) if isinstance(one, ast.Call)}
    from_keys = any(name.split(".")[-2:-1] in (["keys"], ["_keys"]) for name in owners)
    return "namespace" in used or (bool(called & KEY_METHODS) and from_keys)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_keys_are_built_in_one_module(path: Path) -> None:
    """No other module puts a Redis key together, so TTLs and hash tags are decided in one place."""
    if path == ROOT / "service/contracts/keys.py":
        return
    tree = _tree(path)
    assert [ast.unparse(node) for node in ast.walk(tree) if _builds_a_key(node)] == []
    given_to_keys = {
        id(argument)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Keys"
        for argument in node.args
    }
    uses = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "namespace"]
    assert [ast.unparse(node) for node in uses if id(node) not in given_to_keys] == []


def test_every_key_says_how_long_it_lives() -> None:
    """Each builder has a docstring, and the comments of the module name TTLs."""
    assert all(getattr(keys.Keys, name).__doc__ for name in KEY_METHODS)


@pytest.mark.parametrize("module", ["service.app", "workers.serve", "workers.cli", "workers.direct.commands"])
def test_nothing_online_loads_torch(module: str) -> None:
    """The service and the Direct worker start in a second and fit into a small container."""
    heavy = "{'torch', 'vllm', 'transformers', 'polars', 'numpy', 'matplotlib'}"
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", [service.metrics, workers.direct.metrics], ids=lambda m: m.__name__)
def test_every_metric_has_a_sentence(module: object) -> None:
    """An operator reads it in Grafana."""
    metrics = [value for value in vars(module).values() if isinstance(value, MetricWrapperBase)]
    assert metrics
    for metric in metrics:
        (family,) = metric.collect()
        assert family.name.startswith("aigq_")
        assert family.documentation[0].isupper() or family.documentation[0].isdigit() or "x2q" in family.documentation
        assert family.documentation.endswith(".")
        assert len(family.documentation.split()) >= 3


@pytest.mark.parametrize("top", ["service", "workers", "tests", "loadtests"])
def test_files_are_short(top: str) -> None:
    """A file that does not fit into a head is two files."""
    long = {str(p.relative_to(ROOT)): n for p in (ROOT / top).rglob("*.py")
            if (n := len(p.read_text(encoding="utf-8").splitlines())) >= 300}  # fmt: skip
    assert long == {}


def test_every_lua_script_is_documented() -> None:
    """What it does, its KEYS and ARGV, and what it returns; and each is loaded."""
    scripts = sorted((ROOT / "service").rglob("*.lua"))
    loader = (ROOT / "service/contracts/lua/__init__.py").read_text(encoding="utf-8")
    assert scripts
    for script in scripts:
        lines = script.read_text(encoding="utf-8").splitlines()
        head = "\n".join(line for line in lines[: next(i for i, line in enumerate(lines) if line[:2] != "--")])
        assert all(f"-- {word}" in head for word in ("KEYS", "ARGV", "Returns")), script.name
        assert len(lines[0]) > 30, script.name
        assert f'"{script.name}"' in loader


def test_every_error_is_in_the_tree_of_its_module() -> None:
    """The drawing in the docstring and the classes agree."""
    classes = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert all(issubclass(getattr(errors, name), errors.AigqError) for name in classes)
    assert all(name in (errors.__doc__ or "") for name in classes)


def _aigq(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "workers.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_names_its_subcommands() -> None:
    """With no argument, with help, and with one that does not exist."""
    for arguments, code in (((), 2), (("--help",), 0), (("nonsense",), 2)):
        done = _aigq(*arguments)
        assert done.returncode == code
        assert all(name in done.stdout + done.stderr for name in COMMANDS)


def test_a_foreseen_mistake_ends_in_one_line(tmp_path: Path) -> None:
    """No traceback for a wrong path."""
    done = _aigq("serve", "--config", str(tmp_path / "absent.toml"))
    assert done.returncode == 1
    assert done.stderr.startswith("aigq serve: ")
    assert len(done.stderr.splitlines()) == 1
