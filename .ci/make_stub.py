"""Write micropie-stubs/__init__.pyi from micropie.py: python .ci/make_stub.py [--check].

PEP 561 has no marker for a single module, so that type checkers take no types from an installed
``micropie.py``; they take them from a stub package beside it. The stub is the module with the
bodies left out: public names, what their signatures refer to, and the documented underscore
methods of ``App``. The order is the module's own.
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULE = ROOT / "micropie.py"
STUB = ROOT / "micropie-stubs" / "__init__.pyi"

HEADER = '"""The types of micropie.py. Written by .ci/make_stub.py: change micropie.py, then run `make stub`."""\n'
LINE_LENGTH = 120

# The underscore methods that people who extend App may use.
DOCUMENTED_UNDERSCORES = {
    "App": {
        "_asgi_app_http",
        "_asgi_app_lifespan",
        "_asgi_app_websocket",
        "_parse_cookies",
        "_parse_multipart",
        "_redirect",
        "_render_template",
        "_send_response",
        "_send_websocket_close",
        "_started",
    },
}
# Decorators that change what a type checker sees; any other is taken to keep the signature.
TYPE_DECORATORS = {
    "abstractmethod",
    "cached_property",
    "classmethod",
    "contextmanager",
    "dataclass",
    "deleter",
    "final",
    "overload",
    "property",
    "setter",
    "staticmethod",
}
# Hooks of the class machinery that no caller sees.
UNTYPED_DUNDERS = {"__slots__", "__match_args__", "__init_subclass__"}
# Classes whose assigned values are a part of their type: defaults of fields, members.
VALUE_CLASSES = {"dataclass", "Enum", "IntEnum", "NamedTuple", "StrEnum"}
LITERAL_TYPES = {"str", "bytes", "int", "float", "bool"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


class StubError(Exception):
    """The module holds something that has no type a stub could state."""


def is_public(name: str) -> bool:
    """Say whether a name is public or a dunder name."""
    return not name.startswith("_") or (name.startswith("__") and name.endswith("__"))


def last_name(node: ast.expr) -> str:
    """Return ``c`` for ``a.b.c``, ``a.b.c(...)`` and ``c``."""
    if isinstance(node, ast.Call):
        return last_name(node.func)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def flat(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a body, those under ``if TYPE_CHECKING:`` included."""
    for node in body:
        if isinstance(node, ast.If) and last_name(node.test) == "TYPE_CHECKING":
            yield from flat(node.body)
        else:
            yield node


def literal(node: ast.expr) -> str:
    """Return a default as it is where it is plain data of one line, and ``...`` otherwise."""
    try:
        ast.literal_eval(node)
    except ValueError:
        return "..."
    text = ast.unparse(node)
    return text if len(text) < 40 else "..."


def parameters(arguments: ast.arguments) -> list[str]:
    """Return the parameters of a signature as source text, one by one."""
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    texts = [parameter(argument, default) for argument, default in zip(positional, defaults, strict=True)]
    if arguments.posonlyargs:
        texts.insert(len(arguments.posonlyargs), "/")
    if arguments.vararg:
        texts.append("*" + parameter(arguments.vararg, None))
    elif arguments.kwonlyargs:
        texts.append("*")
    texts += [
        parameter(argument, default)
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    if arguments.kwarg:
        texts.append("**" + parameter(arguments.kwarg, None))
    return texts


def parameter(argument: ast.arg, default: ast.expr | None) -> str:
    """Return one parameter as source text."""
    if argument.annotation is None and argument.arg not in {"self", "cls"}:
        raise StubError(f"line {argument.lineno}: the parameter {argument.arg} has no type")
    text = ast.unparse(argument)
    if default is None:
        return text
    return f"{text} = {literal(default)}" if argument.annotation else f"{text}={literal(default)}"


def function(node: Function, indent: str) -> list[str]:
    """Return the lines of a function whose body is left out."""
    if node.returns is None:
        raise StubError(f"line {node.lineno}: {node.name} has no return type")
    lines = decorators(node, indent)
    # Without its body, an asynchronous generator is a plain function that returns an iterator.
    coroutine = isinstance(node, ast.AsyncFunctionDef) and not is_generator(node)
    start = f"{indent}{'async ' if coroutine else ''}def {node.name}("
    end = f") -> {ast.unparse(node.returns)}: ..."
    texts = parameters(node.args)
    one_line = start + ", ".join(texts) + end
    if len(one_line) <= LINE_LENGTH:
        return [*lines, one_line]
    return [*lines, start, *(f"{indent}    {text}," for text in texts), indent + end]


def is_generator(node: ast.AST) -> bool:
    """Say whether a function yields, its inner functions left out."""
    return any(
        isinstance(child, ast.Yield | ast.YieldFrom)
        or (not isinstance(child, Function | ast.Lambda | ast.ClassDef) and is_generator(child))
        for child in ast.iter_child_nodes(node)
    )


def decorators(node: Function | ast.ClassDef, indent: str) -> list[str]:
    """Return the decorators that matter to a type checker."""
    return [
        f"{indent}@{ast.unparse(decorator)}"
        for decorator in node.decorator_list
        if last_name(decorator) in TYPE_DECORATORS
    ]


def type_of_value(value: ast.expr, where: str) -> str:
    """Return the type of a constant, worked out from the expression alone."""
    if isinstance(value, ast.BinOp):
        return type_of_value(value.left, where)
    if isinstance(value, ast.Constant) and type(value.value).__name__ in LITERAL_TYPES:
        return type(value.value).__name__
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):  # a class that is called, by its looks
        return value.func.id
    raise StubError(f"{where} needs an annotation")


def is_type_expression(value: ast.expr) -> bool:
    """Say whether an assigned value is a type (an alias) or one of typing's declarations."""
    if isinstance(value, ast.Call):
        return last_name(value) in {"NewType", "ParamSpec", "TypeVar"}
    if isinstance(value, ast.BinOp):
        return isinstance(value.op, ast.BitOr)
    return isinstance(value, ast.Subscript)


def assignment(node: ast.Assign | ast.AnnAssign, indent: str = "", *, keep_value: bool = False) -> list[str]:
    """Return the line that declares an assigned name."""
    if isinstance(node, ast.AnnAssign):
        target = ast.unparse(node.target)
        annotation = ast.unparse(node.annotation)
        if node.value is None:
            return [f"{indent}{target}: {annotation}"]
        if last_name(node.annotation) == "Final" and not isinstance(node.annotation, ast.Subscript):
            annotation = f"Final[{type_of_value(node.value, f'line {node.lineno}: {target}')}]"
        if last_name(node.annotation) == "TypeAlias" or (keep_value and last_name(node.value) == "field"):
            return [f"{indent}{target}: {annotation} = {ast.unparse(node.value)}"]
        return [f"{indent}{target}: {annotation}" + (f" = {literal(node.value)}" if keep_value else "")]
    name = ast.unparse(node.targets[0])
    if name == "__all__" or keep_value or is_type_expression(node.value):
        return wrapped_list(f"{indent}{name} = ", node.value)
    return [f"{indent}{name}: {type_of_value(node.value, f'line {node.lineno}: {name}')}"]


def wrapped_list(start: str, value: ast.expr) -> list[str]:
    """Return an assignment, a long list or tuple with one item a line."""
    line = start + ast.unparse(value)
    if len(line) <= LINE_LENGTH or not isinstance(value, ast.List | ast.Tuple):
        return [line]
    brackets = "[]" if isinstance(value, ast.List) else "()"
    return [start + brackets[0], *(f"    {ast.unparse(item)}," for item in value.elts), brackets[1]]


def targets(node: ast.stmt) -> list[str]:
    """Return the names that a statement defines."""
    if isinstance(node, Function | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.AnnAssign):
        return [ast.unparse(node.target)]
    if isinstance(node, ast.Assign):
        return [ast.unparse(target) for target in node.targets]
    return []


def instance_attributes(init: Function, declared: set[str]) -> Iterator[str]:
    """Yield ``name: type`` for the public attributes that ``__init__`` sets and the class does not declare."""
    types = {
        argument.arg: ast.unparse(argument.annotation)
        for argument in (*init.args.posonlyargs, *init.args.args, *init.args.kwonlyargs)
        if argument.annotation
    }
    for node in ast.walk(init):
        target: ast.expr | None = node.target if isinstance(node, ast.AnnAssign) else None
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
        if not (isinstance(target, ast.Attribute) and last_name(target.value) == "self"):
            continue
        name = target.attr
        if name in declared or not (is_public(name) or name in DOCUMENTED_UNDERSCORES["App"]):
            continue
        declared.add(name)
        if isinstance(node, ast.AnnAssign):
            yield f"{name}: {ast.unparse(node.annotation)}"
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id in types:
            yield f"{name}: {types[node.value.id]}"
        elif isinstance(node, ast.Assign):
            yield f"{name}: {type_of_value(node.value, f'line {node.lineno}: self.{name}')}"


def class_members(node: ast.ClassDef) -> Iterator[ast.stmt]:
    """Yield the statements of a class that its stub states."""
    underscores = DOCUMENTED_UNDERSCORES.get(node.name, set())
    every_field = any(last_name(decorator) == "dataclass" for decorator in node.decorator_list)
    for member in flat(node.body):
        if isinstance(member, Function) and member.returns and last_name(member.returns) in {"Never", "NoReturn"}:
            continue  # a __getattr__ that only raises: to a type checker it would make every name an attribute
        for name in targets(member):
            field = every_field and isinstance(member, ast.AnnAssign)
            if (is_public(name) and name not in UNTYPED_DUNDERS) or name in underscores or field:
                yield member


def class_stub(node: ast.ClassDef) -> list[str]:
    """Return the lines of a class: its attributes first, then its methods."""
    bases = [ast.unparse(base) for base in (*node.bases, *node.keywords)]
    head = [*decorators(node, ""), f"class {node.name}{'(' + ', '.join(bases) + ')' if bases else ''}:"]
    keep_value = any(last_name(item) in VALUE_CLASSES for item in (*node.decorator_list, *node.bases))
    members = list(class_members(node))
    declared = {name for member in flat(node.body) for name in targets(member)}
    attributes: list[str] = []
    methods: list[str] = []
    for member in members:
        if isinstance(member, Function):
            methods += function(member, "    ")
        elif isinstance(member, ast.Assign | ast.AnnAssign):
            attributes += assignment(member, "    ", keep_value=keep_value)
    for member in node.body:
        if isinstance(member, Function) and member.name == "__init__":
            attributes += [f"    {line}" for line in instance_attributes(member, declared)]
    if not attributes and not methods:
        return [*head[:-1], head[-1] + " ..."]
    return [*head, *attributes, *methods]


def definition(node: ast.stmt) -> list[str]:
    """Return the stub of one statement at the module's top."""
    if isinstance(node, Function):
        return function(node, "")
    if isinstance(node, ast.ClassDef):
        return class_stub(node)
    if isinstance(node, ast.Assign | ast.AnnAssign):
        return assignment(node)
    raise StubError(f"line {node.lineno}: no stub for {type(node).__name__}")


def names_in(lines: list[str]) -> set[str]:
    """Return the names that stub lines refer to, those in quoted annotations included."""
    names: set[str] = set()
    pending = ["\n".join(lines)]
    while pending:
        try:
            tree = ast.parse(pending.pop())
        except SyntaxError:  # a string that is no annotation
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                names.add(node.id)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                pending.append(node.value)
    return names


def is_assignment(lines: list[str]) -> bool:
    """Say whether the lines declare a name, not a function or a class."""
    return bool(lines) and not lines[0].startswith(("@", "async def ", "class ", "def "))


def imports(body: list[ast.stmt], needed: set[str]) -> list[str]:
    """Return the import lines for the names that the stub refers to."""
    modules: set[str] = set()
    members: dict[str, set[str]] = {}
    for node in flat(body):
        if isinstance(node, ast.Import):
            modules |= {
                ast.unparse(alias) for alias in node.names if (alias.asname or alias.name).split(".")[0] in needed
            }
        elif isinstance(node, ast.ImportFrom) and node.module and node.module != "__future__":
            names = {ast.unparse(alias) for alias in node.names if (alias.asname or alias.name) in needed}
            members.setdefault(node.module, set()).update(names)
    lines = [f"import {module}" for module in sorted(modules)]
    lines += [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(members.items()) if names]
    return lines


def double_quoted(line: str) -> str:
    """Write the strings of a line with double quotes, as the rest of the project does."""
    return line if '"' in line else line.replace("'", '"')


def public_names(body: list[ast.stmt]) -> list[str]:
    """Return the module's ``__all__``."""
    for node in body:
        if "__all__" in targets(node) and isinstance(node, ast.Assign):
            names: list[str] = ast.literal_eval(node.value)
            return list(names)
    raise StubError("the module has no __all__")


def make_stub(source: str) -> str:
    """Return the text of the stub for the text of the module."""
    body = ast.parse(source).body
    defined: dict[str, ast.stmt] = {}
    for node in flat(body):
        for name in targets(node):
            defined.setdefault(name, node)
    stubs: dict[str, list[str]] = {}
    needed: set[str] = set()
    pending = ["__all__", *public_names(body)]
    while pending:
        name = pending.pop()
        needed.add(name)
        if name in defined and name not in stubs:
            stubs[name] = definition(defined[name])
            pending += names_in(stubs[name]) - needed
    in_order = [stubs[name] for name in defined if name in stubs]
    text = ""
    for before, lines in zip([[], *in_order], in_order, strict=False):
        close = is_assignment(before) and is_assignment(lines)
        text += ("" if close or not before else "\n") + "\n".join(lines) + "\n"
    code = "\n".join(imports(body, needed)) + "\n\n" + text
    return HEADER + "\n" + "\n".join(map(double_quoted, code.split("\n")))


def main(arguments: list[str]) -> int:
    """Write the stub, or with ``--check`` only say whether it is stale; return the exit status."""
    text = make_stub(MODULE.read_text(encoding="utf-8"))
    fresh = STUB.exists() and STUB.read_text(encoding="utf-8") == text
    if "--check" in arguments:
        print(f"{STUB.relative_to(ROOT)} is {'up to date' if fresh else 'stale: run `make stub`'}")
        return 0 if fresh else 1
    STUB.parent.mkdir(exist_ok=True)
    STUB.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
