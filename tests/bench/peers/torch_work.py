"""What torch_worker.py can be asked to do: the works of work.h, by the same names and on the same numbers."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from basic_ops import OF_ANY, OF_POSITIVE, make_basic
import torch_inputs
from torch_inputs import ForwardAndBackward, indices, leaf, numbers


def make_norm(op, e):
    x, width = leaf("x", e, 2, 0.5), e[1] if op == "batch_norm" else e[-1]
    weight, bias = leaf("weight", [width], 0.5, 1), leaf("bias", [width])
    leaves = {"x": x, "weight": weight, "bias": bias}
    if op == "rms_norm":
        del leaves["bias"]
        return ForwardAndBackward(leaves, lambda: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * weight)
    if op == "layer_norm":
        return ForwardAndBackward(leaves, lambda: F.layer_norm(x, [width], weight, bias, 1e-5))
    layer = (nn.BatchNorm2d if len(e) == 4 else nn.BatchNorm1d)(width).to(torch_inputs.device)
    layer.weight.data, layer.bias.data = weight.data, bias.data
    return ForwardAndBackward({"x": x, "weight": layer.weight, "bias": layer.bias}, lambda: layer(x))


def make_cross_entropy(op, e):
    x, targets = leaf("x", e, 3), indices("targets", [e[0]], e[1])
    return ForwardAndBackward({"x": x}, lambda: F.cross_entropy(x, targets))


def make_gelu(op, e):
    x = leaf("x", e, 3)
    return ForwardAndBackward({"x": x}, lambda: F.gelu(x, approximate="tanh"))


def on_host(values):
    return values.cpu() if torch.is_tensor(values) else torch.from_numpy(np.array(values))


class Dropout(ForwardAndBackward):
    """The masks of two generators differ, so each side is held to the definition instead."""

    p = 0.1

    def __init__(self, op, e):
        x = leaf("x", e, 3)
        super().__init__({"x": x}, lambda: F.dropout(x, self.p))

    def difference(self, theirs):
        return max(self.against_definition(theirs), self.against_definition(self.results()))

    def against_definition(self, results):
        x, dy = self.leaves["x"].detach().cpu(), self.dy.cpu()
        y, dx = (on_host(results[name]) for name in ("y", "dx"))
        mask = ((y != 0) | (x == 0)).float() / (1 - self.p)
        kept = (mask != 0).double().mean().item()
        if abs(kept - (1 - self.p)) > 1e-3:
            return float("inf")
        return max((y - x * mask).abs().max().item(), (dx - dy * mask).abs().max().item())


def make_attention(op, e):
    batch, heads, length, d = e
    q, k, v = leaf("q", e, 2), leaf("k", e, 2), leaf("v", e)
    hidden = torch.ones(length, length, device=torch_inputs.device).tril().logical_not()
    fused = getattr(F, "scaled_dot_product_attention", None)
    if fused:
        return ForwardAndBackward({"q": q, "k": k, "v": v}, lambda: fused(q, k, v, is_causal=True))

    def attention():
        scores = (q @ k.transpose(-2, -1)) * d**-0.5
        return F.softmax(scores.masked_fill(hidden, float("-inf")), -1) @ v

    return ForwardAndBackward({"q": q, "k": k, "v": v}, attention)


class AdamW:
    def __init__(self, op, e):
        shapes = [(50257, 768)] + [(2304, 768), (768, 768), (3072, 768), (768, 3072), (768,), (768,)] * 12
        self.parameters = [leaf(f"p{i}", shape, 0.05) for i, shape in enumerate(shapes)]
        for i, p in enumerate(self.parameters):
            p.grad = numbers(f"g{i}", p.shape, 0.01)
        self.optimizer = make_adamw(self.parameters)

    def run(self):
        self.optimizer.step()

    def results(self):
        for _ in range(3):
            self.run()
        return {f"p{i}": p.detach() for i, p in enumerate(self.parameters)}


def make_adamw(parameters):
    """Parameter by parameter, which is faster here than foreach; fused where this PyTorch has it on a CPU."""
    parameters = list(parameters)
    for how in ({"fused": True}, {"foreach": False}):
        try:
            return torch.optim.AdamW(parameters, lr=3e-4, weight_decay=0.1, **how)
        except (RuntimeError, TypeError):
            pass


class Attention(nn.Module):
    def __init__(self, width, heads, length):
        super().__init__()
        self.heads = heads
        self.qkv_proj, self.out_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.register_buffer("hidden", torch.ones(length, length).tril().logical_not())

    def forward(self, x):
        batch, length, width = x.shape
        d = width // self.heads
        q, k, v = (t.view(batch, length, self.heads, d).transpose(1, 2) for t in self.qkv_proj(x).split(width, 2))
        if hasattr(F, "scaled_dot_product_attention"):
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = (q @ k.transpose(-2, -1)) * d**-0.5
            y = F.softmax(scores.masked_fill(self.hidden, float("-inf")), -1) @ v
        return self.out_proj(y.transpose(1, 2).reshape(batch, length, width))


class FeedForward(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.up_proj, self.down_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        return self.down_proj(F.gelu(self.up_proj(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, width, heads, length):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.ffn = Attention(width, heads, length), FeedForward(width)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class Gpt(nn.Module):
    def __init__(self, length, layers, heads, width, vocabulary, tied):
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.position_embedding = nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads, length) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = None if tied else nn.Linear(width, vocabulary, bias=False)
        self.register_buffer("positions", torch.arange(length))

    def forward(self, tokens, targets):
        x = self.token_embedding(tokens) + self.position_embedding(self.positions)
        for block in self.blocks:
            x = block(x)
        weight = self.token_embedding.weight if self.head is None else self.head.weight
        logits = F.linear(self.norm(x), weight)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))


class Training:
    compiled = False  # by torch.compile

    def __init__(self, op, e):
        batch, length, layers, heads, width, vocabulary, tied = e
        self.model = Gpt(length, layers, heads, width, vocabulary, tied).to(torch_inputs.device)
        for name, p in self.model.named_parameters():
            gain = "norm" in name and name.endswith("weight")
            p.data.copy_(numbers(name, p.shape, 0.1 if gain else 0.035, 1 if gain else 0))
        self.optimizer = make_adamw(self.model.parameters())
        self.tokens = [indices(f"tokens{i}", [batch, length], vocabulary) for i in range(8)]
        self.targets = [indices(f"targets{i}", [batch, length], vocabulary) for i in range(8)]
        self.steps = 0
        self.call = torch.compile(self.model) if Training.compiled else self.model
        self.autocast = op == "gpt_bf16"

    def loss(self):
        with torch.autocast(torch_inputs.device, dtype=torch.bfloat16, enabled=self.autocast):
            return self.call(self.tokens[self.steps % 8], self.targets[self.steps % 8])

    def run(self):
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss()
        loss.backward()
        self.optimizer.step()
        self.steps += 1
        return loss.item()

    def results(self):
        self.loss().backward()
        results = {"d" + name: p.grad.clone() for name, p in self.model.named_parameters()}
        return {**results, **{f"loss{i}": torch.tensor([self.run()]) for i in range(4)}}


MAKERS = {
    "layer_norm": make_norm,
    "rms_norm": make_norm,
    "batch_norm": make_norm,
    "cross_entropy": make_cross_entropy,
    "gelu_tanh": make_gelu,
    "dropout": Dropout,
    "attention": make_attention,
    "adamw": AdamW,
    "gpt": Training,
    "gpt_high": Training,
    "gpt_medium": Training,
    "gpt_bf16": Training,
    **{f"basic_{name}": make_basic for name in [*OF_ANY, *OF_POSITIVE]},
}


def make_work(name):
    op, _, extents = name.partition("/")
    return MAKERS[op](op, [int(text) for text in extents.split(",") if text])
