"""A GPU made of Python, which counts what makes a real one wait.

Tensors on it say ``cuda:0`` and hold their values on the CPU. An operation that mixes
the two fails, as on a GPU. Copies from the host and values that are read back are
counted, each with the line of the package that causes it. Speed, memory and rounding of
a GPU are not here.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

aten = torch.ops.aten
GPU = torch.device('cuda:0')

# Private functions of PyTorch, without which nothing can say that it is on a GPU.
NEEDED = '_only_lift_cpu_tensors', '_set_only_lift_cpu_tensors'
AVAILABLE = all(hasattr(torch._C, name) for name in NEEDED)

# Operations whose kernel for a GPU hands a value or a size to the host.
_READ = {
    aten._local_scalar_dense,
    aten._unique2,
    aten.bincount,
    aten.equal,
    aten.is_nonzero,
    aten.masked_select,
    aten.nonzero,
    aten.unique_consecutive,
    aten.unique_dim,
}
_INDEXED = {
    aten.index,
    aten.index_put,
    aten.index_put_,
    aten._index_put_impl_,
    aten._unsafe_index,
}
_VIEWS = """_unsafe_view alias as_strided detach expand permute select slice split
    squeeze t transpose unbind unsqueeze view"""


class MixedDevicesError(RuntimeError):
    """One operation got tensors of the host and of the GPU."""


class Meter:
    """What happened on the GPU.

    Attributes:
        copies: Copies from the host by line.
        reads: Values and sizes that were read back by line.
        kernels: Operations that are not views.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.copies, self.reads, self.kernels = Counter(), Counter(), 0

    def describe(self) -> str:
        """Counts, and all lines."""
        lines = [f'{self.kernels} kernels']
        for name in ('copies', 'reads'):
            counts = getattr(self, name)
            lines.append(f'{counts.total()} {name}')
            lines += [f'  {n} {line}' for line, n in counts.most_common()]
        return '\n'.join(lines)


class GPUTensor(Tensor):
    """Says ``cuda:0``; ``values`` is the tensor on the CPU."""

    @staticmethod
    def __new__(cls, values: Tensor) -> Tensor:
        self = Tensor._make_wrapper_subclass(
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=GPU,
        )
        self.values = values
        return self

    def __repr__(self) -> str:
        return f'GPUTensor({tuple(self.shape)}, {self.dtype})'

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError(f'{func} outside of fake_gpu()')


class _Operations(TorchDispatchMode):
    """Runs every operation, after the rules of a GPU."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self.meter = meter

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        tensors = [x for x in pytree.tree_leaves((args, kwargs)) if _is(x, Tensor)]
        ours = [x for x in tensors if _is(x, GPUTensor)]
        device = kwargs.get('device')
        device = None if device is None else torch.device(device).type
        if not ours and device != 'cuda':
            return func(*args, **kwargs)
        packet = func.overloadpacket
        if packet is aten.copy_:
            there = _is(args[0], GPUTensor)
            self.move(to_gpu=there, from_gpu=_is(args[1], GPUTensor))
        elif packet is aten._to_copy:
            there = bool(ours) if device is None else device == 'cuda'
            self.move(to_gpu=there, from_gpu=bool(ours))
        else:
            there = bool(ours) if device is None else device == 'cuda'
            self.check(func, args, tensors)
        if ours and packet.__name__ not in _VIEWS.split():
            self.meter.kernels += 1
        if packet in _READ or (
            packet is aten.repeat_interleave and kwargs.get('output_size') is None
        ):
            self.meter.reads[_line()] += 1
        if device == 'cuda':
            kwargs['device'] = torch.device('cpu')
        result = func(*_values(args), **_values(kwargs))
        if not there:
            return args[0] if packet is aten.copy_ else result
        wrapped = pytree.tree_map_only(Tensor, GPUTensor, result)
        return return_and_correct_aliasing(func, args, kwargs, wrapped)

    def move(self, to_gpu: bool, from_gpu: bool) -> None:
        """Count a copy."""
        if to_gpu and not from_gpu:
            self.meter.copies[_line()] += 1
        elif from_gpu and not to_gpu:
            self.meter.reads[_line()] += 1

    def check(self, func, args: tuple, tensors: list[Tensor]) -> None:
        """Refuse mixed devices; indexing takes indices from the host, and copies."""
        others = [x for x in tensors if not _is(x, GPUTensor) and x.dim()]
        if func.overloadpacket in _INDEXED and _is(args[0], GPUTensor):
            indices = [x for x in args[1] if x is not None]
            foreign = [x for x in indices if not _is(x, GPUTensor)]
            if foreign:
                self.meter.copies[_line()] += len(foreign)
            others = [x for x in others if all(x is not y for y in foreign)]
            masks = any(x.dtype in (torch.bool, torch.uint8) for x in indices)
            fill = len(args) > 2 and len(indices) == 1 and args[2].numel() == 1
            if masks and not fill:
                self.meter.reads[_line()] += 1
        if others:
            shapes = [tuple(x.shape) for x in others]
            raise MixedDevicesError(f'{func} on the GPU gets {shapes} of the host')


class _Functions(TorchFunctionMode):
    """What PyTorch decides by the device before an operation is one."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self.meter = meter

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if args and _is(args[0], GPUTensor):
            if func is F.scaled_dot_product_attention:
                return self.attention(*args, **kwargs)
            if func is Tensor.tolist:
                self.meter.reads[_line()] += 1
                return args[0].values.tolist()
            if func is Tensor.__deepcopy__:
                return args[0].clone()
            if func in (Tensor.numpy, Tensor.__array__):
                raise TypeError("can't convert cuda:0 device type tensor to numpy")
        return func(*args, **kwargs)

    def attention(self, q, k, v, attn_mask=None, scale=None, is_causal=False):
        """By the CPU's kernel, in little memory; with gradients by its formula.

        No kernel of a GPU is asked whether it fits.
        """
        assert not is_causal
        given = [x for x in (q, k, v, attn_mask) if x is not None]
        if not (torch.is_grad_enabled() and any(x.requires_grad for x in given)):
            if not all(_is(x, GPUTensor) for x in given):
                raise MixedDevicesError('attention gets tensors of the host')
            self.meter.kernels += 1
            given = _values((q, k, v, attn_mask))
            return GPUTensor(F.scaled_dot_product_attention(*given, scale=scale))
        kernels = self.meter.kernels
        scores = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, -torch.inf)
        elif attn_mask is not None:
            scores = scores + attn_mask
        result = scores.softmax(dim=-1) @ v
        self.meter.kernels = kernels + 1
        return result


@contextmanager
def fake_gpu() -> Iterator[Meter]:
    """Inside, tensors can be made on 'cuda' and modules moved to it."""
    meter = Meter()
    getattr(torch._C, '_ensureCUDADeviceGuardSet', bool)()  # not in torch 2.4
    lifts = torch._C._only_lift_cpu_tensors()
    overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
    numbers = dict(mem_get_info=(60 << 30, 80 << 30), max_memory_allocated=200 << 20)
    numbers |= dict(memory_reserved=0, memory_allocated=0, reset_peak_memory_stats=None)
    numbers |= dict(_lazy_init=None, current_device=0)
    torch._C._set_only_lift_cpu_tensors(True)
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with ExitStack() as stack:
            for name, number in numbers.items():
                stack.enter_context(
                    mock.patch.object(torch.cuda, name, return_value=number)
                )
            stack.enter_context(_Operations(meter))
            stack.enter_context(_Functions(meter))
            yield meter
    finally:
        torch._C._set_only_lift_cpu_tensors(lifts)
        torch.__future__.set_overwrite_module_params_on_conversion(overwrites)


def to_host(x: Tensor) -> Tensor:
    """The values of a tensor, uncounted."""
    return x.values if _is(x, GPUTensor) else x


def _is(x: object, kind: type) -> bool:
    # isinstance() of a tensor would ask for its __class__, which is a function call
    return issubclass(type(x), kind)


def _values(tree: object) -> object:
    return pytree.tree_map_only(GPUTensor, lambda x: x.values, tree)


def _line() -> str:
    """The innermost line of the package."""
    frame = sys._getframe(1)
    while frame is not None:
        _, found, path = frame.f_code.co_filename.rpartition('/mmseg_ovs/')
        if found:
            return f'{path}:{frame.f_lineno}'
        frame = frame.f_back
    return 'outside of the package'
