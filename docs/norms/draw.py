#!/usr/bin/env python3
"""Draws the pictures of docs/norms/ into docs/norms/images/ (plain SVG; standard library only).

    python3 docs/norms/draw.py

Two kinds: the axes of a method (which entries share statistics), and the block of a placement (the stream, the
norms, attention, feed-forward, the sums). METHODS and PLACEMENTS at the end list them all.
"""
import html
import math
import pathlib

FOLDER = pathlib.Path(__file__).resolve().parent / "images"
INK, FAINT, LINE = "#222222", "#6b6b6b", "#b8c4d4"
DARK, LIGHT = "#2f6fbf", "#e6eef8"
PARAMETER, STATE = "#f4b860", "#9ccf9c"
FILL = {"norm": "#ffd591", "attention": "#cfe2fb", "ffn": "#d7efd7", "scale": "#e7dcf7", "plain": "#ffffff"}


class Picture:
    """Collects shapes; write() puts them on a white ground, so that dark viewers show them too."""

    def __init__(self):
        self.parts, self.width, self.height = [], 0, 0

    def reach(self, x, y):
        self.width, self.height = max(self.width, x), max(self.height, y)

    def add(self, text):
        self.parts.append(text)

    def rect(self, x, y, w, h, fill="none", stroke=INK, width=1.0, radius=0, dash=""):
        self.reach(x + w, y + h)
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.add(f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="{radius:g}" fill="{fill}" '
                 f'stroke="{stroke}" stroke-width="{width:g}"{dashed}/>')

    def line(self, points, stroke=INK, width=1.4, arrow=False, dash=""):
        for x, y in points:
            self.reach(x, y)
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        end = ' marker-end="url(#tip)"' if arrow else ""
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.add(f'<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="{width:g}"{dashed}{end}/>')

    def path(self, moves, stroke, width):
        if moves:
            self.add(f'<path d="{"".join(moves)}" fill="none" stroke="{stroke}" stroke-width="{width:g}"/>')

    def circle(self, x, y, r, fill="#ffffff", stroke=INK):
        self.reach(x + r, y + r)
        self.add(f'<circle cx="{x:g}" cy="{y:g}" r="{r:g}" fill="{fill}" stroke="{stroke}" stroke-width="1.4"/>')

    def text(self, x, y, text, size=13, anchor="middle", fill=INK, style="", turn=0):
        wide = len(text) * size * 0.55
        self.reach(x + {"start": wide, "middle": wide / 2, "end": 0}[anchor], y + 4)
        rotate = f' transform="rotate({turn:g} {x:g} {y:g})"' if turn else ""
        slant = f' font-style="{style}"' if style else ""
        self.add(f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" text-anchor="{anchor}" fill="{fill}"{slant}{rotate}>'
                 f'{html.escape(text)}</text>')

    def box(self, x, y, w, h, kind, label, size=13):
        """A rounded box centred at height y; returns its right edge."""
        self.rect(x, y - h / 2, w, h, FILL[kind], INK, 1.2, 5)
        lines = label.split("\n")
        for i, row in enumerate(lines):
            self.text(x + w / 2, y + size * 0.36 + (i - (len(lines) - 1) / 2) * (size + 2), row, size)
        return x + w

    def write(self, name, title):
        width, height = math.ceil(max(self.width + 16, 480)), math.ceil(self.height + 12)
        head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
                f'viewBox="0 0 {width} {height}" font-family="Helvetica, Arial, sans-serif" role="img">\n'
                f'<title>{html.escape(title)}</title>\n'
                '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
                f'markerUnits="userSpaceOnUse" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{INK}"/></marker></defs>\n'
                f'<rect width="{width}" height="{height}" fill="#ffffff"/>\n')
        (FOLDER / f"{name}.svg").write_text(head + "\n".join(self.parts) + "\n</svg>\n", encoding="utf-8")


# ------------------------------------------------------------------------------------- methods: the axes
def grid(p, x, y, columns, rows, cell, set_of, dark):
    """Cells with the border of their set thick; those whose set is `dark` are filled dark."""
    p.rect(x, y, columns * cell, rows * cell, LIGHT, "none")
    cells = [(c, r) for r in range(rows) for c in range(columns)]
    for c, r in cells:
        if set_of(c, r) == dark:
            p.rect(x + c * cell, y + r * cell, cell, cell, DARK, "none")
    p.path([f"M{x + c * cell:g},{y:g}v{rows * cell:g}" for c in range(1, columns)] +
           [f"M{x:g},{y + r * cell:g}h{columns * cell:g}" for r in range(1, rows)], LINE, 0.8)
    p.path([f"M{x + (c + 1) * cell:g},{y + r * cell:g}v{cell:g}" for c, r in cells
            if c + 1 < columns and set_of(c, r) != set_of(c + 1, r)] +
           [f"M{x + c * cell:g},{y + (r + 1) * cell:g}h{cell:g}" for c, r in cells
            if r + 1 < rows and set_of(c, r) != set_of(c, r + 1)], INK, 1.6)
    p.rect(x, y, columns * cell, rows * cell, "none", INK, 1.6)


def strip(p, x, y, cells, cell, fill, label):
    for c in range(cells):
        p.rect(x + c * cell, y, cell, 14, fill, INK, 0.8)
    p.text(x + cells * cell + 10, y + 11.5, label, 12, "start")


def axes(name, title, set_of, shared, across="channels", strips=()):
    """Three samples side by side, each a table of positions (down) by channels or features (across)."""
    p, cell, columns, rows, left, top, gap = Picture(), 22, 6, 4, 44, 50, 30
    p.text(16, 22, title, 14, "start")
    for n in range(3):
        x = left + n * (columns * cell + gap)
        p.text(x + columns * cell / 2, top - 8, f"sample {n + 1}", 12, fill=FAINT)
        grid(p, x, top, columns, rows, cell, lambda c, r, n=n: set_of(n, c, r), set_of(0, 1, 1))
    p.text(left - 12, top + rows * cell / 2, "positions", 12, fill=FAINT, turn=-90)
    y = top + rows * cell + 17
    p.text(left + columns * cell / 2, y, across, 12, fill=FAINT)
    for fill, count, label in strips:
        y += 12
        strip(p, left, y, count, cell, fill, label)
        y += 12
    y += 14
    p.rect(left, y, 14, 14, DARK, INK, 0.8)
    p.text(left + 22, y + 11.5, shared, 12, "start")
    p.write(name, title)


def weight_norm():
    p = Picture()
    p.text(16, 22, "WeightNorm: each row of the weight has a length of its own", 14, "start")
    y, cell = 52, 22
    p.text(44 + 66, y - 8, "weight_v", 12, fill=FAINT)
    grid(p, 44, y, 6, 4, cell, lambda c, r: r, 1)
    p.text(32, y + 44, "outputs", 12, fill=FAINT, turn=-90)
    p.text(44 + 66, y + 4 * cell + 17, "inputs", 12, fill=FAINT)
    p.text(253, y + 38, "each row divided", 12)
    p.text(253, y + 66, "by its length, times", 12)
    p.line([(184, y + 46), (322, y + 46)], arrow=True)
    for r in range(4):
        p.rect(334, y + r * cell, cell, cell, PARAMETER, INK, 0.8)
    p.text(345, y - 8, "weight_g", 12, fill=FAINT)
    p.text(376, y + 49, "=", 16)
    grid(p, 396, y, 6, 4, cell, lambda c, r: r, 1)
    p.text(396 + 66, y - 8, "weight", 12, fill=FAINT)
    p.rect(44, y + 122, 14, 14, DARK, INK, 0.8)
    p.text(66, y + 133, "entries that share one length; activations are not looked at", 12, "start")
    p.write("weight_norm", "Weight normalization")


def spectral_norm():
    p = Picture()
    p.text(16, 22, "SpectralNorm: the weight divided by its largest singular value", 14, "start")
    y, cell = 92, 22
    grid(p, 84, y, 6, 4, cell, lambda c, r: 0, 0)
    p.text(84 + 66, y + 4 * cell + 17, "weight_orig W, outputs by inputs", 12, fill=FAINT)
    for r in range(4):
        p.rect(44, y + r * cell, cell, cell, STATE, INK, 0.8)
    p.text(55, y - 8, "u", 12, fill=FAINT)
    for c in range(6):
        p.rect(84 + c * cell, y - 40, cell, cell, STATE, INK, 0.8)
    p.text(84 + 6 * cell + 12, y - 25, "v", 12, fill=FAINT)
    p.line([(236, y + 44), (272, y + 44)], arrow=True)
    p.text(284, y + 22, "v ← Wᵀu / |Wᵀu|", 13, "start")
    p.text(284, y + 44, "u ← W v / |W v|", 13, "start")
    p.text(284, y + 66, "σ = uᵀ W v,   weight = W / σ", 13, "start")
    p.rect(44, y + 122, 14, 14, DARK, INK, 0.8)
    p.text(66, y + 133, "entries that share one σ", 12, "start")
    p.rect(230, y + 122, 14, 14, STATE, INK, 0.8)
    p.text(252, y + 133, "buffers kept from call to call", 12, "start")
    p.write("spectral_norm", "Spectral normalization")


def whitening():
    p, cell, columns, rows, left, top, gap = Picture(), 22, 6, 4, 44, 50, 30
    p.text(16, 22, "Whitening: one mean and one covariance matrix for each group of channels", 14, "start")
    for n in range(3):
        x = left + n * (columns * cell + gap)
        p.text(x + 66, top - 8, f"sample {n + 1}", 12, fill=FAINT)
        grid(p, x, top, columns, rows, cell, lambda c, r: c // 3, 0)
    p.text(left - 12, top + 44, "positions", 12, fill=FAINT, turn=-90)
    p.text(left + 66, top + 105, "channels", 12, fill=FAINT)
    y, mix = top + 132, [[1, 0.6, 0.3], [0.6, 1, 0.15], [0.3, 0.15, 1]]
    for x, values in ((left + 130, mix), (left + 262, [[float(i == j) for j in range(3)] for i in range(3)])):
        for r in range(3):
            for c in range(3):
                v = values[r][c]
                shade = tuple(round(a + (b - a) * v) for a, b in zip((230, 238, 248), (47, 111, 191)))
                p.rect(x + c * cell, y + r * cell, cell, cell, "#%02x%02x%02x" % shade, LINE, 0.8)
        p.rect(x, y, 3 * cell, 3 * cell, "none", INK, 1.6)
    p.text(left + 120, y + 38, "covariance of a group", 12, "end")
    p.line([(left + 204, y + 33), (left + 254, y + 33)], arrow=True)
    p.text(left + 338, y + 38, "after: nearly the identity", 12, "start")
    p.rect(left, y + 82, 14, 14, DARK, INK, 0.8)
    p.text(left + 22, y + 93.5, "entries that share one mean and one covariance matrix", 12, "start")
    p.write("whitening", "Whitening")


def qk_norm():
    p, cell = Picture(), 16
    p.text(16, 22, "QKNorm: each head's part of each query and key has length one", 14, "start")
    for i, label in enumerate(("q", "k")):
        x, y = 44 + i * 232, 66
        p.text(x + 96, y - 22, label, 13)
        for h in range(3):
            p.text(x + (h * 4 + 2) * cell, y - 7, f"head {h + 1}", 11, fill=FAINT)
        grid(p, x, y, 12, 5, cell, lambda c, r: (c // 4, r), (1, 1 if i == 0 else 3))
    p.text(32, 106, "positions", 12, fill=FAINT, turn=-90)
    p.text(44 + 96, 66 + 5 * cell + 16, "features", 12, fill=FAINT)
    x, y = 508, 66
    p.text(x + 40, y - 22, "scores", 13)
    p.text(x + 40, y - 7, "of head 2", 11, fill=FAINT)
    grid(p, x, y, 5, 5, cell, lambda c, r: (c, r) if (c, r) == (3, 1) else None, (3, 1))
    p.line([(474, y + 40), (500, y + 40)], arrow=True)
    p.rect(44, 178, 14, 14, DARK, INK, 0.8)
    p.text(66, 189.5, "each row: one length; the score is their product, divided by τ", 12, "start")
    p.write("qk_norm", "QKNorm")


def curve(name, title, f, span, high, x_label, y_label, notes):
    p, left, top, w, h = Picture(), 60, 44, 340, 170
    p.text(16, 22, title, 14, "start")
    sx, sy = (lambda v: left + w * (v + span) / (2 * span)), (lambda v: top + h * (high - v) / (2 * high))
    p.rect(left, top, w, h, "#ffffff", LINE)
    p.line([(sx(0), top), (sx(0), top + h)], LINE)
    p.line([(left, sy(0)), (left + w, sy(0))], LINE)
    limit = min(span, high)
    p.line([(sx(-limit), sy(-limit)), (sx(limit), sy(limit))], FAINT, 1.2, dash="4 4")
    p.line([(sx(-span + 2 * span * i / 160), sy(f(-span + 2 * span * i / 160))) for i in range(161)], DARK, 2.4)
    for value, label in notes:
        p.line([(left, sy(value)), (left + w, sy(value))], PARAMETER, 1.4, dash="6 3")
        p.text(left - 6, sy(value) + 4, label, 12, "end")
    p.text(left + w / 2, top + h + 18, x_label, 12, fill=FAINT)
    p.text(left + w + 10, top + 14, "solid: " + y_label, 12, "start", DARK)
    p.text(left + w + 10, top + 32, "dashed: identity", 12, "start", FAINT)
    p.write(name, title)


def initialization():
    p, left, top, w, h, layers = Picture(), 70, 44, 360, 170, 12
    p.text(16, 22, "Standard deviation of the matrices that lead back to the stream, 12 layers", 14, "start")
    p.rect(left, top, w, h, "#ffffff", LINE)
    sx, sy = (lambda l: left + w * (l - 0.5) / layers), (lambda v: top + h * (1 - v / 1.15))
    series = [("normal: 1", "#2f6fbf", lambda l: 1.0), ("depth-scaled: 1 / √(2l)", "#c0562b", lambda l: (2 * l) ** -0.5),
              ("megatron: 1 / √(2L)", "#3c8a3c", lambda l: (2 * layers) ** -0.5)]
    for i, (label, color, f) in enumerate(series):
        p.line([(sx(l), sy(f(l))) for l in range(1, layers + 1)], color, 2)
        for l in range(1, layers + 1):
            p.circle(sx(l), sy(f(l)), 2.6, color, color)
        p.text(left + w + 12, top + 20 + 22 * i, label, 12, "start", color)
    for v in (0, 0.5, 1):
        p.text(left - 6, sy(v) + 4, f"{v:g}", 12, "end")
    for l in (1, 6, 12):
        p.text(sx(l), top + h + 17, f"{l}", 12)
    p.text(left + w * 0.75, top + h + 17, "layer l", 12, fill=FAINT)
    p.text(26, top + h / 2, "times 1 / √(2.5 d)", 12, fill=FAINT, turn=-90)
    p.write("initialization", "Starting values by depth")


def overview():
    p, cell, columns, rows = Picture(), 12, 6, 4
    panels = [("BatchNorm, BatchRenorm", lambda n, c, r: c), ("InstanceNorm", lambda n, c, r: (n, c)),
              ("GroupNorm", lambda n, c, r: (n, c // 3)), ("LayerNorm, RMSNorm, ..", lambda n, c, r: (n, r)),
              ("QKNorm, norms per head", lambda n, c, r: (n, r, c // 2)), ("DynamicTanh", lambda n, c, r: (n, c, r))]
    for i, (label, set_of) in enumerate(panels):
        x0, y0 = 24 + (i % 3) * 204, 40 + (i // 3) * 100
        p.text(x0 + 79, y0 - 10, label, 13)
        for n in range(2):
            grid(p, x0 + n * (columns * cell + 14), y0, columns, rows, cell, lambda c, r, n=n: set_of(n, c, r),
                 set_of(0, 1, 1))
    p.text(24, 216, "Two samples each: positions down, channels or features across.", 12, "start", FAINT)
    p.rect(24, 226, 12, 12, DARK, INK, 0.8)
    p.text(44, 236.5, "one set of entries that share statistics", 12, "start", FAINT)
    p.write("overview", "Which entries share statistics")


# --------------------------------------------------------------------------- placements: the block diagrams
NORM_W, GAP = 30, 16


def attention_box(p, x, y, letters="", inner=""):
    """The attention box around height y with norms on the letters (of q, k, v, c); returns its right edge."""
    if not letters and not inner:
        return p.box(x, y, 84, 40, "attention", "Attention")
    end = x + (170 if "c" in letters else 140)
    p.rect(x, y - 48, end - x, 96, FILL["attention"], INK, 1.2, 5)
    p.text(x + (end - x) / 2, y - 34, "Attention", 12)
    rows = {"q": y - 16, "k": y + 8, "v": y + 32}
    for letter, row in rows.items():
        p.text(x + 12, row + 4, letter, 13, style="italic")
        stop = (x + 54, row) if letter != "v" else (x + 124, row)
        p.line([(x + 20, row), stop] + ([(x + 124, y + 5)] if letter == "v" else []), arrow=True)
        if letter in letters:
            p.box(x + 24, row, 20, 18, "norm", "N", 12)
    p.box(x + 56, y - 4, 54, 42, "plain", "softmax" + ("\n" + inner if inner else ""), 12)
    p.line([(x + 110, y - 4), (x + 117, y - 4)])
    p.circle(x + 124, y - 4, 7)
    p.text(x + 124, y - 0.5, "·", 14)
    p.line([(x + 131, y - 4), (x + 136, y - 4), (x + 136, y), (end, y)])
    if "c" in letters:
        p.box(x + 142, y, 20, 18, "norm", "N", 12)
    return end


def item(p, x, y, what, part):
    """One box of a branch or of the stream; returns its right edge."""
    if what == "F":
        if part["kind"] == "ffn":
            return p.box(x, y, 56, 40, "ffn", "FFN")
        return attention_box(p, x, y, part.get("norms", ""), part.get("inner", ""))
    if what.startswith("N"):
        return p.box(x, y, NORM_W, 28, "norm", what)
    return p.box(x, y, 16 + 8 * len(what), 26, "scale", what)


SCHEMES = {  # on the stream before the branch; on the branch; on the stream beside it; after the sum
    "plain": ([], ["F"], [], []),
    "pre": ([], ["N", "F"], [], []),
    "post": ([], ["F"], [], ["N"]),
    "normed": (["N"], ["F"], [], []),
    "output": ([], ["F", "N"], [], []),
    "sandwich": ([], ["N", "F", "N"], [], []),
    "scaled_post": ([], ["F"], ["×a"], ["N"]),
    "scaled_pre": ([], ["N", "×c", "F"], [], []),
    "rezero": ([], ["F", "×a"], [], []),
    "layer_scale": ([], ["N", "F", "×s"], [], []),
    "half": ([], ["N", "F", "×½"], [], []),
}


def sublayer(p, x, y, branch_y, scheme, part):
    before, branch, beside, after = SCHEMES[scheme]
    for what in before:
        x = item(p, x + GAP, y, what, part)
    fork = x + GAP
    p.circle(fork, y, 2.6, INK)
    at, last = fork, (fork, y)
    points = [(fork, y), (fork, branch_y)]
    at = fork + 14
    for what in branch:
        p.line(points + [(at, branch_y)], arrow=True)
        at = item(p, at, branch_y, what, part)
        points = [(at, branch_y)]
        at += 14
    sum_x = at + 2
    p.line(points + [(sum_x, branch_y), (sum_x, y + 9)], arrow=True)
    if beside:
        item(p, (fork + sum_x) / 2 - 16, y, beside[0], part)
    p.circle(sum_x, y, 9)
    p.text(sum_x, y + 5, "+", 15)
    x = sum_x + 9
    for what in after:
        x = item(p, x + GAP - 4, y, what, part)
    return x


def row(p, top, label, attention, ffn, norms="", inner="", final=False):
    """One layer; returns the height below it."""
    tall = bool(norms or inner)
    y = top + (46 if label else 24)
    branch_y = y + (76 if tall else 56)
    if label:
        p.text(16, top + 16, label, 13, "start")
    body = Picture()
    x = sublayer(body, 34, y, branch_y, attention, {"kind": "attention", "norms": norms, "inner": inner})
    middle = x + 12
    body.text(middle, y - 10, "Y", 13, style="italic")
    x = sublayer(body, x + 10, y, branch_y, ffn, {"kind": "ffn"})
    end = x + 34
    p.text(26, y - 10, "X", 13, style="italic")
    p.line([(18, y), (end, y)], INK, 2.4, arrow=True)
    p.text(end - 8, y - 10, "X′", 13, style="italic")
    if final:
        p.line([(end + 4, y), (end + 22, y)], INK, 2.4, dash="3 3")
        p.rect(end + 24, y - 14, NORM_W, 28, FILL["norm"], INK, 1.2, 5, "4 3")
        p.text(end + 24 + NORM_W / 2, y + 4.7, "N", 13)
        p.text(end + 24 + NORM_W / 2, y + 28, "after the", 10.5, fill=FAINT)
        p.text(end + 24 + NORM_W / 2, y + 40, "last layer", 10.5, fill=FAINT)
    p.parts += body.parts
    p.reach(body.width, body.height)
    return branch_y + (48 if tall else 24) + 8


def placement(name, title, *rows):
    p, top = Picture(), 4
    for r in rows:
        top = row(p, top, **r) + 6
    p.write(name, title)


def layer(attention, ffn, label="", **more):
    return {"label": label, "attention": attention, "ffn": ffn, **more}


# ---------------------------------------------------------------------------------------------- the lists
def methods():
    both = "entries that share one mean and one variance"
    per_channel = (PARAMETER, 6, "weight, bias: one for each channel")
    running = (STATE, 6, "running mean and variance: one for each channel")
    per_feature = (PARAMETER, 6, "weight, bias: one for each feature")
    axes("batch_norm", "BatchNorm: statistics of each channel", lambda n, c, r: c, both, strips=(per_channel, running))
    axes("batch_renorm", "BatchRenorm: the batch's statistics, pulled towards running ones", lambda n, c, r: c, both,
         strips=(per_channel, (STATE, 6, "running mean and deviation: one for each channel")))
    axes("instance_norm", "InstanceNorm: statistics of each channel of each sample", lambda n, c, r: (n, c), both,
         strips=((PARAMETER, 6, "weight, bias (off by default): one for each channel"),))
    axes("group_norm", "GroupNorm: statistics of each group of channels of each sample, here 2 groups",
         lambda n, c, r: (n, c // 3), both, strips=(per_channel,))
    axes("layer_norm", "LayerNorm: statistics of each position", lambda n, c, r: (n, r), both, "features",
         (per_feature,))
    axes("rms_norm", "RMSNorm: the mean square of each position", lambda n, c, r: (n, r),
         "entries that share one mean square; partial: only the first ones are counted", "features",
         ((PARAMETER, 6, "weight: one for each feature"),))
    axes("l2_norm", "L2Norm, ScaleNorm: the length of each position", lambda n, c, r: (n, r),
         "entries that share one length", "features", ((PARAMETER, 1, "ScaleNorm's weight: one number"),))
    weight_norm()
    spectral_norm()
    whitening()
    qk_norm()
    curve("softcap_curve", "Softmax cap: scores within ±cap, here 50", lambda s: 50 * math.tanh(s / 50), 150, 75,
          "score", "cap · tanh(score / cap)", ((50, "50"), (-50, "−50")))
    curve("dynamic_tanh", "DynamicTanh: each entry by itself, here α = 0.5", lambda x: math.tanh(0.5 * x), 8, 2,
          "x", "tanh(α x)", ((1, "1"), (-1, "−1")))
    initialization()
    overview()


def placements():
    qk, qkv, qkvc = "qk", "qkv", "qkvc"
    placement("pre", "Pre-Norm", layer("pre", "pre", final=True))
    placement("post", "Post-Norm", layer("post", "post"))
    placement("qk", "QKNorm in a Pre-Norm block", layer("pre", "pre", norms=qk, inner="÷ τ", final=True))
    placement("qkv", "QKV-Norm", layer("plain", "pre", norms=qkv, final=True))
    placement("qkvc", "QKVC-Norm", layer("plain", "pre", norms=qkvc, final=True))
    placement("softcap", "Softmax cap in a Pre-Norm block", layer("pre", "pre", inner="cap", final=True))
    placement("rybakov-qk", "QK_norm", layer("pre", "pre", norms=qk, final=True))
    placement("rybakov-qk-cap", "QK_norm_cap", layer("pre", "pre", norms=qk, inner="cap", final=True))
    placement("rybakov-qkv", "QKV_norm", layer("plain", "pre", norms=qkv, final=True))
    placement("rybakov-qk-fc", "QK_FC_norm", layer("sandwich", "sandwich", norms=qk, final=True))
    placement("mix", "Mix-LN", layer("post", "post", "the first ⌊αL⌋ layers"),
              layer("pre", "pre", "the others", final=True))
    placement("hybrid", "HybridNorm", layer("plain", "normed", norms=qkv, final=True))
    placement("hybrid-star", "HybridNorm*", layer("pre", "normed", "layer 0, the note's form", norms=qkv),
              layer("pre", "pre", "layer 0, the paper's form", norms=qkv),
              layer("plain", "normed", "the other layers", norms=qkv, final=True))
    placement("deepnorm", "DeepNorm", layer("scaled_post", "scaled_post"))
    placement("sandwich", "Sandwich-LN, Peri-LN", layer("sandwich", "sandwich", final=True))
    placement("output", "OutputNorm", layer("output", "output", final=True))
    placement("scaled-pre", "LayerNorm scaling", layer("scaled_pre", "scaled_pre", final=True))
    placement("layer_scale", "LayerScale", layer("layer_scale", "layer_scale", final=True))
    placement("rezero", "ReZero", layer("rezero", "rezero"))
    placement("family", "The ablation family", layer("plain", "normed", "qkvc-post", norms=qkvc, final=True),
              layer("pre", "pre", "pre-qk-pre", norms=qk, final=True),
              layer("normed", "pre", "post-pre", final=True))
    placement("own", "A placement of one's own", layer("half", "normed", norms=qk, final=True))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.svg"):
        old.unlink()
    methods()
    placements()
