"""What a plugin's outcomes depend on of its own sources, as one digest.

A digest of a whole package would change with a comment anywhere in it, and every stored cell of every plugin in it
would have to be crafted again. So only modules count that the plugin's own module imports, itself or through others,
from its own distribution; of them the syntax tree without docstrings, in which comments and layout do not show. It is
the same on every version of Python. What is imported by a computed name is not seen, nor are files that a plugin reads:
for these there is `Attack.content`.

Reading them all takes most of a second. A run remembers them from one time to the next (`source_memory`); who doubts
what others hand in reads them.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import inspect
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from advbench.plugins.source_memory import Facts, Import, SourceMemory, mark_of

CORE = "advbench"
"""The core's package: its areas have revisions of their own (`advbench.revisions`)."""
_MEMORY = SourceMemory(Path(__file__))
CRAFTING = "advbench.crafting.cell", "advbench.run.judging"
"""The modules that a verdict comes from, with all that they import."""


def source_digest(kind: type) -> str:
    """The digest of the sources that define a class and what it inherits; empty where there are none to read.

    An editable installation changes without a new version, so a version would not tell results apart.
    """
    modules = {one.__module__ for one in kind.__mro__ if not _is_foreign(one.__module__)}
    names = {name for module in modules for name in _modules_of(module)}
    return _digest_of(names) if names else _own_source(kind)


@functools.cache
def core_digest() -> str:
    """The digest of all in the core that crafting and judging reach: provenance, and in no key."""
    return _digest_of({name for module in CRAFTING for name in _modules_of(module)})


def recall() -> None:
    """From now on, files that a run has read before and that are the same are not read again."""
    _MEMORY.recall()


def remember() -> None:
    """Keep what was read for other runs."""
    _MEMORY.keep()


def _digest_of(modules: Collection[str]) -> str:
    digest = hashlib.sha256()
    for name in sorted(modules):
        digest.update(f"{name}\0{_digest_of_file(name)}\0".encode())
    return digest.hexdigest()


def _digest_of_file(module: str) -> str:
    path = _file(module)
    assert path
    return _facts(path).digest


def _is_foreign(module: str) -> bool:
    top = module.partition(".")[0]
    return top == CORE or top in sys.stdlib_module_names


@functools.cache
def _modules_of(module: str) -> frozenset[str]:
    """Modules with a file that this one imports from its own distribution, at any depth, itself among them."""
    modules: set[str] = set()
    left = [module] if _file(module) else []
    while left:
        if (name := left.pop()) not in modules:
            modules.add(name)
            left += _imports(name, module.partition(".")[0])
    return frozenset(modules)


@functools.cache
def _imports(name: str, home: str) -> tuple[str, ...]:
    """Modules of the home's distribution that a module names in any import, wherever it stands."""
    path = _file(name)
    assert path
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    imports = []
    for one in _facts(path).imports:
        for target in _targets(one, package):
            if _same_distribution(target.partition(".")[0], home) and _file(target):
                imports.append(target)
    return tuple(dict.fromkeys(imports))


def _targets(one: Import, package: str) -> Iterator[str]:
    """Names of the modules that an import loads: of `from a import b` the module `a.b` where there is one, else `a`."""
    base = one.module
    if not one.names:
        yield base
    if one.level:
        above = package.split(".")[: len(package.split(".")) + 1 - one.level]
        base = ".".join([*above, *([base] if base else [])])
    for name in one.names:
        inner = f"{base}.{name}"
        yield inner if _file(inner) else base


@functools.cache
def _file(module: str) -> Path | None:
    """Where a module's source lies; one that is not loaded yet is looked for beside its package."""
    known = getattr(sys.modules.get(module), "__file__", None)
    if known:
        path = Path(known)
        return path if path.suffix == ".py" and path.is_file() else None
    parent, _, last = module.rpartition(".")
    if not parent:
        return None
    above = _file(parent)
    folders = [above.parent] if above and above.name == "__init__.py" else _folders(parent)
    for folder in folders:
        for path in (folder / last / "__init__.py", folder / f"{last}.py"):
            if path.is_file():
                return path
    return None


def _folders(package: str) -> list[Path]:
    """The folders of a namespace package, which has no `__init__.py`."""
    return [Path(folder) for folder in getattr(sys.modules.get(package), "__path__", ())]


@functools.cache
def _same_distribution(top: str, home: str) -> bool:
    """Whether two outermost packages are shipped together, as the metadata say, or lie side by side in a checkout."""
    if top == home:
        return True
    if _is_foreign(top):
        return False
    here, there = _folder(home), _folder(top)
    if here is None or there is None:
        return False
    if here.name in ("site-packages", "dist-packages"):
        owners = _owners()
        return bool(set(owners.get(top, ())) & set(owners.get(home, ())))
    return here == there


@functools.cache
def _owners() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())


def _folder(top: str) -> Path | None:
    """The folder on the path in which an outermost package or module lies."""
    path = _file(top)
    if path:
        return path.parents[1] if path.name == "__init__.py" else path.parent
    folders = _folders(top)
    return folders[0].parent if folders else None


def _tree(path: Path) -> ast.Module | None:
    """A file's syntax tree; None for one that is no Python, which a plugin may name and never load."""
    try:
        return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


@functools.cache
def _facts(path: Path) -> Facts:
    """What counts of a file, remembered where it was read before and is the same."""
    mark = mark_of(path)
    known = _MEMORY.known(path, mark)
    if known is None:
        known = _read(path)
        _MEMORY.learn(path, mark, known)
    return known


def _read(path: Path) -> Facts:
    tree = _tree(path)
    try:
        content = path.read_bytes() if tree is None else canonical_source(tree).encode()
    except RecursionError:
        content = path.read_bytes()
    imports = (one for node in ast.walk(tree or ast.Module([], [])) for one in _imported(node))
    return Facts(hashlib.sha256(content).hexdigest(), tuple(dict.fromkeys(imports)))


def _imported(node: ast.AST) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(alias.name) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield Import(node.module or "", node.level, tuple(alias.name for alias in node.names))


def canonical_source(node: Any) -> str:
    """A syntax tree in words that no version of Python writes otherwise: no places, empty fields or docstrings."""
    if isinstance(node, list):
        return "[" + ",".join(canonical_source(one) for one in node if not _is_mute(one)) + "]"
    if not isinstance(node, ast.AST):
        return f"{type(node).__name__}:{node!r}"
    if isinstance(node, ast.JoinedStr):  # versions part the text around the braces in different ways
        return f"JoinedStr({','.join(_pieces(node))})"
    fields = []
    for name in sorted(node._fields):
        value = getattr(node, name, None)
        if name in ("kind", "type_comment", "type_ignores", "ctx") or value is None or value == []:
            continue
        if isinstance(node, ast.Constant) and name == "value":
            fields.append(f"value={_constant(value)}")
        else:
            fields.append(f"{name}={canonical_source(value)}")
    return f"{type(node).__name__}({','.join(fields)})"


def _constant(value: Any) -> str:
    return f"{type(value).__name__}:{value!r}"


def _pieces(node: ast.JoinedStr) -> Iterator[str]:
    text = ""
    for part in node.values:
        if isinstance(part, ast.Constant):
            text += str(part.value)
            continue
        if text:
            yield _constant(text)
            text = ""
        yield canonical_source(part)
    if text:
        yield _constant(text)


def _is_mute(node: Any) -> bool:
    """A text that stands for itself: a docstring of whatever stands above or around it."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _own_source(kind: type) -> str:
    """The digest of a class that no file holds (a notebook's), where Python still knows its text."""
    try:
        return hashlib.sha256(inspect.getsource(kind).encode()).hexdigest()
    except (OSError, TypeError):
        return ""
