"""Optimizers, schedules, clipping, losses as modules, gains."""

import torch

from draw import Case, draws

STEPS = 5


def register_optimizer(name, make, draw_options):
    """Values after each of five steps with a rate of its own; inputs: two parameters, the gradients of all steps."""

    @draws(name)
    def drawer(draw):
        shapes = [draw.shape(0, 2, high=3) for _ in range(2)]
        values = [draw.normal(shape) for shape in shapes]
        gradients = [draw.normal([STEPS, *shape]) for shape in shapes]
        rates = [draw.number(0.001, 0.3) for _ in range(STEPS)]
        options = draw_options(draw)

        def function(*inputs):
            parameters = [x.clone().requires_grad_() for x in inputs[:2]]
            optimizer = make(parameters, options)
            history = [[], []]
            for step, rate in enumerate(rates):
                for parameter, gradient, past in zip(parameters, inputs[2:], history):
                    parameter.grad = gradient[step].clone()
                optimizer.param_groups[0]["lr"] = rate
                optimizer.step()
                for parameter, past in zip(parameters, history):
                    past.append(parameter.detach().clone())
            return tuple(torch.stack(past) for past in history)

        return Case([*values, *gradients], function, fixed=None, rates=rates, **options)


def sgd_options(draw):
    o = {"momentum": draw.choice([0.0, 0.9, draw.number(0, 1)]), "weight_decay": draw.choice([0.0, draw.number(0, 0.5)])}
    o["nesterov"] = o["momentum"] > 0 and draw.chance()
    o["dampening"] = 0.0 if o["nesterov"] else draw.choice([0.0, draw.number(0, 0.9)])
    return o


def adam_options(draw):
    return {
        "beta1": draw.choice([0.9, draw.number(0, 0.99)]),
        "beta2": draw.choice([0.999, draw.number(0.5, 0.999)]),
        "eps": draw.choice([1e-8, 1e-3]),
        "weight_decay": draw.choice([0.0, draw.number(0, 0.5)]),
    }


def with_betas(o):
    return {"betas": (o["beta1"], o["beta2"]), "eps": o["eps"], "weight_decay": o["weight_decay"]}


register_optimizer("SGD", lambda ps, o: torch.optim.SGD(ps, lr=1, **o), sgd_options)
register_optimizer("Adam", lambda ps, o: torch.optim.Adam(ps, **with_betas(o)), adam_options)
register_optimizer("AdamW", lambda ps, o: torch.optim.AdamW(ps, **with_betas(o)), adam_options)


@draws("clip_grad_norm_")
def clip_grad_norm(draw):
    """Inputs: gradients of some parameters; outputs: their norm, and what is left of them."""
    gradients = [draw.normal(draw.shape(0, 3)) for _ in range(draw.integer(1, 3))]
    max_norm = draw.choice([0.0, draw.number(0.1, 3), 1000.0])

    def function(*gradients):
        parameters = [torch.zeros_like(g).requires_grad_() for g in gradients]
        for parameter, gradient in zip(parameters, gradients):
            parameter.grad = gradient.clone()
        norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm)
        return (norm, *[parameter.grad for parameter in parameters])

    return Case(gradients, function, fixed=None, max_norm=max_norm)


@draws("make_schedule")
def make_schedule(draw):
    """Rates of the first steps. After the warm-up, PyTorch's own schedules where it has one of this form."""
    kind = draw.choice(["constant", "linear", "cosine", "inverse_sqrt"])
    lr, warmup, total = draw.number(0.1, 1), draw.integer(0, 4), draw.integer(6, 10)
    min_lr = draw.choice([0.0, lr * draw.number(0, 1)])

    def decayed():
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
        after = total - warmup
        schedule = {
            "constant": lambda: torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0),
            "linear": lambda: torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, min_lr / lr, after),
            "cosine": lambda: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, after, min_lr),
            "inverse_sqrt": lambda: torch.optim.lr_scheduler.LambdaLR(
                optimizer, lambda s: max(min_lr / lr, (max(warmup, 1) / (s + warmup + 1)) ** 0.5)
            ),
        }[kind]()
        rates = []
        for _ in range(after):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        return rates

    def function():
        return torch.tensor([lr * (s + 1) / warmup for s in range(warmup)] + decayed(), dtype=torch.float64)

    return Case([], function, kind=kind, lr=lr, min_lr=min_lr, warmup=warmup, total=total)


@draws("calculate_gain")
def calculate_gain(draw):
    name = draw.choice(["linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"])
    slope = draw.number(0, 1)
    gain = torch.nn.init.calculate_gain(name, slope if name == "leaky_relu" else None)
    return Case([], lambda: torch.tensor(gain, dtype=torch.float64), name=name, slope=slope)


@draws("CrossEntropyLoss")
def cross_entropy_loss(draw):
    classes, rows = draw.integer(2, 4), draw.integer(1, 4)
    smoothing, reduction = draw.choice([0.0, 0.1]), draw.choice(["none", "mean", "sum"])
    module = torch.nn.CrossEntropyLoss(label_smoothing=smoothing, reduction=reduction)
    inputs = [draw.normal([rows, classes]), draw.indices([rows], 0, classes - 1)]
    return Case(inputs, module, smoothing=smoothing, reduction=reduction)


@draws("MSELoss")
def mse_loss(draw):
    shape, reduction = draw.shape(), draw.choice(["none", "mean", "sum"])
    return Case([draw.normal(shape), draw.normal(shape)], torch.nn.MSELoss(reduction=reduction), reduction=reduction)


@draws("BCEWithLogitsLoss")
def bce_loss(draw):
    shape, reduction = draw.shape(), draw.choice(["none", "mean", "sum"])
    module = torch.nn.BCEWithLogitsLoss(reduction=reduction)
    return Case([draw.normal(shape), draw.uniform(shape, 0, 1)], module, reduction=reduction)
