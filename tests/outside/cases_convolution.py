"""Convolutions, pooling, norms of weights and whitening. Whitening is written from the paper, with eigenvectors."""

import torch
import torch.nn.functional as F

from cases_layers import layer, linear_parameters
from draw import Case, draws

SPATIAL = {1: ["conv1d", F.conv1d], 2: ["conv2d", F.conv2d]}


def numbers(draw, spatial, low, high):
    return [draw.integer(low, high) for _ in range(spatial)]


def room(kernel, dilation, padding):
    """The least extents that the window fits into."""
    return [max(1, d * (k - 1) + 1 - 2 * p) for k, d, p in zip(kernel, dilation, padding)]


def window(draw, spatial):
    kernel, stride = numbers(draw, spatial, 1, 3), numbers(draw, spatial, 1, 3)
    padding, dilation = numbers(draw, spatial, 0, 2), numbers(draw, spatial, 1, 2)
    extents = [least + draw.extent(0, 3) for least in room(kernel, dilation, padding)]
    return extents, dict(kernel=kernel, stride=stride, padding=padding, dilation=dilation)


def torch_window(o):
    return dict(kernel_size=o["kernel"], stride=o["stride"], padding=o["padding"], dilation=o["dilation"])


@draws("unfold")
def unfold(draw):
    extents, o = window(draw, 2)
    x = draw.normal([draw.integer(1, 2), draw.integer(1, 3)] + extents)
    return Case([x], lambda x: F.unfold(x, **torch_window(o)), **o)


@draws("fold")
def fold(draw):
    extents, o = window(draw, 2)
    places = F.unfold(torch.zeros([1, 1] + extents), **torch_window(o)).shape[2]
    columns = draw.normal([draw.integer(1, 2), draw.integer(1, 3) * o["kernel"][0] * o["kernel"][1], places])
    return Case([columns], lambda x: F.fold(x, extents, **torch_window(o)), size=extents, **o)


def convolution_operands(draw, spatial):
    extents, o = window(draw, spatial)
    groups = draw.integer(1, 3)
    channels, out = groups * draw.integer(1, 2), groups * draw.integer(1, 2)
    batch = [draw.integer(1, 3)] if draw.chance(0.8) else []
    x = draw.normal(batch + [channels] + extents)
    weight = draw.normal([out, channels // groups] + o["kernel"])
    bias = [draw.normal([out])] if draw.chance() else []
    return x, weight, bias, dict(stride=o["stride"], padding=o["padding"], dilation=o["dilation"], groups=groups)


def register_convolution(spatial, name, function):
    @draws(name)
    def drawer(draw):
        x, weight, bias, o = convolution_operands(draw, spatial)
        return Case([x, weight, *bias], lambda *all: function(*all, **o), **o)

    @draws(name.capitalize())
    def layer_drawer(draw):
        x, weight, bias, o = convolution_operands(draw, spatial)
        parameters = {"weight": weight} | ({"bias": bias[0]} if bias else {})
        function_of = lambda x, p: function(x, p["weight"], p.get("bias"), **o)
        return layer([x], parameters, function_of, bias=len(bias) > 0, **o)


for rank, (name, function) in SPATIAL.items():
    register_convolution(rank, name, function)


def pool_window(draw, spatial, dilated):
    kernel = numbers(draw, spatial, 1, 3)
    stride = numbers(draw, spatial, 1, 3) if draw.chance(0.7) else kernel
    padding = [draw.integer(0, k // 2) for k in kernel]
    dilation = numbers(draw, spatial, 1, 2) if dilated else [1] * spatial
    # An extent below the dilation lets windows lie in padding alone; PyTorch gives such a gradient to a neighbour.
    least = [max(pair) for pair in zip(room(kernel, dilation, padding), dilation)]
    extents = [extent + draw.extent(0, 4) for extent in least]
    o = dict(kernel=kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=draw.chance())
    return extents, o


def pool_input(draw, values, extents):
    batch = [draw.integer(1, 2)] if draw.chance(0.8) else []
    return values(batch + [draw.integer(1, 2)] + extents)


def register_max_pool(spatial):
    function = [F.max_pool1d, F.max_pool2d][spatial - 1]

    def drawer(draw):
        extents, o = pool_window(draw, spatial, dilated=True)
        x = pool_input(draw, draw.normal, extents)
        return Case([x], lambda x: function(x, **torch_window(o), ceil_mode=o["ceil_mode"]), **o)

    draws(f"max_pool{spatial}d")(drawer)
    draws(f"MaxPool{spatial}d")(drawer)


def register_avg_pool(spatial):
    function = [F.avg_pool1d, F.avg_pool2d][spatial - 1]

    def drawer(draw):
        extents, o = pool_window(draw, spatial, dilated=False)
        del o["dilation"]
        include = draw.chance()
        x = pool_input(draw, draw.normal, extents)
        options = dict(kernel_size=o["kernel"], stride=o["stride"], padding=o["padding"], ceil_mode=o["ceil_mode"])
        return Case([x], lambda x: function(x, **options, count_include_pad=include), include=include, **o)

    draws(f"avg_pool{spatial}d")(drawer)
    draws(f"AvgPool{spatial}d")(drawer)


def register_adaptive(spatial, kind):
    function = getattr(F, f"adaptive_{kind}_pool{spatial}d")

    def drawer(draw):
        size = numbers(draw, spatial, 1, 4)
        x = pool_input(draw, draw.normal, [draw.extent(1, 6) for _ in range(spatial)])
        return Case([x], lambda x: function(x, size), size=size)

    draws(f"adaptive_{kind}_pool{spatial}d")(drawer)
    draws(f"Adaptive{kind.capitalize()}Pool{spatial}d")(drawer)


for rank in (1, 2):
    register_max_pool(rank)
    register_avg_pool(rank)
    register_adaptive(rank, "avg")
    register_adaptive(rank, "max")


@draws("Flatten")
def flatten_layer(draw):
    x = draw.normal(draw.shape(2, 4))
    start = draw.integer(0, x.dim() - 1)
    end = draw.integer(start, x.dim() - 1) - (x.dim() if draw.chance() else 0)
    return Case([x], lambda x: torch.flatten(x, start, end), start=start, end=end)


# Norms of weights.
def weight_and_lengths(draw, v):
    dim = draw.integer(-1, v.dim() - 1)
    shape = [] if dim == -1 else [extent if axis == dim else 1 for axis, extent in enumerate(v.shape)]
    return dim, draw.normal(shape)


@draws("weight_norm")
def weight_norm(draw):
    v = draw.normal(draw.shape(1, 4))
    dim, g = weight_and_lengths(draw, v)
    return Case([v, g], lambda v, g: torch._weight_norm(v, g, dim), dim=dim)


def wrapped(draw):
    """The plain layer under a norm of its weight: its input, weight, other parameters, and what it computes."""
    if draw.chance():
        wide, out = draw.integer(2, 4), draw.integer(2, 4)
        plain = linear_parameters(draw, "", wide, out, draw.chance(0.7))
        kind, x, options = "linear", draw.normal([draw.integer(1, 3), wide]), dict(out=out)
        function = lambda x, weight, p: F.linear(x, weight, p.get("bias"))
    else:
        channels, out, kernel = draw.integer(1, 3), draw.integer(2, 4), draw.integer(1, 3)
        plain = {"weight": draw.normal([out, channels, kernel, kernel])}
        if draw.chance(0.7):
            plain["bias"] = draw.normal([out])
        kind, x, options = "conv", draw.normal([2, channels, 4, 3]), dict(out=out, kernel=kernel)
        function = lambda x, weight, p: F.conv2d(x, weight, p.get("bias"), padding=1)
    weight = plain.pop("weight")
    return x, weight, plain, function, dict(kind=kind, bias="bias" in plain, **options)


@draws("WeightNorm")
def weight_norm_layer(draw):
    x, v, others, function, options = wrapped(draw)
    dim, g = weight_and_lengths(draw, v)
    call = lambda x, p: function(x, torch._weight_norm(p["weight_v"], p["weight_g"], dim), p)
    return layer([x], {"weight_g": g, "weight_v": v} | others, call, dim=dim, **options)


@draws("SpectralNorm")
def spectral_norm_layer(draw):
    """Some steps of training from a given u; torch.nn.utils.spectral_norm, whose buffers are set by hand."""
    x, weight, others, function, options = wrapped(draw)
    dim, iterations, steps = draw.integer(0, 1), draw.integer(1, 3), draw.integer(1, 3)
    rows = weight.shape[dim]
    u = F.normalize(draw.normal([rows]), dim=0)
    v = F.normalize(draw.normal([weight.numel() // rows]), dim=0)

    def call(x, p):
        module = torch.nn.Module()
        module.weight = torch.nn.Parameter(weight.clone())
        torch.nn.utils.spectral_norm(module, "weight", iterations, dim=dim)
        hook = next(iter(module._forward_pre_hooks.values()))
        del module._parameters["weight_orig"]
        module.weight_orig = p["weight_orig"]
        module.weight_u, module.weight_v = p["weight_u"].clone(), p["weight_v"].clone()
        for _ in range(steps):
            normed = hook.compute_weight(module, do_power_iteration=True)
        return function(x, normed, p), module.weight_u.detach(), module.weight_v.detach()

    parameters = {"weight_u": u, "weight_v": v, "weight_orig": weight} | others
    case = layer([x], parameters, call, dim=dim, iterations=iterations, steps=steps, **options)
    case.fixed = {1, 2}
    return case


# Whitening.
def inverse_root(a):
    values, vectors = torch.linalg.eigh(a)
    return vectors @ torch.diag_embed(values**-0.5) @ vectors.transpose(-2, -1)


@draws("inverse_square_root")
def inverse_square_root(draw):
    d = draw.integer(1, 4)
    x = draw.normal(draw.shape(0, 2, high=2) + [d, d + draw.integer(1, 4)])
    matrix = lambda x: x @ x.transpose(-2, -1) / x.shape[-1] + 0.1 * torch.eye(d, dtype=x.dtype)
    return Case([x], lambda x: inverse_root(matrix(x)))


@draws("DecorrelatedBatchNorm")
def decorrelated(draw):
    """A training call, then one in eval with what it left behind. The eigenvalues lie apart."""
    size, groups, eps = draw.integer(1, 4), draw.integer(1, 2), draw.choice([1e-2, 0.1])
    channels, momentum = size * groups, draw.choice([0.1, 0.3])
    n, positions = draw.integer(4, 6), draw.shape(0, 2, low=3)
    scale = torch.arange(1, channels + 1, dtype=torch.float64).reshape([-1] + [1] * len(positions))
    x = draw.normal([n, channels] + positions) * (0.6 + 0.4 * scale) + 3
    parameters = {"weight": draw.normal([channels]), "bias": draw.normal([channels])}
    per_channel = lambda t: t.reshape([1, -1] + [1] * len(positions))

    def call(x, p):
        grouped = x.transpose(0, 1).reshape(groups, size, -1)
        mean = grouped.mean(2, keepdim=True)
        centred = grouped - mean
        covariance = centred @ centred.transpose(1, 2) / grouped.shape[2] + eps * torch.eye(size, dtype=x.dtype)
        whitening = inverse_root(covariance)
        shape_back = lambda y: y.reshape(channels, n, *positions).transpose(0, 1)
        affine = lambda y: shape_back(y) * per_channel(p["weight"]) + per_channel(p["bias"])
        running_mean = momentum * mean.detach()
        running = (1 - momentum) * torch.eye(size, dtype=x.dtype) + momentum * whitening.detach()
        return affine(whitening @ centred), affine(running @ (grouped - running_mean)), running

    return layer([x], parameters, call, group_size=size, eps=eps, momentum=momentum)


@draws("MeanOnlyBatchNorm")
def mean_only(draw):
    """A training call, then one in eval; section 4 of the paper."""
    channels, momentum, bias = draw.integer(1, 4), draw.choice([0.1, 0.4]), draw.chance(0.7)
    positions = draw.shape(0, 2)
    x = draw.normal([draw.integer(2, 4), channels] + positions) + 1
    parameters = {"bias": draw.normal([channels])} if bias else {}
    axes = [0] + list(range(2, x.dim()))
    per_channel = lambda t: t.reshape([1, -1] + [1] * len(positions))

    def call(x, p):
        mean = x.mean(axes, keepdim=True)
        shift = per_channel(p["bias"]) if bias else 0.0
        return x - mean + shift, x - momentum * mean.detach() + shift

    return layer([x], parameters, call, momentum=momentum, bias=bias)
