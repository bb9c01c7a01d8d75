"""The rows of `make bench-peers`: what is compared, and how often faster (or smaller) Norma has to be."""

from dataclasses import dataclass

CHAR, SMALL, GPT2 = "gpt/16,128,6,6,192,128,0", "gpt/8,256,4,6,384,256,0", "gpt/2,256,12,12,768,50257,1"


@dataclass(frozen=True)
class Row:
    title: str
    work: str  # a name of work.h
    must: float  # ratio that has to hold
    aim: float = 0  # 0: none beyond
    kind: str = "time"  # of a run; "memory": peak of a process; "compile", "start": see bench_peers.py
    peer: str = "torch"  # or "libtorch"
    seconds: float = 0.3  # of one sample
    least: int = 3  # runs in one sample
    needs: str = ""  # a flag of the processor
    agreement: float = 1e-4  # largest difference between results, as a part of the largest value of its tensor


def shapes(work, title, entries):
    return [Row(f"{title} [{extents}]", f"{work}/{extents}", *ratios) for extents, *ratios in entries]


# Products of bf16 numbers have errors of 2.4e-3, which gradients of small weights show most.
SHORT = {"agreement": 0.1, "seconds": 1}


def high(title, work, *ratios):
    """A whole step with products of high precision, against PyTorch in f32; elsewhere than with AMX they are f32."""
    return Row(f"whole step, {title}, `high` against f32", work.replace("gpt", "gpt_high"), *ratios, needs="amx_bf16", seconds=1)


def medium(title, work, against_f32, aim_f32, against_bf16, aim_bf16):
    """A whole step in medium precision, against PyTorch in f32 and by autocast."""
    return [
        Row(f"whole step, {title}, `medium` against f32", work.replace("gpt", "gpt_medium"), against_f32, aim_f32, **SHORT),
        Row(f"whole step, {title}, `medium` against bf16 autocast", work.replace("gpt", "gpt_bf16"), against_bf16, aim_bf16, **SHORT),
    ]


ROWS = [
    Row("whole step, `char` (6 x 192, T 128, B 16)", CHAR, 2.0, 2.5, seconds=1),
    Row("whole step, `small` (4 x 384, T 256, B 8)", SMALL, 1.6, 2.0, seconds=1.5),
    Row("whole step, GPT-2 124M, B 2, T 256", GPT2, 1.6, 2.0, seconds=3, least=2),
    high("`char`", CHAR, 2.7, 3.5),
    high("`small`", SMALL, 2.2, 3.5),
    high("GPT-2 124M", GPT2, 2.5, 3.5),
    *medium("`char`", CHAR, 3.3, 5, 1.2, 2),
    *medium("`small`", SMALL, 3.3, 5, 1.2, 2),
    *medium("GPT-2 124M", GPT2, 3.3, 5, 1.2, 2),
    Row("peak memory, `char`", CHAR, 1.7, 2.5, "memory"),
    Row("peak memory, `small`", SMALL, 1.7, 2.5, "memory"),
    Row("peak memory, GPT-2 124M", GPT2, 1.7, 2.5, "memory"),
    *shapes("layer_norm", "LayerNorm", [("8192,768", 1.8), ("2048,256", 2.3), ("512,4096", 1.5), ("64,64", 8)]),
    *shapes("rms_norm", "RMSNorm", [("8192,768", 9), ("2048,256", 7), ("512,4096", 6), ("64,64", 20)]),
    *shapes("batch_norm", "BatchNorm, training", [("32,64,32,32", 3), ("32,768,256", 3)]),
    *shapes("cross_entropy", "cross-entropy", [("512,50257", 6)]),
    *shapes("gelu_tanh", "GELU (tanh)", [("8192,768", 3.5)]),
    *shapes("dropout", "dropout", [("8192,768", 20)]),
    *shapes("attention", "causal attention", [("16,6,128,32", 2.5, 4), ("8,12,256,64", 2.5, 4), ("4,8,1024,64", 2.5, 4)]),
    Row("AdamW, 124M parameters", "adamw", 3.3, seconds=1),
    Row("add of two [4,4] with gradient", "add", 5, 10, peer="libtorch"),
    Row("chain of 1000 adds, forward + backward", "chain/1000", 5, 10, peer="libtorch"),
    Row("MLP 16-16-1, batch 32, SGD step", "mlp", 4, 8, peer="libtorch"),
    Row("compile time of the `char` program", "char_program", 8, kind="compile", peer="libtorch"),
    Row("start-up to first step, `char`, against libtorch C++", "char_program", 10, kind="start", peer="libtorch"),
    Row("start-up to first step, `char`", CHAR, 10, kind="start"),
]

# Forward and backward, where there is one. Nobody asks for a ratio here: to be slower than PyTorch is the miss.
BASIC_SHAPES = ["2048,768", "4096,17", "64,64"]
BASIC_NAMES = """
add mul add_row div maximum where masked_fill clamp exp expm1 log log1p pow sqrt rsqrt sin tanh sigmoid erf abs square
relu gelu silu softplus softmax softmax_of_columns log_softmax logsumexp sum sum_of_rows sum_of_columns amax_of_rows
argmax_of_rows var_of_rows norm_of_rows cumsum transposed cat gather index_select times_vector vector_times
mse_loss bce_with_logits
""".split()
BASIC_ROWS = [
    Row(f"{name} [{shape}]", f"basic_{name}/{shape}", 1, seconds=0.05) for name in BASIC_NAMES for shape in BASIC_SHAPES
]
