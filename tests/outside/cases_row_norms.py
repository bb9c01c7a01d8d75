"""Norms over trailing axes, as ops and as layers, written from their equations where torch has no such function."""

import math

import torch
import torch.nn.functional as F

from draw import Case, draws, layer

EPS = [1e-8, 1e-5, 1e-3, 0.1]


def centred_norm(x, axes, eps, detach_mean=False, detach_std=False):
    """(x - mean) / sqrt(var + eps); a detached statistic is a constant on the way back (Xu et al. 2019)."""
    mean = x.mean(axes, keepdim=True)
    centred = x - (mean.detach() if detach_mean else mean)
    root = (centred.square().mean(axes, keepdim=True) + eps).sqrt()
    return centred / (root.detach() if detach_std else root)


def rms(x, axes, eps, outside, counted=0):
    """Over the first `counted` entries of the axes, in row-major order; 0: over all."""
    part = x
    if counted:
        part = x.flatten(-len(axes))[..., :counted] if isinstance(axes, list) else x[..., :counted]
    squares = part.square().mean(-1 if counted else axes, keepdim=True)
    if counted and isinstance(axes, list):
        squares = squares.reshape(squares.shape[:-1] + (1,) * len(axes))
    if not outside:
        return x / (squares + eps).sqrt()
    zero = squares == 0  # where the root has no derivative, its gradient counts as zero
    return x / (squares.masked_fill(zero, 1).sqrt().masked_fill(zero, 0) + eps)


def unit(x, eps):
    return F.normalize(x, dim=-1, eps=eps)


def affine(x, p):
    """x * weight + bias, of which either may be absent."""
    x = x * p["weight"] if "weight" in p else x
    return x + p["bias"] if "bias" in p else x * 1


def affine_parameters(draw, shape, parts=("weight", "bias")):
    return {part: draw.normal(shape) for part in parts if draw.chance(0.7)}


def switches(parameters):
    """The options of a layer that has these parameters."""
    return {part: part in parameters for part in ("weight", "bias")}


@draws("layer_norm")
def layer_norm(draw):
    width, eps = draw.extent(2, 6), draw.choice([1e-5, 1e-3, 0.1])
    x = draw.normal(draw.shape(0, 3) + [width]) * draw.choice([1, 10]) + draw.choice([0, 100])
    inputs = [draw.normal([width]) for _ in range(draw.integer(0, 2))]
    if draw.chance():
        return Case([x, *inputs], lambda x, w=None, b=None: F.layer_norm(x, [width], w, b, eps), eps=eps)
    mean, std = draw.chance(), draw.chance()

    def function(x, w=torch.ones(()), b=torch.zeros(())):
        return centred_norm(x, -1, eps, mean, std) * w + b

    return Case([x, *inputs], function, eps=eps, detach_mean=mean, detach_std=std)


@draws("rms_norm")
def rms_norm(draw):
    width, outside = draw.extent(1, 6), draw.chance()
    eps, counted = draw.choice([1e-8, 1e-6, 1e-3, 0.1]), draw.choice([0, draw.integer(1, width)])
    x = draw.normal(draw.shape(0, 3) + [width]) * draw.choice([1, 10])
    weight = [draw.normal([width])] if draw.chance() else []
    function = lambda x, w=torch.ones(()): rms(x, -1, eps, outside, counted) * w
    return Case([x, *weight], function, eps=eps, mode="outside" if outside else "inside", counted=counted)


@draws("l2_norm")
def l2_norm(draw):
    eps = draw.choice([1e-12, 1e-3, 2.0])
    x = draw.normal(draw.shape(0, 3) + [draw.extent(1, 6)]) * draw.choice([1, 10])
    if draw.chance(0.2):
        x[..., :] = 0
        eps = 0.5  # the gradient is that of x / eps
    weight = [draw.normal(draw.choice([[], [1]]))] if draw.chance() else []
    return Case([x, *weight], lambda x, w=torch.ones(()): unit(x, eps) * w, eps=eps)


@draws("add_layer_norm")
def add_layer_norm(draw):
    width, eps = draw.extent(2, 6), draw.choice([1e-5, 0.1])
    shape = draw.shape(0, 3) + [width]
    inputs = [draw.normal([width]) for _ in range(draw.integer(0, 2))]
    function = lambda x, r, w=None, b=None: (x + r, F.layer_norm(x + r, [width], w, b, eps))
    return Case([draw.normal(shape), draw.normal(shape), *inputs], function, eps=eps)


@draws("add_rms_norm")
def add_rms_norm(draw):
    width, outside, eps = draw.extent(1, 6), draw.chance(), draw.choice(EPS)
    shape = draw.shape(0, 3) + [width]
    weight = [draw.normal([width])] if draw.chance() else []
    function = lambda x, r, w=torch.ones(()): (x + r, rms(x + r, -1, eps, outside) * w)
    inputs = [draw.normal(shape), draw.normal(shape), *weight]
    return Case(inputs, function, eps=eps, mode="outside" if outside else "inside")


@draws("LayerNorm")
def layer_norm_layer(draw):
    shape, eps = draw.shape(1, 2, low=2), draw.choice([1e-5, 1e-3, 0.1])
    parameters = affine_parameters(draw, shape)
    x = draw.normal(draw.shape(0, 2) + shape) * 2 + 1
    options = {"shape": shape, "eps": eps} | switches(parameters)
    if draw.chance():
        function = lambda x, p: F.layer_norm(x, shape, p.get("weight"), p.get("bias"), eps)
        return layer([x], parameters, function, **options)
    mean, std = draw.chance(), draw.chance()
    axes = list(range(-len(shape), 0))
    function = lambda x, p: affine(centred_norm(x, axes, eps, mean, std), p)
    return layer([x], parameters, function, detach_mean=mean, detach_std=std, **options)


@draws("AdaNorm")
def ada_norm(draw):
    shape, eps = draw.shape(1, 2, low=2), draw.choice([1e-5, 0.1])
    scale, k = draw.choice([1.0, 2.0, 0.3]), draw.choice([0.1, 0.5])
    axes = list(range(-len(shape), 0))

    def function(x):
        y = centred_norm(x, axes, eps)
        return scale * (1 - k * y.detach()) * y

    x = draw.normal(draw.shape(0, 2) + shape) * 2 + 1
    return Case([x], function, shape=shape, eps=eps, scale=scale, k=k)


@draws("RMSNorm")
def rms_norm_layer(draw):
    shape, eps, outside = draw.shape(1, 2), draw.choice([1e-8, 1e-5, 0.1]), draw.chance()
    parameters = affine_parameters(draw, shape, ["weight"])
    partial = draw.choice([1.0, 0.0625, 0.3, draw.number(0.01, 1)])
    counted = math.ceil(math.prod(shape) * partial) if partial < 1 else 0
    axes = list(range(-len(shape), 0))
    function = lambda x, p: affine(rms(x, axes, eps, outside, counted), p)
    x = draw.normal(draw.shape(0, 2) + shape) * 2
    options = dict(shape=shape, eps=eps, mode="outside" if outside else "inside", partial=partial)
    return layer([x], parameters, function, affine=bool(parameters), **options)


@draws("L2Norm")
def l2_norm_layer(draw):
    eps = draw.choice([1e-12, 2.0])
    x = draw.normal(draw.shape(0, 2) + [draw.extent(1, 6)])
    return Case([x], lambda x: unit(x, eps), eps=eps)


@draws("ScaleNorm")
def scale_norm(draw):
    width, eps = draw.extent(1, 6), draw.choice([1e-5, 2.0])
    x = draw.normal(draw.shape(0, 2) + [width])
    return layer([x], {"weight": draw.normal([1])}, lambda x, p: unit(x, eps) * p["weight"], eps=eps)


@draws("DynamicTanh")
def dynamic_tanh(draw):
    shape = draw.shape(1, 2)
    parameters = {"alpha": draw.normal([1])} | affine_parameters(draw, shape)
    x = draw.normal(draw.shape(0, 2) + shape) * 2
    function = lambda x, p: affine(torch.tanh(p["alpha"] * x), p)
    return layer([x], parameters, function, shape=shape, **switches(parameters))


@draws("LayerScale")
def layer_scale(draw):
    width = draw.extent(1, 6)
    x = draw.normal(draw.shape(0, 2) + [width])
    return layer([x], {"weight": draw.normal([width])}, affine)


@draws("ReZero")
def rezero(draw):
    return layer([draw.normal(draw.shape(0, 3))], {"weight": draw.normal([1])}, affine)


@draws("QKNorm")
def qk_norm(draw):
    """Outputs: the two results, whose products are the scores, and the scores themselves."""
    d, heads, logarithm, divide = draw.extent(1, 5), draw.integer(1, 3), draw.chance(), draw.chance()
    numbers, eps = draw.choice([1, heads]), draw.choice([1e-12, 1.5])
    q, k = (draw.normal([2, heads, draw.extent(1, 4), d]) for _ in range(2))
    shape = [1] if numbers == 1 else [numbers, 1, 1]
    value = draw.normal(shape) if logarithm else draw.uniform(shape)
    if divide and not logarithm and draw.chance(0.2):
        value[0] = draw.choice([1e-4, -1.0])  # below 1e-3 it acts as 1e-3

    def function(q, k, p):
        number = p["temperature.weight"]
        if logarithm:
            factor = (-number if divide else number).exp()
        else:
            factor = 1 / number.clamp(min=1e-3) if divide else number
        q, k = unit(q, eps) * factor, unit(k, eps)
        return q, k, q @ k.transpose(-2, -1)

    options = dict(divide=divide, heads=numbers, logarithm=logarithm, eps=eps)
    return layer([q, k], {"temperature.weight": value}, function, **options)


def group_rows(x, eps):
    """Groups of neighbouring features: as many as divide the width, up to 32, of at least two features each."""
    width = x.shape[-1]
    groups = max(g for g in range(1, 33) if width % g == 0 and (g == 1 or 2 * g <= width))
    return F.group_norm(x.reshape(-1, width), groups, eps=eps).reshape(x.shape)


# What make_norm chooses from: the parameters of a method, and the method as a function of x, p and eps (None: its own).
def method(parts, eps, function):
    return {"parts": parts, "eps": eps, "function": function}


METHODS = {
    "layer": method(["weight", "bias"], 1e-5, lambda x, p, eps: affine(centred_norm(x, -1, eps), p)),
    "layer_simple": method([], 1e-5, lambda x, p, eps: centred_norm(x, -1, eps)),
    "rms": method(["weight"], 1e-8, lambda x, p, eps: affine(rms(x, -1, eps, True), p)),
    "rms_inside": method(["weight"], 1e-5, lambda x, p, eps: affine(rms(x, -1, eps, False), p)),
    "prms": method(
        ["weight"], 1e-8, lambda x, p, eps: affine(rms(x, -1, eps, True, math.ceil(x.shape[-1] / 16)), p)
    ),
    "l2": method([], 1e-12, lambda x, p, eps: unit(x, eps)),
    "layer_scale": method(["weight"], 0, lambda x, p, eps: x * p["weight"]),
    "rezero": method(["weight"], 0, lambda x, p, eps: x * p["weight"]),
    "group": method(["weight", "bias"], 1e-5, lambda x, p, eps: affine(group_rows(x, eps), p)),
    "scale": method(["weight"], 1e-5, lambda x, p, eps: unit(x, eps) * p["weight"]),
    "dyt": method(["alpha", "weight", "bias"], None, lambda x, p, eps: affine(torch.tanh(p["alpha"] * x), p)),
    "none": method([], None, lambda x, p, eps: x * 1),
}


def norm_parameters(draw, prefix, name, width):
    single = {"alpha"} | ({"weight"} if name in ("scale", "rezero") else set())
    return {prefix + part: draw.normal([1 if part in single else width]) for part in METHODS[name]["parts"]}


def apply_norm(x, p, prefix, name, eps=None):
    own = {key[len(prefix) :]: value for key, value in p.items() if key.startswith(prefix)}
    return METHODS[name]["function"](x, own, METHODS[name]["eps"] if eps is None else eps)


@draws("make_norm")
def make_norm(draw):
    name, width = draw.choice(list(METHODS)), draw.integer(2, 20)
    eps = {"eps": draw.choice([1e-5, 0.01])} if draw.chance() else {}
    x = draw.normal(draw.shape(0, 2) + [width])
    function = lambda x, p: apply_norm(x, p, "", name, **eps)
    return layer([x], norm_parameters(draw, "", name, width), function, name=name, width=width, **eps)
