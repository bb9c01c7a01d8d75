"""Creation, views, joining and indexing."""

import torch
import torch.nn.functional as F

from draw import Case, draws


def dtype_of(name):
    return {"f64": torch.float64, "i64": torch.int64}[name]


def register_filled(name, make):
    @draws(name)
    def drawer(draw):
        shape, dtype = draw.shape(low=0), draw.choice(["f64", "i64"])
        value = draw.integer(-3, 3)
        return Case([], lambda: make(shape, value, dtype_of(dtype)), shape=shape, dtype=dtype, value=value)


register_filled("zeros", lambda shape, value, dtype: torch.zeros(shape, dtype=dtype))
register_filled("ones", lambda shape, value, dtype: torch.ones(shape, dtype=dtype))
register_filled("full", lambda shape, value, dtype: torch.full(shape, value, dtype=dtype))


@draws("arange")
def arange(draw):
    start, step = draw.integer(-4, 4), draw.choice([1, 2, 3, -1, -2, 0.5, -0.25])
    stop = start + draw.integer(0, 6) * (1 if step > 0 else -1) * draw.choice([1, 0.75])
    dtype = "f64" if step != int(step) or stop != int(stop) else draw.choice(["f64", "i64"])
    function = lambda: torch.arange(start, stop, step, dtype=dtype_of(dtype))
    return Case([], function, start=start, stop=stop, step=step, dtype=dtype)


@draws("eye")
def eye(draw):
    n = draw.integer(0, 4)
    return Case([], lambda: torch.eye(n, dtype=torch.float64), n=n)


def factors(draw, extent):
    """Two factors of the extent, one of them as -1 at times."""
    first = draw.choice([f for f in range(1, extent + 1) if extent % f == 0])
    pair = [first, extent // first]
    if draw.chance():
        pair[draw.integer(0, 1)] = -1
    return pair


def register_reshape(name, contiguous):
    @draws(name)
    def drawer(draw):
        x = draw.normal(draw.shape(1, 3))
        turned = not contiguous and draw.chance() and x.dim() > 1  # then reshape has to copy
        shape = factors(draw, x.numel())
        function = lambda x: (x.transpose(0, -1) if turned else x).reshape(shape)
        return Case([x], function, shape=shape, turned=turned)


register_reshape("reshape", contiguous=False)
register_reshape("view", contiguous=True)


@draws("flatten")
def flatten(draw):
    x = draw.normal(draw.shape(0, 4))
    if x.dim() == 0:
        return Case([x], torch.flatten, first=0, last=-1)
    first, last = sorted([draw.integer(0, x.dim() - 1), draw.integer(0, x.dim() - 1)])
    if draw.chance():
        last -= x.dim()
    return Case([x], lambda x: x.flatten(first, last), first=first, last=last)


@draws("unflatten")
def unflatten(draw):
    x = draw.normal(draw.shape(1, 3, high=6))
    axis = draw.axis(x.dim())
    parts = factors(draw, x.shape[axis])
    return Case([x], lambda x: x.unflatten(axis, tuple(parts)), axis=axis, parts=parts)


@draws("permute")
def permute(draw):
    x = draw.normal(draw.shape(1, 4))
    axes = [int(a) - (x.dim() if draw.chance(0.3) else 0) for a in draw.random.permutation(x.dim())]
    return Case([x], lambda x: x.permute(axes), axes=axes)


@draws("transpose")
def transpose(draw):
    x = draw.normal(draw.shape(1, 4))
    first, second = draw.axis(x.dim()), draw.axis(x.dim())
    return Case([x], lambda x: x.transpose(first, second), first=first, second=second)


@draws("t")
def t(draw):
    return Case([draw.normal(draw.shape(2, 2))], torch.t)


@draws("squeeze")
def squeeze(draw):
    x = draw.normal(draw.shape(1, 4, high=2))
    axis = draw.axis(x.dim())
    return Case([x], lambda x: x.squeeze(axis), axis=axis)


@draws("unsqueeze")
def unsqueeze(draw):
    x = draw.normal(draw.shape(0, 3))
    axis = draw.axis(x.dim() + 1)
    return Case([x], lambda x: x.unsqueeze(axis), axis=axis)


@draws("expand")
def expand(draw):
    shape = draw.shape(1, 4)
    return Case([draw.normal(draw.part_of(shape))], lambda x: x.expand(shape), shape=shape)


def python_slice(draw, extent):
    """start, stop, step, at times beyond the ends or counted from the end."""
    start, stop = draw.integer(-extent - 1, extent), draw.integer(-extent, extent + 2)
    return start, stop, draw.integer(1, 3)


@draws("slice")
def slice_of(draw):
    x = draw.normal(draw.shape(1, 3, high=5))
    axis = draw.integer(0, x.dim() - 1)
    start, stop, step = python_slice(draw, x.shape[axis])
    places = (slice(None),) * axis + (slice(start, stop, step),)
    return Case([x], lambda x: x[places], axis=axis, start=start, stop=stop, step=step)


@draws("narrow")
def narrow(draw):
    x = draw.normal(draw.shape(1, 3, high=5))
    axis = draw.axis(x.dim())
    start = draw.integer(0, x.shape[axis])
    length = draw.integer(0, x.shape[axis] - start)
    return Case([x], lambda x: x.narrow(axis, start, length), axis=axis, start=start, length=length)


@draws("select")
def select(draw):
    x = draw.normal(draw.shape(1, 3))
    axis = draw.axis(x.dim())
    position = draw.axis(x.shape[axis])
    return Case([x], lambda x: x.select(axis, position), axis=axis, position=position)


@draws("operator[]")
def brackets(draw):
    x = draw.normal(draw.shape(1, 3))
    position = draw.axis(x.shape[0])
    return Case([x], lambda x: x[position], position=position)


@draws("index")
def index(draw):
    x = draw.normal(draw.shape(1, 4))
    places, numbers = [], []  # four numbers a place: 1 position 0 0, or 0 start stop step
    for extent in x.shape[: draw.integer(1, min(3, x.dim()))]:
        if draw.chance():
            places.append(draw.axis(extent))
            numbers += [1, places[-1], 0, 0]
        else:
            bounds = python_slice(draw, extent)
            places.append(slice(*bounds))
            numbers += [0, *bounds]
    return Case([x], lambda x: x[tuple(places)], places=numbers)


def register_parts(name, function):
    @draws(name)
    def drawer(draw):
        x = draw.normal(draw.shape(1, 3, high=5))
        size, axis = draw.integer(1, 4), draw.axis(x.dim())
        return Case([x], lambda x: function(x, size, axis), size=size, axis=axis)


register_parts("split", torch.split)
register_parts("chunk", torch.chunk)


@draws("cat")
def cat(draw):
    shape = draw.shape(1, 3, low=0 if draw.chance(0.1) else 1)
    axis = draw.axis(len(shape))
    parts = []
    for _ in range(draw.integer(1, 3)):
        shape[axis] = draw.integer(0 if draw.chance(0.2) else 1, 3)
        # PyTorch alone lets an empty vector pass among tensors of any shape; there is none such here.
        parts.append(draw.normal(shape))
    return Case(parts, lambda *xs: torch.cat(xs, axis), axis=axis)


@draws("stack")
def stack(draw):
    shape = draw.shape(0, 3)
    axis = draw.axis(len(shape) + 1)
    return Case([draw.normal(shape) for _ in range(draw.integer(1, 3))], lambda *xs: torch.stack(xs, axis), axis=axis)


@draws("pad")
def pad(draw):
    x = draw.normal(draw.shape(1, 3))
    amounts = [draw.integer(0, 2) for _ in range(2 * draw.integer(1, x.dim()))]
    value = draw.choice([0.0, draw.number(-2, 2)])
    return Case([x], lambda x: F.pad(x, amounts, value=value), amounts=amounts, value=value)


@draws("gather")
def gather(draw):
    x = draw.normal(draw.shape(1, 3))
    axis = draw.axis(x.dim())
    shape = [draw.integer(1, extent) for extent in x.shape]
    shape[axis] = draw.integer(1, 5)
    return Case([x, draw.indices(shape, 0, x.shape[axis] - 1)], lambda x, i: x.gather(axis, i), axis=axis)


@draws("scatter_add")
def scatter_add(draw):
    shape = draw.shape(1, 3)
    axis = draw.axis(len(shape))
    extents = [draw.integer(1, extent) for extent in shape]
    extents[axis] = draw.integer(1, 5)
    function = lambda x, i: torch.zeros(shape, dtype=x.dtype).scatter_add(axis, i, x)
    return Case([draw.normal(extents), draw.indices(extents, 0, shape[axis] - 1)], function, axis=axis, shape=shape)


@draws("index_select")
def index_select(draw):
    x = draw.normal(draw.shape(1, 3))
    axis = draw.axis(x.dim())
    return Case(
        [x, draw.indices([draw.integer(1, 5)], 0, x.shape[axis] - 1)], lambda x, i: x.index_select(axis, i), axis=axis
    )


@draws("embedding")
def embedding(draw):
    entries = draw.integer(1, 5)
    index = draw.indices(draw.shape(0, 3), 0, entries - 1)
    return Case([index, draw.normal([entries, draw.integer(1, 4)])], F.embedding)


@draws("one_hot")
def one_hot(draw):
    classes = draw.integer(1, 4)
    index = draw.indices(draw.shape(0, 3), 0, classes - 1)
    return Case([index], lambda i: F.one_hot(i, classes), classes=classes)


def register_triangle(name, function):
    @draws(name)
    def drawer(draw):
        diagonal = draw.integer(-3, 3)
        return Case([draw.normal(draw.shape(2, 4))], lambda x: function(x, diagonal), diagonal=diagonal)


register_triangle("tril", torch.tril)
register_triangle("triu", torch.triu)


@draws("dropout")
def dropout(draw):
    """What is not random: evaluation with any p, and training with p = 0."""
    training = draw.chance()
    p = 0.0 if training else draw.number(0, 0.9)
    return Case([draw.normal(draw.shape())], lambda x: F.dropout(x, p, training), p=p, training=training)
