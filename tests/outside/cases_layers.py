"""Layers: the same weights, composed with torch.nn.functional. Parameters are inputs too, called as in state dicts."""

import torch
import torch.nn.functional as F

from cases_row_norms import apply_norm, norm_parameters
from cases_sums import attention
from draw import Case, draws, layer

ACTIVATIONS = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
    "identity": lambda x: x * 1,
}


def linear_parameters(draw, prefix, wide, out, bias=True):
    parameters = {prefix + "weight": draw.normal([out, wide]) * wide**-0.5}
    if bias:
        parameters[prefix + "bias"] = draw.normal([out])
    return parameters


def apply_linear(x, p, prefix):
    return F.linear(x, p[prefix + "weight"], p.get(prefix + "bias"))


@draws("Linear")
def linear(draw):
    wide, out, bias = draw.extent(1, 4), draw.extent(1, 4), draw.chance()
    x = draw.normal(draw.shape(0, 3) + [wide])
    parameters = linear_parameters(draw, "", wide, out, bias)
    return layer([x], parameters, lambda x, p: apply_linear(x, p, ""), out=out, bias=bias)


@draws("Embedding")
def embedding(draw):
    entries = draw.integer(1, 5)
    index = draw.indices(draw.shape(0, 3), 0, entries - 1)
    parameters = {"weight": draw.normal([entries, draw.integer(1, 4)])}
    return layer([index], parameters, lambda i, p: F.embedding(i, p["weight"]))


def register_activation(name, activation):
    @draws(name)
    def drawer(draw):
        return Case([draw.normal(draw.shape())], ACTIVATIONS[activation])


for module_name, module_activation in [
    ("Identity", "identity"),
    ("ReLU", "relu"),
    ("SiLU", "silu"),
    ("Tanh", "tanh"),
    ("Sigmoid", "sigmoid"),
    ("Softplus", "softplus"),
]:
    register_activation(module_name, module_activation)


@draws("GELU")
def gelu(draw):
    form = draw.choice(["erf", "tanh"])
    return Case([draw.normal(draw.shape())], ACTIVATIONS["gelu" if form == "erf" else "gelu_tanh"], form=form)


@draws("Activation")
def activation(draw):
    name = draw.choice(list(ACTIVATIONS))
    return Case([draw.normal(draw.shape())], ACTIVATIONS[name], name=name)


@draws("Dropout")
def dropout(draw):
    return Case([draw.normal(draw.shape())], lambda x: x * 1, p=draw.number(0, 0.9))


@draws("Sequential")
def sequential(draw):
    wide, hidden, out = draw.integer(1, 4), draw.integer(1, 4), draw.integer(1, 4)
    parameters = linear_parameters(draw, "0.", wide, hidden) | linear_parameters(draw, "2.", hidden, out)
    function = lambda x, p: apply_linear(torch.tanh(apply_linear(x, p, "0.")), p, "2.")
    return layer([draw.normal(draw.shape(0, 2) + [wide])], parameters, function, hidden=hidden, out=out)


def rotary(x, base=10000.0, offset=0):
    """Pairs (x_i, x_{i + d/2}) as complex numbers, turned by position * base^(-2i / d)."""
    half = x.shape[-1] // 2
    positions = torch.arange(offset, offset + x.shape[-2], dtype=torch.float64)
    angles = positions[:, None] * base ** (-torch.arange(half, dtype=torch.float64) / half)
    turned = torch.complex(x[..., :half], x[..., half:]) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([turned.real, turned.imag], -1)


@draws("rotate")
def rotate(draw):
    base, offset = draw.choice([10000.0, 100.0]), draw.integer(0, 50)
    x = draw.normal(draw.shape(0, 2) + [draw.integer(1, 4), 2 * draw.integer(1, 3)])
    return Case([x], lambda x: rotary(x, base, offset), base=base, offset=offset)


@draws("rotary_table")
def rotary_table(draw):
    length, half, offset, base = draw.integer(0, 4), draw.integer(1, 3), draw.integer(0, 50), draw.number(10, 10000)

    def function():
        angles = torch.arange(offset, offset + length)[:, None] * base ** (-torch.arange(half).double() / half)
        return torch.cos(angles), torch.sin(angles)

    return Case([], function, length=length, d=2 * half, offset=offset, base=base)


def attention_setup(draw):
    """Options and parameters of a multi-head attention."""
    heads, d = draw.choice([1, 2, 4]), 2 * draw.integer(1, 2)
    o = {"embed_dim": heads * d, "num_heads": heads}
    o["kv_heads"] = draw.choice([f for f in (1, 2, 4) if heads % f == 0]) if draw.chance() else 0
    o["bias"], o["out_bias"], o["causal"], o["rotary"] = (draw.chance() for _ in range(4))
    o["softcap"] = draw.number(0.5, 5) if draw.chance(0.3) else 0
    return o


def attention_norm_setup(draw, o):
    """Norms inside attention, each a switch of its own, and a temperature."""
    for part in ("q", "k", "v", "context", "out"):
        o[part + "_norm"] = draw.choice(["none", "none", "layer", "rms"])
    o["norm_eps"] = draw.choice([1e-5, 0.01])
    o["whole"] = draw.chance(0.3)
    o["after_rotary"] = not o["whole"] and draw.chance()
    o["temperature"] = draw.choice(["none", "divide", "multiply"])
    o["temperature_heads"] = draw.choice([1, o["num_heads"]])
    return o


def attention_parameters(draw, o, prefix=""):
    wide, heads, d = o["embed_dim"], o["num_heads"], o["embed_dim"] // o["num_heads"]
    kv_heads = o["kv_heads"] or heads
    parameters = linear_parameters(draw, prefix + "qkv_proj.", wide, (heads + 2 * kv_heads) * d, o["bias"])
    for part, extent in (("q", heads), ("k", kv_heads), ("v", kv_heads), ("context", heads), ("out", 0)):
        width = wide if part == "out" else extent * d if o.get("whole") else d
        parameters |= norm_parameters(draw, f"{prefix}{part}_norm.", o.get(part + "_norm", "none"), width)
    if o.get("temperature", "none") != "none":
        count = o["temperature_heads"]
        parameters[prefix + "temperature.weight"] = draw.uniform([1] if count == 1 else [count, 1, 1])
    return parameters | linear_parameters(draw, prefix + "out_proj.", wide, wide, o["out_bias"])


def apply_attention(x, p, o, prefix="", mask=None):
    heads, d = o["num_heads"], o["embed_dim"] // o["num_heads"]
    kv_heads, whole, after = o["kv_heads"] or heads, o.get("whole"), o.get("after_rotary")
    norm = lambda part, x: apply_norm(x, p, f"{prefix}{part}_norm.", o.get(part + "_norm", "none"), o.get("norm_eps"))
    parts = apply_linear(x, p, prefix + "qkv_proj.").split([heads * d, kv_heads * d, kv_heads * d], -1)
    if whole:
        parts = [norm(name, part) for name, part in zip("qkv", parts)]
    q, k, v = (part.unflatten(-1, (-1, d)).transpose(-3, -2) for part in parts)
    if o["rotary"] and after:
        q, k = rotary(q), rotary(k)
    if not whole:
        q, k, v = norm("q", q), norm("k", k), norm("v", v)
    if o["rotary"] and not after:
        q, k = rotary(q), rotary(k)
    if o.get("temperature", "none") != "none":
        number = p[prefix + "temperature.weight"]
        q = d**0.5 * (q / number if o["temperature"] == "divide" else q * number)  # attention() divides by sqrt(d)
    y = attention(q, k, v, mask, causal=o["causal"], cap=o["softcap"])
    y = (y if whole else norm("context", y)).transpose(-3, -2).flatten(-2)
    return norm("out", apply_linear(norm("context", y) if whole else y, p, prefix + "out_proj."))


def check_against_torch(x, p, o, mask, y):
    """What PyTorch's own multi-head attention covers must agree with the composition, before anyone relies on it."""
    if x.dim() != 3 or o["rotary"] or o["softcap"] or o["kv_heads"] not in (0, o["num_heads"]) or "whole" in o:
        return
    batch, length, wide = x.shape
    seen = torch.ones(batch, o["num_heads"], length, length, dtype=torch.bool)
    if o["causal"]:
        seen = seen.tril()
    bias = torch.zeros(seen.shape, dtype=torch.float64)
    if mask is not None and mask.dtype == torch.bool:
        seen = seen & mask
    elif mask is not None:
        bias = bias + mask
    if not seen.any(-1).all() or (bias == -float("inf")).any():
        return  # rows without keys are NaN there
    bias = bias.masked_fill(~seen, -float("inf")).flatten(0, 1)
    in_bias = p.get("qkv_proj.bias")
    theirs = F.multi_head_attention_forward(
        *[x.transpose(0, 1)] * 3,
        wide,
        o["num_heads"],
        p["qkv_proj.weight"],
        in_bias,
        None,
        None,
        False,
        0.0,
        p["out_proj.weight"],
        p.get("out_proj.bias"),
        training=False,
        need_weights=False,
        attn_mask=bias,
    )[0].transpose(0, 1)
    assert torch.allclose(theirs, y, rtol=1e-12, atol=1e-12), (theirs - y).abs().max()


@draws("MultiheadAttention")
def multihead_attention(draw):
    o = attention_setup(draw)
    if draw.chance():
        o = attention_norm_setup(draw, o)
    batch, length = draw.integer(1, 2), draw.extent(1, 5)
    x = draw.normal([batch, length, o["embed_dim"]])
    kind = draw.choice(["none", "boolean", "floating", "padding", "both"])
    inputs = [x]
    if kind in ("boolean", "floating", "both"):
        shape = draw.choice([[], [batch], [batch, o["num_heads"]]]) + [length, length]
        inputs.append(draw.normal(shape) if kind == "floating" else draw.mask(shape))
    if kind in ("padding", "both"):
        inputs.append(draw.mask([batch, length]))

    def function(x, *rest):
        masks, p = rest[:-1], rest[-1]
        mask = masks[0] if masks else None
        if kind == "padding":
            mask = mask[:, None, None, :]
        elif mask is not None and mask.dim() == 3:
            mask = mask[:, None]
        if kind == "both":
            mask = mask & masks[1][:, None, None, :]
        y = apply_attention(x, p, o, mask=mask)
        check_against_torch(x, p, o, mask, y)
        return y

    return layer(inputs, attention_parameters(draw, o), function, mask=kind, **o)


@draws("KeyValueCache")
def key_value_cache(draw):
    """Attention fed in pieces through a cache is causal attention over the whole."""
    o = attention_setup(draw) | {"causal": True}
    length = draw.extent(2, 5)
    x = draw.normal([draw.integer(1, 2), length, o["embed_dim"]])
    case = layer([x], attention_parameters(draw, o), lambda x, p: apply_attention(x, p, o), **o)
    case.options["first"] = draw.integer(1, length - 1)
    case.fixed = set(range(len(case.inputs)))
    return case


def feed_forward_parameters(draw, name, wide, hidden, bias, prefix=""):
    parameters = {}
    for part in ["gate_proj.", "up_proj."] if name == "swiglu" else ["up_proj."]:
        parameters |= linear_parameters(draw, prefix + part, wide, hidden, bias and name != "swiglu")
    return parameters | linear_parameters(draw, prefix + "down_proj.", hidden, wide, bias and name != "swiglu")


def apply_feed_forward(x, p, name, prefix=""):
    hidden = apply_linear(x, p, prefix + "up_proj.")
    if name == "swiglu":
        hidden = F.silu(apply_linear(x, p, prefix + "gate_proj.")) * hidden
    else:
        hidden = ACTIVATIONS[name](hidden)
    return apply_linear(hidden, p, prefix + "down_proj.")


@draws("FeedForward")
def feed_forward(draw):
    wide, hidden, bias = draw.extent(1, 4), draw.extent(1, 6), draw.chance()
    name = draw.choice(list(ACTIVATIONS))
    parameters = feed_forward_parameters(draw, name, wide, hidden, bias)
    x = draw.normal(draw.shape(0, 2) + [wide])
    function = lambda x, p: apply_feed_forward(x, p, name)
    return layer([x], parameters, function, hidden_dim=hidden, bias=bias, activation=name)


@draws("SwiGLU")
def swiglu(draw):
    wide, hidden, bias = draw.extent(1, 4), draw.extent(1, 6), draw.chance()
    parameters = {}
    for part, extents in (("gate_proj.", (wide, hidden)), ("up_proj.", (wide, hidden)), ("down_proj.", (hidden, wide))):
        parameters |= linear_parameters(draw, part, *extents, bias)
    x = draw.normal(draw.shape(0, 2) + [wide])
    return layer([x], parameters, lambda x, p: apply_feed_forward(x, p, "swiglu"), hidden_dim=hidden, bias=bias)


@draws("make_feed_forward")
def make_feed_forward(draw):
    wide, hidden, bias = draw.extent(1, 4), draw.extent(1, 6), draw.chance()
    name = draw.choice(["swiglu", *ACTIVATIONS])
    parameters = feed_forward_parameters(draw, name, wide, hidden, bias)
    x = draw.normal(draw.shape(0, 2) + [wide])
    function = lambda x, p: apply_feed_forward(x, p, name)
    return layer([x], parameters, function, name=name, hidden_dim=hidden, bias=bias)


@draws("PreNormBlock")
def pre_norm_block(draw):
    o = attention_setup(draw)
    norm, name, eps = draw.choice(["layer", "rms"]), draw.choice(["gelu", "relu", "swiglu"]), draw.choice([1e-5, 0.01])
    wide, hidden = o["embed_dim"], draw.integer(2, 6)
    parameters = (
        norm_parameters(draw, "norm1.", norm, wide)
        | attention_parameters(draw, o, "attention.")
        | norm_parameters(draw, "norm2.", norm, wide)
        | feed_forward_parameters(draw, name, wide, hidden, o["bias"], "ffn.")
    )

    def function(x, p):
        h = x + apply_attention(apply_norm(x, p, "norm1.", norm, eps), p, o, "attention.")
        return h + apply_feed_forward(apply_norm(h, p, "norm2.", norm, eps), p, name, "ffn.")

    x = draw.normal([draw.integer(1, 2), draw.extent(1, 4), wide])
    return layer([x], parameters, function, norm=norm, eps=eps, feed_forward=name, hidden_dim=hidden, **o)
