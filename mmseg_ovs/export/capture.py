"""From a module to a graph of operations whose constants are computed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram


def capture(
    module: nn.Module, args: tuple[Any, ...], dynamic_shapes: Any = None
) -> ExportedProgram:
    """Trace a module with ``torch.export`` and compute its constants.

    Whatever depends on no input is computed now: rotary tables, interpolated position
    tables, window indices, weights that are joined. Weights that are left unused are
    left out.

    Args:
        module: The module, in evaluation mode.
        args: Example inputs.
        dynamic_shapes: As for ``torch.export.export``.
    """
    with torch.no_grad():
        program = torch.export.export(module, args, dynamic_shapes=dynamic_shapes)
        # Without operations that write in place, values may be computed in any order.
        program = program.run_decompositions({})
        folded = fold_constants(program.module(check_guards=False))
        return torch.export.export(folded, args, dynamic_shapes=dynamic_shapes)


def fold_constants(module: fx.GraphModule) -> fx.GraphModule:
    """Replace what depends on no input by its value.

    Args:
        module: Graph of functional operations, weights as attributes.

    Returns:
        A module of the same graph that owns no more than it uses.
    """
    graph = module.graph
    known = {}
    for node in graph.nodes:
        if node.op == 'get_attr':
            value = _attribute(module, node.target)
            if isinstance(value, Tensor):
                known[node] = value.detach()
        elif _is_pure(node) and all(n in known for n in node.all_input_nodes):
            args, kwargs = fx.map_arg((node.args, node.kwargs), known.__getitem__)
            known[node] = node.target(*args, **kwargs)
    for node, value in known.items():
        users = [user for user in node.users if user not in known]
        if not users or node.op == 'get_attr' or not isinstance(value, Tensor):
            continue
        name = f'constant_{node.name}'
        module.register_buffer(name, value.clone(memory_format=torch.contiguous_format))
        with graph.inserting_before(node):
            constant = graph.get_attr(name)
        node.replace_all_uses_with(constant, delete_user_cb=lambda n: n not in known)
    graph.eliminate_dead_code()
    used = {node.target for node in graph.find_nodes(op='get_attr')}
    owned = {target: _attribute(module, target) for target in used}
    return fx.GraphModule(owned, graph)


def _attribute(module: nn.Module, target: str) -> Any:
    """Value under a dotted name."""
    *path, name = target.split('.')
    return getattr(module.get_submodule('.'.join(path)), name)


def _is_pure(node: fx.Node) -> bool:
    """Whether a node gives the same at each call and does nothing else."""
    if node.op != 'call_function' or node.is_impure():
        return False
    tags = getattr(node.target, 'tags', ())
    return torch.Tag.nondeterministic_seeded not in tags
