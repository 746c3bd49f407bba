"""Rewrites: what to write where a function does something that is to become a durable step."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from urllib.parse import quote

from resonate_amqp.ext.scanning.acts import Act, Reading
from resonate_amqp.ext.scanning.effects import EFFECTS, Kind
from resonate_amqp.ext.scanning.findings import Remark, Step
from resonate_amqp.ext.scanning.sources import Place, own_nodes

QueueOf = Callable[[str], str]
"""The queue that a task's name is routed to; empty when it is not known."""

_LONGEST = 300
_UNFIT = re.compile(r"^(?:self|cls|\w*(?:message|connection|channel|producer|session))$")
"""Arguments that no step can be given, since they are recorded as JSON."""
_SIGNATURES = ("s", "si", "signature", "subtask")


class Rewriter:
    """Says of the acts of one function what to write instead."""

    def __init__(self, place: Place, queue_of: QueueOf = lambda _name: "") -> None:
        self._queue_of = queue_of
        assigned = [node for node in ast.walk(place.node) if isinstance(node, ast.Assign)]
        self._answers: dict[ast.AST, str] = {
            node.value: ast.unparse(node.targets[0]) for node in assigned
        }
        self._lists = {
            node.value.elt: node.value for node in assigned if isinstance(node.value, ast.ListComp)
        }
        self._returned = {
            node.value for node in ast.walk(place.node) if isinstance(node, ast.Return)
        }
        self._handles: set[str] = set()

    def step(self, act: Act) -> Step:
        """The act as a step."""
        if act.helper is not None:
            return self._of_helper(act, act.helper)
        call, (kind,) = act.call, act.kinds
        loop = f", in the loop of line {act.loop}" if act.loop else ""
        match kind:
            case Kind.TASK:
                return Step(act.line, f"{_calls(call)}{loop}", self._of_task(act))
            case Kind.WAIT:
                return Step(act.line, f"{self._waits(act)}{loop}", self._of_wait(act))
            case Kind.SLEEP:
                return Step(act.line, "sleeps", f"yield ctx.sleep({_arguments(call)})")
            case Kind.POLL:
                does = (
                    f"polls: sleeps in the loop of line {act.loop}; what the loop asks becomes a "
                    "step too, or a ctx.promise() that whoever knows resolves"
                )
                return Step(act.line, does, f"yield ctx.sleep({_arguments(call)})")
        does = f"{kind.value}: {ast.unparse(call.func)}(…){loop}; move it to a function of its own"
        return Step(act.line, does, f"yield ctx.lfc({EFFECTS[kind]}, …)")

    def _of_helper(self, act: Act, helper: Place) -> Step:
        name, given = ast.unparse(act.call.func), _unparsed(act.call)
        does = f"calls {name}(), which {_list(act, helper)}"
        if Kind.WAIT in act.kinds and Kind.TASK not in act.kinds:
            return Step(act.line, does, self._answered(act, f"yield {_asked(act.call)}"))
        if Kind.TASK in act.kinds or act.times > 1 or act.kinds <= {Kind.SLEEP, Kind.POLL}:
            said = f"yield from {name}({', '.join(['ctx', *given])})"
            return Step(act.line, f"{does}; name its steps too", self._answered(act, said))
        carried = [one for one in given if not _UNFIT.search(one)]
        if left := [one for one in given if _UNFIT.search(one)]:
            does += f"; it must get {' and '.join(left)} elsewhere, which no JSON carries"
        return Step(
            act.line, does, self._answered(act, f"yield ctx.lfc({', '.join([name, *carried])})")
        )

    def _of_task(self, act: Act) -> str:
        call = act.call
        if _links_in(call) or _is_canvas(call):
            return self._of_canvas(act, call)
        if _verb(call) == "replace":
            return f"return (yield {self._call_of('rfc', call.args[0])})"
        if (many := self._lists.get(call)) is not None:
            loops = " ".join(ast.unparse(each).strip() for each in many.generators)
            made = f"yield ctx.gather(*[{self._begun('rfc', call)} {loops}])"
            return f"{self._answers[many]} = {made}"
        mode = "detached"
        if self._answers.get(call, "").isidentifier():
            mode = "rfi"
            self._handles.add(self._answers[call])
        return self._answered(act, f"yield {self._begun(mode, call)}")

    def _of_wait(self, act: Act) -> str:
        call, begun = act.call, act.begun
        if begun is None:
            asked = 'ctx.rfc("FUNCTION", …).options(target="queue://QUEUE")'
            return self._answered(act, f"yield {asked}")
        if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
            name = call.func.value.id
            return self._answered(act, f"yield {name}" if name in self._handles else name)
        if _links_in(begun) or _is_canvas(begun):
            return self._of_canvas(act, begun)
        return self._answered(act, f"yield {self._begun('rfc', begun)}")

    def _waits(self, act: Act) -> str:
        if act.begun is None:
            return "waits for a reply"
        func = act.call.func
        if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name):
            held = "" if func.value.id in self._handles else ", which is the value itself by then"
            return f"waits for the result {func.value.id}{held}"
        return f"{_calls(act.begun)} and waits for the result"

    def _begun(self, mode: str, call: ast.Call) -> str:
        """The command that a call of a task becomes."""
        named = {one.arg: one.value for one in call.keywords if one.arg}
        options = []
        verb = _verb(call)
        func = call.func.value if isinstance(call.func, ast.Attribute) else call.func
        given = list(call.args)
        if verb == "send_task":
            func, given = (given[0] if given else named.get("name", func)), given[1:]
        callee = ast.unparse(func)
        if isinstance(func, ast.Call) and _verb(func) in _SIGNATURES:
            return self._call_of(mode, func)
        if verb in ("delay", "delay_on_commit"):
            arguments = _unparsed(call)
        else:
            args = given[0] if given else named.get("args")
            kwargs = given[1] if len(given) > 1 else named.get("kwargs")
            arguments = [*_items(args), *_keywords(kwargs)]
        queue = _text(named.get("queue"))
        if not queue and verb == "send_task":
            queue = self._queue_of(_text(func)) or "QUEUE"
        if queue:
            options.append(f'target="celery://{quote(queue, safe="")}"')
        for theirs, ours in (("countdown", "delay"), ("task_id", "id")):
            value = named.get(theirs)
            # An id that is drawn would be another one whenever the function runs again.
            if value is not None and not isinstance(value, ast.Call):
                options.append(f"{ours}={ast.unparse(value)}")
        said = f"ctx.{mode}({', '.join([callee, *arguments])})"
        return said + (f".options({', '.join(options)})" if options else "")

    def _call_of(self, mode: str, signature: ast.expr, *before: str) -> str:
        """The command that a signature such as `add.s(1)` becomes; `before` are earlier results."""
        match signature:
            case ast.Call(func=ast.Attribute(value=task, attr=verb)) if verb in _SIGNATURES:
                taken = () if verb == "si" else before
                given = _unparsed(signature)
                if verb in ("signature", "subtask"):
                    named = {one.arg: one.value for one in signature.keywords if one.arg}
                    args = signature.args[0] if signature.args else named.get("args")
                    given = [*_items(args), *_keywords(named.get("kwargs"))]
                return f"ctx.{mode}({', '.join([ast.unparse(task), *taken, *given])})"
        return f"ctx.{mode}(TASK, …)"

    def _of_canvas(self, act: Act, call: ast.Call) -> str:
        made, links = _canvas(call), _links_in(call)
        kind = "" if made is None else ast.unparse(made.func).rpartition(".")[2]
        if links or (made is not None and kind == "chain"):
            if made is not None and not links:
                links = made.args if len(made.args) > 1 else _links(made.args[0])
            return self._of_chain(act, links)
        if made is None or kind not in ("group", "chord"):
            return "yield ctx.gather(ctx.rfc(TASK, …), …)"
        if kind == "group":
            return self._answered(act, f"yield {self._gathered(made.args)}")
        given = [*made.args[1:2], *(call.args if call is not made else [])]
        then = self._call_of("rfc", given[0], "results") if given else "ctx.rfc(TASK, results)"
        said = f"results = yield {self._gathered(made.args[:1])}; "
        return said + self._answered(act, f"yield {then}")

    def _of_chain(self, act: Act, links: list[ast.expr]) -> str:
        *before, last = links
        said, value = "", list[str]()
        for one in before:
            said += f"value = yield {self._call_of('rfc', one, *value)}; "
            value = ["value"]
        return said + self._answered(act, f"yield {self._call_of('rfc', last, *value)}")

    def _gathered(self, given: list[ast.expr]) -> str:
        made = []
        for one in given:
            match one:
                case ast.GeneratorExp(elt=elt) | ast.ListComp(elt=elt):
                    loops = " ".join(ast.unparse(each).strip() for each in one.generators)
                    made.append(f"*[{self._call_of('rfc', elt)} {loops}]")
                case ast.List(elts=elts) | ast.Tuple(elts=elts):
                    made += [self._call_of("rfc", each) for each in elts]
                case _:
                    made.append(self._call_of("rfc", one))
        return f"ctx.gather({', '.join(made)})"

    def _answered(self, act: Act, said: str) -> str:
        if len(said) > _LONGEST:
            said = said[:_LONGEST] + " …"
        if act.call in self._answers:
            return f"{self._answers[act.call]} = {said}"
        return f"return ({said})" if act.call in self._returned else said


def _calls(call: ast.Call) -> str:
    if _links_in(call):
        return "calls a chain of tasks"
    if _is_canvas(call):
        made = _canvas(call)
        return "calls other tasks" if made is None else f"calls a {ast.unparse(made.func)} of tasks"
    if _verb(call) == "replace":
        return "replaces itself by another task"
    if _verb(call) == "send_task" and call.args:
        return f"calls the task {ast.unparse(call.args[0])}"
    func = call.func
    return f"calls the task {ast.unparse(func.value if isinstance(func, ast.Attribute) else func)}"


def unrecorded(place: Place, reading: Reading) -> list[Remark]:
    """What a workflow that is durable already does beside its recorded steps."""
    if not any(isinstance(node, ast.Yield | ast.YieldFrom) for node in own_nodes(place.node)):
        return []
    rewriter = Rewriter(place)
    steps = [rewriter.step(act) for act in reading.acts if not _is_given_ctx(act.call)]
    return [
        Remark(
            f"{one.does}. This is not recorded, and happens again whenever the task comes back: "
            f"{one.write}",
            one.line,
        )
        for one in steps
    ]


def _is_given_ctx(call: ast.Call) -> bool:
    return any(isinstance(one, ast.Name) and one.id == "ctx" for one in call.args)


def _asked(call: ast.Call) -> str:
    """The call of a service that a function which sends a request and waits stands for."""
    texts = [_text(one) for one in call.args if _text(one)]
    rest = [one for one in call.args if not _text(one) and not _UNFIT.search(ast.unparse(one))]
    given = ", ".join(['"FUNCTION"', *(ast.unparse(one) for one in rest)])
    queue = texts[0] if texts else "QUEUE"
    return f'ctx.rfc({given}).options(target="queue://{quote(queue, safe="")}")'


def _list(act: Act, helper: Place) -> str:
    """What a function of the project does, and where."""
    # One that waits between two tries is still one that tries.
    kinds = act.kinds & EFFECTS.keys() or act.kinds
    kinds |= act.kinds & {Kind.WAIT, Kind.TASK}
    done = sorted(kind.value for kind in kinds)
    often = f"{act.times} effects, " if act.times > 1 else ""
    return f"{' and '.join(done)} ({often}{helper.source.path.name}:{helper.node.lineno})"


def _verb(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _canvas(call: ast.Call) -> ast.Call | None:
    """The `group(…)`, `chain(…)` or `chord(…)` in what is called."""
    node: ast.expr = call
    while True:
        match node:
            case ast.Call(func=ast.Name() | ast.Attribute(value=ast.Name())) if _verb(node) not in (
                "delay",
                "apply_async",
            ):
                return node
            case ast.Call(func=inner):
                node = inner
            case ast.Attribute(value=inner):
                node = inner
            case _:
                return None


def _links_in(call: ast.Call) -> list[ast.expr]:
    """The signatures of `(a.s() | b.s()).delay()`; empty for any other call."""
    node: ast.expr = call
    while isinstance(node, ast.Call | ast.Attribute):
        node = node.func if isinstance(node, ast.Call) else node.value
    return _links(node) if isinstance(node, ast.BinOp) else []


def _is_canvas(call: ast.Call) -> bool:
    made = _canvas(call)
    name = "" if made is None else ast.unparse(made.func).rpartition(".")[2]
    return name in ("group", "chain", "chord", "chunks", "xmap", "xstarmap")


def _links(node: ast.expr) -> list[ast.expr]:
    """The parts of `a.s() | b.s()`, or of a list."""
    match node:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return [*_links(left), *_links(right)]
        case ast.List(elts=elts) | ast.Tuple(elts=elts):
            return elts
    return [node]


def _unparsed(call: ast.Call) -> list[str]:
    named = [f"{one.arg}=" if one.arg else "**" for one in call.keywords]
    values = [ast.unparse(one.value) for one in call.keywords]
    return [
        *(ast.unparse(one) for one in call.args),
        *(name + value for name, value in zip(named, values, strict=True)),
    ]


def _arguments(call: ast.Call) -> str:
    return ", ".join(_unparsed(call))


def _items(node: ast.expr | None) -> list[str]:
    match node:
        case None:
            return []
        case ast.List(elts=elts) | ast.Tuple(elts=elts):
            return [ast.unparse(one) for one in elts]
    return [f"*{ast.unparse(node)}"]


def _keywords(node: ast.expr | None) -> list[str]:
    match node:
        case None:
            return []
        case ast.Dict(keys=keys, values=values) if all(_text(key).isidentifier() for key in keys):
            pairs = zip(keys, values, strict=True)
            return [f"{_text(key)}={ast.unparse(value)}" for key, value in pairs]
    return [f"**{ast.unparse(node)}"]


def _text(node: ast.expr | None) -> str:
    constant = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return str(node.value) if constant and isinstance(node, ast.Constant) else ""
