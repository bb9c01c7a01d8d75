"""Elementwise ops, comparisons and in-place ops."""

import torch
import torch.nn.functional as F

from draw import Case, draws

INFINITY = float("inf")


def register_unary(name, function, values):
    @draws(name)
    def drawer(draw):
        # A softmax and the like have a method and a free function of one name: `method` chooses.
        x = getattr(draw, values)(draw.shape(0, 3, low=0 if draw.chance(0.1) else 1))
        return Case([x], function, method=draw.chance())


for unary_name, unary_function, unary_values in [
    ("exp", torch.exp, "normal"),
    ("log", torch.log, "uniform"),
    ("sqrt", torch.sqrt, "uniform"),
    ("rsqrt", torch.rsqrt, "uniform"),
    ("tanh", torch.tanh, "normal"),
    ("erf", torch.erf, "normal"),
    ("sigmoid", torch.sigmoid, "normal"),
    ("relu", torch.relu, "halves"),
    ("abs", torch.abs, "halves"),
    ("sign", torch.sign, "halves"),
    ("square", torch.square, "normal"),
    ("reciprocal", torch.reciprocal, "uniform"),
    ("sin", torch.sin, "normal"),
    ("cos", torch.cos, "normal"),
    ("floor", torch.floor, "halves"),
    ("expm1", torch.expm1, "normal"),
    ("log1p", torch.log1p, "uniform"),
    ("silu", F.silu, "normal"),
    ("clone", torch.clone, "normal"),
    ("contiguous", lambda x: x * 1, "normal"),
    ("detach", lambda x: x.detach(), "normal"),
    ("zeros_like", torch.zeros_like, "normal"),
    ("ones_like", torch.ones_like, "normal"),
]:
    register_unary(unary_name, unary_function, unary_values)


@draws("softplus")
def softplus(draw):
    # F.softplus goes over to the identity above 20; this form does not.
    x = draw.normal(draw.shape()) * draw.choice([1, 30])
    return Case([x], lambda x: torch.logaddexp(x, torch.zeros_like(x)))


@draws("gelu")
def gelu(draw):
    form = draw.choice(["erf", "tanh"])
    return Case([draw.normal(draw.shape()) * 2], lambda x: F.gelu(x, approximate=form.replace("erf", "none")), form=form)


@draws("softcap")
def softcap(draw):
    cap = draw.number(0.5, 20)
    return Case([draw.normal(draw.shape()) * 3], lambda x: cap * torch.tanh(x / cap), cap=cap)


@draws("affine")
def affine(draw):
    a, b = draw.number(-2, 2), draw.number(-2, 2)
    return Case([draw.normal(draw.shape())], lambda x: a * x + b, a=a, b=b)


def register_binary(name, function, values):
    @draws(name)
    def drawer(draw):
        a, b = draw.broadcast_pair(low=0 if draw.chance(0.1) else 1)
        return Case([getattr(draw, values)(a), getattr(draw, values)(b)], function)


for binary_name, binary_function, binary_values in [
    ("add", torch.add, "normal"),
    ("sub", torch.sub, "normal"),
    ("mul", torch.mul, "normal"),
    ("div", torch.div, "uniform"),
    ("maximum", torch.maximum, "halves"),
    ("minimum", torch.minimum, "halves"),
]:
    register_binary(binary_name, binary_function, binary_values)


def register_operator(name, function, values, scalar_first):
    """Between two tensors, a tensor and a number, and (where there is one) a number and a tensor."""

    @draws(name)
    def drawer(draw):
        form = draw.choice(["tensors", "scalar", "scalar_first"] if scalar_first else ["tensors", "scalar"])
        make = getattr(draw, values)
        if form == "tensors":
            a, b = draw.broadcast_pair()
            return Case([make(a), make(b)], function, form=form)
        x, s = make(draw.shape()), float(make([1])) or 0.5
        call = (lambda x: function(x, s)) if form == "scalar" else (lambda x: function(torch.tensor(s, dtype=x.dtype), x))
        return Case([x], call, form=form, s=s)


for operator_name, operator_function, operator_values, operator_scalar_first in [
    ("operator+", lambda a, b: a + b, "normal", True),
    ("operator*", lambda a, b: a * b, "normal", True),
    ("operator/", lambda a, b: a / b, "uniform", True),
    ("operator==", lambda a, b: a == b, "halves", False),
    ("operator!=", lambda a, b: a != b, "halves", False),
    ("operator<", lambda a, b: a < b, "halves", False),
    ("operator<=", lambda a, b: a <= b, "halves", False),
    ("operator>", lambda a, b: a > b, "halves", False),
    ("operator>=", lambda a, b: a >= b, "halves", False),
]:
    register_operator(operator_name, operator_function, operator_values, operator_scalar_first)


@draws("operator-")
def minus(draw):
    form = draw.choice(["tensors", "scalar", "scalar_first", "unary"])
    if form == "tensors":
        a, b = draw.broadcast_pair()
        return Case([draw.normal(a), draw.normal(b)], lambda a, b: a - b, form=form)
    s = draw.number(-2, 2)
    calls = {"scalar": lambda x: x - s, "scalar_first": lambda x: s - x, "unary": lambda x: -x}
    return Case([draw.normal(draw.shape())], calls[form], form=form, s=s)


@draws("pow")
def power(draw):
    form = draw.choice(["number", "whole_number", "tensor", "whole_tensor"])
    method = draw.chance()
    if form == "number":
        p = draw.choice([0.5, -0.5, 2.5, draw.number(-3, 3)])
        return Case([draw.uniform(draw.shape())], lambda x: x**p, form="number", p=p)
    if form == "whole_number":  # of both signs, and of zero where that has a derivative
        p = draw.choice([0, 1, 2, 3, 4])
        return Case([draw.halves(draw.shape())], lambda x: x**p, form="number", p=p)
    a, b = draw.broadcast_pair()
    if form == "tensor":
        return Case([draw.uniform(a), draw.normal(b)], torch.pow, form="tensor", method=method)
    # A negative base has no derivative by the exponent.
    return Case([draw.halves(a), draw.indices(b, 0, 3).double()], torch.pow, fixed=[1], form="tensor", method=method)


@draws("where")
def where(draw):
    shape = draw.shape()
    parts = [draw.part_of(shape) for _ in range(3)]
    return Case([draw.mask(parts[0]), draw.normal(parts[1]), draw.normal(parts[2])], torch.where)


@draws("masked_fill")
def masked_fill(draw):
    shape = draw.shape()
    value = draw.choice([0.0, -INFINITY, draw.number(-2, 2)])
    return Case([draw.normal(shape), draw.mask(draw.part_of(shape))], lambda x, m: x.masked_fill(m, value), value=value)


@draws("clamp")
def clamp(draw):
    low = draw.choice([-1.0, -0.5, 0.0, -INFINITY])
    high = draw.choice([0.5, 1.0, 0.0, INFINITY])
    return Case([draw.halves(draw.shape())], lambda x: x.clamp(low, high), low=low, high=high)


def with_specials(draw):
    x = draw.normal(draw.shape(1, 2))
    for value in (INFINITY, -INFINITY, float("nan")):
        x[draw.mask(x.shape, true=0.2)] = value
    return x


@draws("isnan")
def isnan(draw):
    return Case([with_specials(draw)], torch.isnan, fixed=None)


@draws("isfinite")
def isfinite(draw):
    return Case([with_specials(draw)], torch.isfinite, fixed=None)


@draws("logical_and")
def logical_and(draw):
    a, b = draw.broadcast_pair()
    return Case([draw.mask(a), draw.mask(b)], torch.logical_and)


@draws("logical_or")
def logical_or(draw):
    a, b = draw.broadcast_pair()
    return Case([draw.mask(a), draw.mask(b)], torch.logical_or)


@draws("logical_not")
def logical_not(draw):
    return Case([draw.mask(draw.shape())], torch.logical_not)


@draws("to")
def to(draw):
    dtype = draw.choice(["f32", "f64", "i64", "bool"])
    types = {"f32": torch.float32, "f64": torch.float64, "i64": torch.int64, "bool": torch.bool}
    # Out through the dtype and back, so that the gradient has something to pass through. Halves are exact in f32.
    function = lambda x: x.to(types[dtype]).to(torch.float64)
    return Case([draw.halves(draw.shape())], function, dtype=dtype)


def register_in_place(name, function, values, scalar=False):
    """The target is a recorded copy of the first input, so that its history is rewritten too."""

    @draws(name)
    def drawer(draw):
        shape = draw.shape()
        make = getattr(draw, values)
        if scalar and draw.chance():
            s = float(make([1]))
            return Case([make(shape)], lambda x: function(x.clone(), s), form="scalar", s=s)
        return Case([make(shape), make(draw.part_of(shape))], lambda a, b: function(a.clone(), b), form="tensors")


for place_name, place_function, place_values, place_scalar in [
    ("add_", lambda a, b: a.add_(b), "normal", True),
    ("sub_", lambda a, b: a.sub_(b), "normal", False),
    ("mul_", lambda a, b: a.mul_(b), "normal", True),
    ("div_", lambda a, b: a.div_(b), "uniform", False),
    ("copy_", lambda a, b: a.copy_(b), "normal", False),
    ("operator+=", lambda a, b: a.add_(b), "normal", True),
    ("operator-=", lambda a, b: a.sub_(b), "normal", True),
    ("operator*=", lambda a, b: a.mul_(b), "normal", True),
    ("operator/=", lambda a, b: a.div_(b), "uniform", True),
]:
    register_in_place(place_name, place_function, place_values, place_scalar)


@draws("fill_")
def fill(draw):
    value = draw.number(-2, 2)
    return Case([draw.normal(draw.shape())], lambda x: x.clone().fill_(value), value=value)


@draws("zero_")
def zero(draw):
    return Case([draw.normal(draw.shape())], lambda x: x.clone().zero_())
