"""The basic ops, one by one, by the names of basic_ops.cpp: x [rows, d], and y and a row beside it."""

from types import SimpleNamespace

import torch
import torch.nn.functional as F

from torch_inputs import ForwardAndBackward, indices, leaf, numbers

OF_ANY = {
    "add": lambda i: i.x + i.y,
    "mul": lambda i: i.x * i.y,
    "add_row": lambda i: i.x + i.row,
    "maximum": lambda i: torch.maximum(i.x, i.y),
    "where": lambda i: torch.where(i.y > 0, i.x, i.y),
    "masked_fill": lambda i: i.x.masked_fill(i.y > 0, -1),
    "clamp": lambda i: i.x.clamp(-1, 1),
    "exp": lambda i: i.x.exp(),
    "expm1": lambda i: i.x.expm1(),
    "tanh": lambda i: i.x.tanh(),
    "sigmoid": lambda i: i.x.sigmoid(),
    "erf": lambda i: i.x.erf(),
    "sin": lambda i: i.x.sin(),
    "abs": lambda i: i.x.abs(),
    "square": lambda i: i.x.square(),
    "relu": lambda i: i.x.relu(),
    "gelu": lambda i: F.gelu(i.x),
    "silu": lambda i: F.silu(i.x),
    "softplus": lambda i: F.softplus(i.x),
    "softmax": lambda i: i.x.softmax(-1),
    "softmax_of_columns": lambda i: i.x.softmax(0),
    "log_softmax": lambda i: i.x.log_softmax(-1),
    "logsumexp": lambda i: i.x.logsumexp(-1),
    "sum": lambda i: i.x.sum(),
    "sum_of_rows": lambda i: i.x.sum(-1),
    "sum_of_columns": lambda i: i.x.sum(0),
    "amax_of_rows": lambda i: i.x.amax(-1),
    "argmax_of_rows": lambda i: i.x.argmax(-1),
    "var_of_rows": lambda i: i.x.var(-1),
    "norm_of_rows": lambda i: i.x.norm(dim=-1),
    "cumsum": lambda i: i.x.cumsum(-1),
    "transposed": lambda i: i.x.t().contiguous(),
    "cat": lambda i: torch.cat([i.x, i.y], 1),
    "gather": lambda i: i.x.gather(1, i.column),
    "index_select": lambda i: i.x.index_select(1, i.column[0]),
    "times_vector": lambda i: i.x @ i.row.unsqueeze(1),
    "vector_times": lambda i: i.y[:, 0].unsqueeze(0) @ i.x,
    "mse_loss": lambda i: F.mse_loss(i.x, i.y),
    "bce_with_logits": lambda i: F.binary_cross_entropy_with_logits(i.x, i.y.sigmoid()),
}
OF_POSITIVE = {
    "div": lambda i: i.y / i.x,
    "log": lambda i: i.x.log(),
    "log1p": lambda i: i.x.log1p(),
    "sqrt": lambda i: i.x.sqrt(),
    "rsqrt": lambda i: i.x.rsqrt(),
    "pow": lambda i: i.x.pow(2.5),
}


def make_basic(op, e):
    """basic_NAME of the tables above."""
    name = op[len("basic_") :]
    of_any = name in OF_ANY
    f = OF_ANY[name] if of_any else OF_POSITIVE[name]
    x = leaf("x", e, 3) if of_any else leaf("x", e, 1, 1.5)
    inputs = SimpleNamespace(x=x, y=numbers("y", e, 2), row=numbers("row", [e[1]]), column=indices("column", e, e[1]))
    if f(inputs).requires_grad:
        return ForwardAndBackward({"x": x}, lambda: f(inputs))
    return Forward(lambda: f(inputs))


class Forward:
    """Of an op without gradients."""

    def __init__(self, f):
        self.run = f

    def results(self):
        return {"y": self.run().float()}
