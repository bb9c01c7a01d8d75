"""Norms over channels: PyTorch's where it has them, else the papers' equations."""

import torch
import torch.nn.functional as F
from torch.nn.utils.stateless import functional_call

from cases_layers import layer
from draw import Case, draws

EPS = [1e-5, 1e-3, 0.1]


def per_channel(vector, x):
    return vector.reshape([1, -1] + [1] * (x.dim() - 2))


def affine(z, weight, bias):
    z = z if weight is None else z * per_channel(weight, z)
    return z if bias is None else z + per_channel(bias, z)


def statistics(x, mask=None):
    """Mean and biased variance of each channel over what the mask [n, spatial..] lets count, and their number."""
    rows = x.movedim(1, -1).reshape(-1, x.shape[1])
    if mask is not None:
        rows = rows[mask.reshape(-1)]
    return rows.mean(0), rows.var(0, unbiased=False), rows.shape[0]


def normalized(x, mean, var, eps):
    return (x - per_channel(mean, x)) / torch.sqrt(per_channel(var, x) + eps)


def masked(y, mask):
    return y if mask is None else torch.where(mask.unsqueeze(1), y, torch.zeros_like(y))


def draw_mask(draw, x):
    mask = draw.mask([x.shape[0], *x.shape[2:]])
    mask.view(-1)[:2] = True  # one value a channel is an error
    return mask


def draw_x(draw, spatial_low, spatial_high, low=1):
    """At least two values a channel, with means and deviations that matter."""
    spatial = [draw.extent(low, 3) for _ in range(draw.integer(spatial_low, spatial_high))]
    shape = [draw.extent(2, 4), draw.extent(1, 3), *spatial]
    return draw.normal(shape) * 2 + draw.normal([1, shape[1]] + [1] * (len(shape) - 2))


def parameters_of(draw, channels, weight, bias):
    return {name: draw.normal([channels]) for name, wanted in (("weight", weight), ("bias", bias)) if wanted}


def op_case(draw, x, function, mask=None, **options):
    """function(x, weight, bias, mask) as a case of the op: what is absent is no input."""
    weight, bias = draw.chance(0.7), draw.chance(0.7)
    names = parameters_of(draw, x.shape[1], weight, bias)
    inputs = [x, *names.values()] + ([] if mask is None else [mask])

    def call(x, *rest):
        p = dict(zip(names, rest))
        return function(x, p.get("weight"), p.get("bias"), mask)

    return Case(inputs, call, weight=weight, bias=bias, masked=mask is not None, **options)


@draws("batch_norm")
def batch_norm(draw):
    x, eps, given = draw_x(draw, 0, 3), draw.choice(EPS), draw.chance()
    mask = draw_mask(draw, x) if draw.chance(0.4) else None

    def function(x, weight, bias, mask):
        if mask is None:
            return F.batch_norm(x, None, None, weight, bias, True, 0.0, eps)
        mean, var, _ = statistics(x, mask)
        return masked(affine(normalized(x, mean, var, eps), weight, bias), mask)

    return op_case(draw, x, function, mask, eps=eps, given=given)


@draws("batch_norm_inference")
def batch_norm_inference(draw):
    x, eps = draw_x(draw, 0, 3), draw.choice(EPS)
    mean, var = draw.normal([x.shape[1]]), draw.uniform([x.shape[1]])
    mask = draw_mask(draw, x) if draw.chance(0.3) else None
    function = lambda x, w, b, mask: masked(F.batch_norm(x, mean, var, w, b, False, 0.0, eps), mask)
    return op_case(draw, x, function, mask, eps=eps, mean=mean.tolist(), var=var.tolist())


def apply_group_norm(x, groups, weight, bias, eps):
    """torch 1.13 has no gradient of a bias without a weight."""
    if weight is not None:
        return F.group_norm(x, groups, weight, bias, eps)
    return affine(F.group_norm(x, groups, eps=eps), None, bias)


@draws("group_norm")
def group_norm(draw):
    groups, eps = draw.integer(1, 3), draw.choice(EPS)
    shape = [draw.extent(1, 4), groups * draw.extent(2, 3)] + draw.shape(0, 3, high=3)
    function = lambda x, w, b, _: apply_group_norm(x, groups, w, b, eps)
    return op_case(draw, draw.normal(shape) * 2 + 1, function, groups=groups, eps=eps)


@draws("instance_norm")
def instance_norm(draw):
    x, eps = draw_x(draw, 1, 3, low=2), draw.choice(EPS)
    return op_case(draw, x, lambda x, w, b, _: F.instance_norm(x, None, None, w, b, True, 0.0, eps), eps=eps)


def draw_options(draw, x, spread="running_var", track=True):
    """Options of a layer and its state: parameters, then buffers."""
    o = {"features": x.shape[1], "eps": draw.choice(EPS), "training": draw.chance(0.6)}
    o["momentum"] = draw.choice([0.1, 0.3, 1.0, 0.0])
    o["affine"] = draw.chance(0.8)
    o["weight"], o["bias"] = draw.chance(0.8), draw.chance(0.8)
    state = parameters_of(draw, x.shape[1], o["affine"] and o["weight"], o["affine"] and o["bias"])
    o["track"] = track
    if track:
        state |= {
            "running_mean": draw.normal([x.shape[1]]) * 0.5,
            spread: draw.uniform([x.shape[1]]),
            "num_batches_tracked": torch.tensor(draw.integer(0, 5)),
        }
    return o, state


def stateful(inputs, o, state, function):
    """function(inputs.., parameters, copies of the buffers) -> y; the buffers afterwards are outputs too."""
    buffers = [name for name in state if name not in ("weight", "bias")]
    fixed = [len(inputs) + k for k, name in enumerate(state) if name in buffers]

    def call(*arguments):
        p = dict(arguments[-1])
        kept = {name: p.pop(name).clone() for name in buffers}
        y = function(*arguments[:-1], p, kept)
        return (y, *kept.values())

    return layer(inputs, state, call, fixed=fixed, **o)


def torch_module(kind, o, x, p, buffers):
    """PyTorch's own module; what it cannot leave out is 1 or 0."""
    full = kind(o["features"], o["eps"], o["momentum"] if o["momentum"] >= 0 else None, o["affine"], o["track"]).double()
    full.train(o["training"])
    values = dict(buffers)
    if o["affine"]:
        values["weight"] = p.get("weight", torch.ones(o["features"], dtype=torch.float64))
        values["bias"] = p.get("bias", torch.zeros(o["features"], dtype=torch.float64))
    return functional_call(full, values, (x,))


def share(o, buffers):
    buffers["num_batches_tracked"] += 1
    return o["momentum"] if o["momentum"] >= 0 else 1 / buffers["num_batches_tracked"].item()


def masked_batch_norm(x, mask, o, p, buffers):
    if not o["training"] and o["track"]:
        mean, var = buffers["running_mean"].clone(), buffers["running_var"].clone()
    else:
        mean, var, count = statistics(x, mask)
        if o["training"] and o["track"]:
            a = share(o, buffers)
            buffers["running_mean"].copy_((1 - a) * buffers["running_mean"] + a * mean.detach())
            buffers["running_var"].copy_((1 - a) * buffers["running_var"] + a * var.detach() * count / (count - 1))
    return masked(affine(normalized(x, mean, var, o["eps"]), p.get("weight"), p.get("bias")), mask)


def register_batch_norm(name, kind, low, high):
    @draws(name)
    def drawer(draw):
        x = draw_x(draw, low, high)
        o, state = draw_options(draw, x, track=draw.chance(0.8))
        o["momentum"] = -1 if draw.chance(0.3) else o["momentum"]  # absent: the average of all batches
        mask = draw_mask(draw, x) if kind is None or draw.chance(0.3) else None
        o["masked"] = mask is not None
        if mask is None:
            return stateful([x], o, state, lambda x, p, buffers: torch_module(kind, o, x, p, buffers))
        return stateful([x, mask], o, state, lambda x, mask, p, b: masked_batch_norm(x, mask, o, p, b))


register_batch_norm("BatchNorm", None, 0, 4)
register_batch_norm("BatchNorm1d", torch.nn.BatchNorm1d, 0, 1)
register_batch_norm("BatchNorm2d", torch.nn.BatchNorm2d, 2, 2)
register_batch_norm("BatchNorm3d", torch.nn.BatchNorm3d, 3, 3)


def batch_renorm(x, mask, o, p, buffers):
    """Ioffe 2017, algorithm 1."""
    mean, deviation = buffers["running_mean"].clone(), buffers["running_std"].clone()
    if o["training"]:
        batch_mean, batch_var, _ = statistics(x, mask)
        batch_deviation = torch.sqrt(o["eps"] + batch_var)
        r = (batch_deviation / deviation).clamp(1 / o["r_max"], o["r_max"]).detach()
        d = ((batch_mean - mean) / deviation).clamp(-o["d_max"], o["d_max"]).detach()
        x_hat = (x - per_channel(batch_mean, x)) / per_channel(batch_deviation, x) * per_channel(r, x) + per_channel(d, x)
        a = share(o, buffers)
        buffers["running_mean"] += a * (batch_mean.detach() - mean)
        buffers["running_std"] += a * (batch_deviation.detach() - deviation)
    else:
        x_hat = (x - per_channel(mean, x)) / per_channel(deviation, x)
    return masked(affine(x_hat, p.get("weight"), p.get("bias")), mask)


def register_batch_renorm(name, low, high):
    @draws(name)
    def drawer(draw):
        x = draw_x(draw, low, high)
        o, state = draw_options(draw, x, "running_std")
        state["running_std"] = state["running_std"] + 0.2  # above sqrt(eps)
        o["r_max"], o["d_max"] = draw.choice([1.0, 1.5, 3.0]), draw.choice([0.0, 0.5, 5.0])
        o["masked"] = draw.chance(0.3)
        if o["masked"]:
            return stateful([x, draw_mask(draw, x)], o, state, lambda x, mask, p, b: batch_renorm(x, mask, o, p, b))
        return stateful([x], o, state, lambda x, p, b: batch_renorm(x, None, o, p, b))


register_batch_renorm("BatchRenorm", 0, 3)
register_batch_renorm("BatchRenorm1d", 0, 1)
register_batch_renorm("BatchRenorm2d", 2, 2)


def instance_norm_of_rank(x, o, p, buffers):
    means, variances = buffers.get("running_mean"), buffers.get("running_var")
    batch = o["training"] or not o["track"]
    return F.instance_norm(x, means, variances, p.get("weight"), p.get("bias"), batch, o["momentum"], o["eps"])


def register_instance_norm(name, kind, low, high):
    @draws(name)
    def drawer(draw):
        x = draw_x(draw, low, high, low=2)
        o, state = draw_options(draw, x, track=draw.chance())

        def function(x, p, buffers):
            y = torch_module(kind, o, x, p, buffers) if kind else instance_norm_of_rank(x, o, p, buffers)
            if o["training"] and o["track"]:
                buffers["num_batches_tracked"] += 1  # PyTorch leaves it at 0 here
            return y

        return stateful([x], o, state, function)


register_instance_norm("InstanceNorm", None, 1, 4)
register_instance_norm("InstanceNorm1d", torch.nn.InstanceNorm1d, 1, 1)
register_instance_norm("InstanceNorm2d", torch.nn.InstanceNorm2d, 2, 2)
register_instance_norm("InstanceNorm3d", torch.nn.InstanceNorm3d, 3, 3)


@draws("GroupNorm")
def group_norm_layer(draw):
    groups, eps = draw.integer(1, 3), draw.choice(EPS)
    channels = groups * draw.extent(2, 3)
    affine, weight, bias = draw.chance(0.8), draw.chance(0.8), draw.chance(0.8)
    parameters = parameters_of(draw, channels, affine and weight, affine and bias)
    function = lambda x, p: apply_group_norm(x, groups, p.get("weight"), p.get("bias"), eps)
    x = draw.normal([draw.extent(1, 4), channels] + draw.shape(0, 3, high=3)) * 2 + 1
    o = {"groups": groups, "channels": channels, "eps": eps, "affine": affine, "weight": weight, "bias": bias}
    return layer([x], parameters, function, **o)
