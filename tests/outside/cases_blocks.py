"""Transformer blocks in every named placement, written from the papers' equations (N1, N2: norms of a sublayer)."""

import re

from cases_layers import (
    apply_attention,
    apply_feed_forward,
    apply_norm,
    attention_parameters,
    attention_setup,
    feed_forward_parameters,
    layer,
    norm_parameters,
)
from draw import Case, draws

FAMILY = [
    pre + letters + end
    for pre in ("", "pre-")
    for letters in ("qkvc", "qkv", "qkc", "qk", "kv", "kc")
    for end in ("-post", "-pre")
]
NAMES = ["pre", "post", "qk", "qkv", "qkvc", "softcap", "rybakov-qk", "rybakov-qk-cap", "rybakov-qkv", "rybakov-qk-fc"]
NAMES += ["mix", "hybrid", "hybrid*", "deepnorm", "sandwich", "output", "scaled-pre", "layer-scale", "rezero"]
NAMES += FAMILY + ["pre-post", "post-pre"]


def sublayers(name, index, layers):
    """The residual schemes of attention and feed-forward."""
    if name == "mix":
        name = "post" if index < layers // 4 else "pre"
    if name in ("pre", "qk", "softcap", "rybakov-qk", "rybakov-qk-cap"):
        return "pre", "pre"
    if name in ("qkv", "qkvc", "rybakov-qkv"):
        return "plain", "pre"
    if name == "rybakov-qk-fc":
        return "sandwich", "sandwich"
    if name == "hybrid":
        return "plain", "normed"
    if name == "hybrid*":
        return "pre" if index == 0 else "plain", "normed"
    if name in FAMILY:
        return "pre" if name.startswith("pre-") else "plain", "normed" if name.endswith("-post") else "pre"
    if name == "pre-post":
        return "pre", "normed"
    if name == "post-pre":
        return "normed", "pre"
    return name, name


def normalized_parts(name):
    if name in ("hybrid", "hybrid*"):
        return "qkv"
    letters = re.search("qkvc|qkv|qkc|qk|kv|kc", name)
    return letters[0] if letters else ""


def enter(scheme, x, f, n1, n2, index, layers):
    """One sublayer f in its scheme; n1 and n2 are its norms."""
    if scheme == "plain":
        return x + f(x)
    if scheme == "pre":
        return x + f(n1(x))
    if scheme == "post":
        return n1(x + f(x))
    if scheme == "normed":
        return n1(x) + f(n1(x))
    if scheme in ("output", "rezero"):
        return x + n1(f(x))
    if scheme in ("sandwich", "layer-scale"):
        return x + n2(f(n1(x)))
    if scheme == "deepnorm":
        return n1((2 * layers) ** 0.25 * x + f(x))
    assert scheme == "scaled-pre", scheme
    return x + f(n1(x) / (index + 1) ** 0.5)


def methods(scheme, norm):
    """Methods of n1 and n2; none where the scheme has no such norm."""
    if scheme == "plain":
        return None, None
    if scheme == "rezero":
        return "number", None
    if scheme == "layer-scale":
        return norm, "vector"
    return norm, norm if scheme == "sandwich" else None


def method_parameters(draw, prefix, method, width):
    if method in ("number", "vector"):
        return {prefix + "weight": draw.normal([1 if method == "number" else width])}
    return norm_parameters(draw, prefix, method or "none", width)


def apply_method(x, p, prefix, method, eps):
    if method in ("number", "vector"):
        return x * p[prefix + "weight"]
    return apply_norm(x, p, prefix, method, eps)


@draws("TransformerBlock")
def transformer_block(draw):
    name, layers = draw.choice(NAMES), draw.integer(1, 9)
    index = draw.integer(0, layers - 1)
    norm, eps, activation = draw.choice(["layer", "rms"]), draw.choice([1e-5, 0.01]), draw.choice(["gelu", "swiglu"])
    o = attention_setup(draw)
    wide, hidden = o["embed_dim"], draw.integer(2, 6)
    inside = o | {"norm_eps": eps, "whole": False}
    for part in ("q", "k", "v", "context"):
        inside[part + "_norm"] = norm if part[0] in normalized_parts(name) else "none"
    if name == "qk":
        inside |= {"q_norm": "l2", "k_norm": "l2", "temperature": "divide", "temperature_heads": 1}
    if name in ("softcap", "rybakov-qk-cap"):
        inside["softcap"] = 50
    first, second = sublayers(name, index, layers)
    (a1, a2), (f1, f2) = methods(first, norm), methods(second, norm)
    parameters = attention_parameters(draw, inside, "attention.")
    for prefix, method in (("norm1.", a1), ("norm1_out.", a2), ("norm2.", f1), ("norm2_out.", f2)):
        parameters |= method_parameters(draw, prefix, method, wide)
    parameters |= feed_forward_parameters(draw, activation, wide, hidden, o["bias"], "ffn.")

    def function(x, p):
        n = lambda prefix, method: lambda x: apply_method(x, p, prefix, method, eps)
        attend = lambda x: apply_attention(x, p, inside, "attention.")
        feed = lambda x: apply_feed_forward(x, p, activation, "ffn.")
        y = enter(first, x, attend, n("norm1.", a1), n("norm1_out.", a2), index, layers)
        return enter(second, y, feed, n("norm2.", f1), n("norm2_out.", f2), index, layers)

    x = draw.normal([draw.integer(1, 2), draw.extent(1, 4), wide])
    options = {"placement": name, "layer": index, "layers": layers, "norm": norm, "eps": eps}
    return layer([x], parameters, function, feed_forward=activation, hidden_dim=hidden, **options, **o)


@draws("Temperature")
def temperature(draw):
    heads, form, logarithm = draw.choice([1, 3]), draw.choice(["divide", "multiply"]), draw.chance()
    q = draw.normal([draw.integer(1, 2), 3, draw.integer(1, 4), draw.integer(1, 4)])
    parameters = {"weight": draw.uniform([1] if heads == 1 else [3, 1, 1])}

    def function(q, p):
        number = p["weight"].exp() if logarithm else p["weight"]
        return q / number if form == "divide" else q * number

    return layer([q], parameters, function, heads=heads, form=form, logarithm=logarithm)


@draws("make_placement")
def make_placement(draw):
    """The schemes of a named placement, as numbers: F is u + 1, a norm is multiplication with 10."""
    name, layers = draw.choice(NAMES), draw.integer(1, 9)
    index = draw.integer(0, layers - 1)
    x = draw.normal([3])

    def function(x):
        f, n = lambda u: u + 1, lambda u: u * 10
        for scheme in sublayers(name, index, layers):
            x = enter(scheme, x, f, n, n, index, layers)
        return x

    return Case([x], function, placement=name, layer=index, layers=layers)
