"""Reductions, products, the softmax family, losses and attention."""

import numpy as np
import torch
import torch.nn.functional as F

from draw import Case, draws

LETTERS = "abcde"


def register_reduction(name, function, values, low=1):
    @draws(name)
    def drawer(draw):
        x = getattr(draw, values)(draw.shape(1, 3, low=0 if low == 0 and draw.chance(0.2) else 1))
        axes, keep = draw.axes(x.dim()), draw.chance()
        every = axes or list(range(x.dim()))
        return Case([x], lambda x: function(x, every, keep), axes=axes, keep=keep)


register_reduction("sum", lambda x, axes, keep: x.sum(axes, keep), "normal", low=0)
register_reduction("mean", lambda x, axes, keep: x.mean(axes, keep), "normal")
register_reduction("amax", lambda x, axes, keep: x.amax(axes, keep), "halves")
register_reduction("norm", lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keep), "halves")
register_reduction("logsumexp", lambda x, axes, keep: x.logsumexp(axes, keep), "normal")


def register_moment(name, function):
    @draws(name)
    def drawer(draw):
        x = draw.normal(draw.shape(1, 3, low=2)) * 2 + draw.choice([0, 100])
        axes, unbiased, keep = draw.axes(x.dim()), draw.chance(), draw.chance()
        every = axes or list(range(x.dim()))
        return Case([x], lambda x: function(x, every, unbiased, keep), axes=axes, unbiased=unbiased, keep=keep)


register_moment("var", torch.var)
register_moment("std", torch.std)


def first_place(x, axis, largest):
    """PyTorch does not say which of several equal places it takes; NumPy takes the first."""
    array = x.detach().numpy()
    return torch.from_numpy(np.asarray(array.argmax(axis) if largest else array.argmin(axis)))


def register_extreme(name, largest):
    @draws(name)
    def drawer(draw):
        x = draw.halves(draw.shape(1, 3))
        if draw.chance(0.3):  # over all, the gradient shared among equals
            return Case([x], torch.max if largest else torch.min)
        axis, keep = draw.axis(x.dim()), draw.chance()

        def function(x):
            places = first_place(x, axis, largest).unsqueeze(axis)
            values = x.gather(axis, places)
            return (values, places) if keep else (values.squeeze(axis), places.squeeze(axis))

        return Case([x], function, axis=axis, keep=keep)

    @draws("arg" + name)
    def place_drawer(draw):
        x = draw.halves(draw.shape(1, 3))
        axis, keep = draw.axis(x.dim()), draw.chance()
        function = lambda x: first_place(x, axis, largest).unsqueeze(axis) if keep else first_place(x, axis, largest)
        return Case([x], function, fixed=None, axis=axis, keep=keep)


register_extreme("max", largest=True)
register_extreme("min", largest=False)


@draws("any")
def any_true(draw):
    return Case([draw.mask(draw.shape(0, 2), true=draw.choice([0.0, 0.3]))], torch.any)


@draws("all")
def all_true(draw):
    return Case([draw.mask(draw.shape(0, 2), true=draw.choice([1.0, 0.7]))], torch.all)


def register_along(name, function):
    @draws(name)
    def drawer(draw):
        x = draw.normal(draw.shape(1, 4)) * draw.choice([1, 20])
        axis = draw.axis(x.dim())
        return Case([x], lambda x: function(x, axis), axis=axis, method=draw.chance())


register_along("cumsum", torch.cumsum)
register_along("softmax", torch.softmax)
register_along("log_softmax", torch.log_softmax)


@draws("matmul")
def matmul(draw):
    n, k, m = (draw.extent(0 if draw.chance(0.05) else 1, 4) for _ in range(3))
    batch_a, batch_b = draw.broadcast_pair(high_rank=2, high=3)
    a = draw.choice([[k], batch_a + [n, k], batch_a + [n, k], [n, k]])
    b = draw.choice([[k], batch_b + [k, m], batch_b + [k, m], [k, m]])
    return Case([draw.normal(a), draw.normal(b)], torch.matmul, method=draw.chance())


@draws("linear")
def linear(draw):
    wide, out = draw.extent(1, 4), draw.extent(1, 4)
    inputs = [draw.normal(draw.shape(0, 3, low=0 if draw.chance(0.05) else 1) + [wide]), draw.normal([out, wide])]
    if draw.chance():
        inputs.append(draw.normal([out]))
    return Case(inputs, F.linear)


def labels(draw, letters, low):
    order = draw.random.permutation(list(letters))
    return "".join(order[: draw.integer(low, min(3, len(order)))])


@draws("einsum")
def einsum(draw):
    a, b = labels(draw, LETTERS, 1), labels(draw, LETTERS, 1)
    equation = f"{a},{b}" if draw.chance(0.3) else f"{a},{b}->{labels(draw, sorted(set(a + b)), 0)}"
    extents = {letter: draw.extent(1, 3) for letter in LETTERS}
    inputs = [draw.normal([extents[letter] for letter in operand]) for operand in (a, b)]
    return Case(inputs, lambda a, b: torch.einsum(equation, a, b), equation=equation)


@draws("cross_entropy")
def cross_entropy(draw):
    classes, shape = draw.extent(1, 5), draw.shape(0, 2)
    ignored = draw.choice([-100, -1, 0, classes - 1])
    targets = draw.indices(shape, 0, classes - 1)
    if draw.chance():
        targets[draw.mask(shape, true=0.4)] = ignored
    smoothing = draw.choice([0.0, 0.1, draw.number(0, 1)])
    reduction = draw.choice(["none", "mean", "sum"])

    def function(logits, targets):
        losses = F.cross_entropy(
            logits.reshape(-1, classes),
            targets.reshape(-1),
            ignore_index=ignored,
            label_smoothing=smoothing,
            reduction=reduction,
        )
        return losses.reshape(targets.shape) if reduction == "none" else losses

    return Case(
        [draw.normal(shape + [classes]) * 2, targets],
        function,
        ignore_index=ignored,
        smoothing=smoothing,
        reduction=reduction,
    )


@draws("binary_cross_entropy_with_logits")
def binary_cross_entropy(draw):
    shape, reduction = draw.shape(), draw.choice(["none", "mean", "sum"])
    logits = draw.normal(shape) * draw.choice([1, 30])
    targets = draw.uniform(shape, 0, 1) if draw.chance() else draw.mask(shape).double()
    function = lambda x, t: F.binary_cross_entropy_with_logits(x, t, reduction=reduction)
    return Case([logits, targets], function, reduction=reduction)


@draws("mse_loss")
def mse_loss(draw):
    shape, reduction = draw.shape(), draw.choice(["none", "mean", "sum"])
    return Case(
        [draw.normal(shape), draw.normal(shape)],
        lambda x, t: F.mse_loss(x, t, reduction=reduction),
        reduction=reduction,
    )


def attention(q, k, v, mask=None, causal=False, scale=None, cap=0):
    """softmax(scale q k^T) v; the last query sees all keys when causal, and a row that sees none gives 0."""
    group = q.shape[-3] // k.shape[-3]
    k, v = k.repeat_interleave(group, -3), v.repeat_interleave(group, -3)
    scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if cap > 0:
        scores = cap * torch.tanh(scores / cap)
    seen = torch.ones(scores.shape, dtype=torch.bool)
    if causal:
        seen &= torch.ones(scores.shape[-2:], dtype=torch.bool).tril(scores.shape[-1] - scores.shape[-2])
    if mask is not None and mask.dtype == torch.bool:
        seen = seen & mask
    elif mask is not None:
        seen = seen & (mask != -float("inf"))
        scores = scores + mask
    blind = ~seen.any(-1, keepdim=True)
    scores = scores.masked_fill(~seen, -float("inf")).masked_fill(blind, 0)
    return torch.softmax(scores, -1).masked_fill(blind, 0) @ v


@draws("scaled_dot_product_attention")
def scaled_dot_product_attention(draw):
    lead, kv_heads, group = draw.shape(0, 2, high=2), draw.integer(1, 2), draw.integer(1, 2)
    queries, keys = draw.extent(1, 4), draw.extent(1, 4)
    d, d_v = draw.extent(1, 4), draw.extent(1, 4)
    d_v = d if draw.chance() else d_v
    inputs = [
        draw.normal(lead + [kv_heads * group, queries, d]) * 2,
        draw.normal(lead + [kv_heads, keys, d]),
        draw.normal(lead + [kv_heads, keys, d_v]),
    ]
    options, fixed = {}, []
    kind = draw.choice(["none", "boolean", "floating", "infinite"])
    if kind != "none":
        shape = draw.part_of(lead + [kv_heads * group, queries, keys])
        mask = draw.mask(shape) if kind == "boolean" else draw.normal(shape)
        if kind == "infinite":
            mask = mask.masked_fill(draw.mask(shape, true=0.4), -float("inf"))
        if kind == "infinite" or draw.chance():  # a floating mask has a gradient as well
            fixed = [3]
        inputs.append(mask)
    if draw.chance():
        options["causal"] = True
    if draw.chance():
        options["scale"] = draw.number(0.1, 2)
    if draw.chance(0.3):
        options["cap"] = draw.number(0.5, 5)
    return Case(inputs, lambda q, k, v, mask=None: attention(q, k, v, mask, **options), fixed=fixed, **options)
