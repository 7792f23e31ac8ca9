"""The flags of the commands of `tape`: types, bounds, defaults and help."""

from dataclasses import dataclass
from typing import Annotated, Literal

import typer
from annotated_types import Ge, Gt, Le

from .names import methods, scratch

Dim = Annotated[
    int, typer.Option(help="Width C of the model, a multiple of twice the heads."), Ge(2), Le(8192)
]
Layers = Annotated[int, typer.Option(help="Number L of layers."), Ge(2), Le(32)]
Heads = Annotated[int, typer.Option(help="Number H of attention heads."), Ge(1), Le(256)]
Ffn = Annotated[int, typer.Option(help="Width of the MLP."), Ge(1), Le(16_384)]
PositionSize = Annotated[
    int,
    typer.Option(help="Width P of the MLP update of TAPE's state. 0: four times the heads."),
    Ge(0),
    Le(4096),
]


@dataclass(frozen=True)
class Size:
    """The size of a decoder."""

    dim: Dim = 64
    layers: Layers = 3
    heads: Heads = 4
    ffn: Ffn = 128
    position_size: PositionSize = 0


@dataclass(frozen=True)
class Check(Size):
    """The flags of `tape check`."""

    vocab: Annotated[int, typer.Option(help="Number of tokens."), Ge(2), Le(100_000)] = 13
    length: Annotated[int, typer.Option(help="Tokens of a sequence."), Ge(2), Le(4096)] = 24
    batch: Annotated[int, typer.Option(help="Sequences."), Ge(1), Le(1024)] = 4
    shifts: Annotated[
        tuple[int, ...],
        typer.Option(help="Constants that are added to all positions."),
        Ge(1),
        Le(100_000),
    ] = (1, 17, 100, 1000)
    spread: Annotated[
        float,
        typer.Option(
            help="Standard deviation of the weights of TAPE's matrices, for facts that hold "
            "for any weights."
        ),
        Gt(0),
        Le(10),
    ] = 0.3
    sharpness: Annotated[
        float,
        typer.Option(help="Factor on the query and key weights, so that positions matter."),
        Gt(0),
        Le(1000),
    ] = 20.0


@dataclass(frozen=True)
class Overhead(Size):
    """The flags of `tape overhead`."""

    dim: Dim = 256
    layers: Layers = 4
    heads: Heads = 8
    ffn: Ffn = 512
    vocab: Annotated[int, typer.Option(help="Number of tokens."), Ge(2), Le(1_000_000)] = 64
    length: Annotated[int, typer.Option(help="Tokens of a sequence."), Ge(2), Le(65_536)] = 512
    batch: Annotated[int, typer.Option(help="Sequences of a measured step."), Ge(1), Le(1024)] = 2
    steps: Annotated[
        int,
        typer.Option(
            help="Training steps to time for each encoding; the times go to times.json. 0: none."
        ),
        Ge(0),
        Le(10_000),
    ] = 5


Lengths = Annotated[
    tuple[int, ...], typer.Option(help="Lengths at which is tested, in tokens."), Ge(9), Le(65_536)
]
TrainLength = Annotated[
    int,
    typer.Option(help="Largest length in training; the shortest has half of it."),
    Ge(2),
    Le(65_536),
]
Text = Annotated[
    str,
    typer.Option(
        help="pydoc_data.topics (help texts that come with Python), stdlib (the source of the "
        "Python standard library on this machine), or a UTF-8 file."
    ),
]


@dataclass(frozen=True)
class Scratch(Size):
    """Encodings that are trained from scratch."""

    layers: Layers = 2
    pe: Annotated[
        tuple[str, ...], typer.Option(help="Encodings to compare.", autocompletion=scratch)
    ] = ("rope", "tape", "alibi")
    train_length: TrainLength = 24
    steps: Annotated[int, typer.Option(help="Training steps."), Ge(1), Le(10_000_000)] = 600
    batch: Annotated[int, typer.Option(help="Sequences of a step."), Ge(1), Le(65_536)] = 32
    warmup: Annotated[int, typer.Option(help="Steps of linear warm-up."), Ge(1), Le(1_000_000)] = (
        100
    )
    lrs: Annotated[
        tuple[float, ...],
        typer.Option(
            help="Learning rates of AdamW. The first is used; with --tune each encoding takes the "
            "one with the least loss on validation data of the training length."
        ),
        Gt(0),
        Le(1),
    ] = (3e-3, 1e-3, 1e-2)
    tune: Annotated[
        bool, typer.Option(help="Train each encoding with every learning rate of --lrs.")
    ] = False
    tape_lr_mult: Annotated[
        float,
        typer.Option(help="Factor on the learning rate of TAPE's own matrices."),
        Gt(0),
        Le(100),
    ] = 3.0
    tests: Annotated[int, typer.Option(help="Test sequences at each length."), Ge(1), Le(2_000)] = (
        100
    )


@dataclass(frozen=True)
class Pointer(Scratch):
    """The flags of `tape pointer`."""

    lengths: Lengths = (24, 32, 48, 64, 96, 128)


@dataclass(frozen=True)
class Passkey(Scratch):
    """The flags of `tape passkey`."""

    lengths: Lengths = (24, 32, 48, 64, 96)
    digits: Annotated[int, typer.Option(help="Digits of the key."), Ge(1), Le(64)] = 4


@dataclass(frozen=True)
class Add(Scratch):
    """The flags of `tape add`."""

    train_length: TrainLength = 2
    grid: Annotated[
        int, typer.Option(help="Operands are tested up to so many digits."), Ge(1), Le(100)
    ] = 4
    offsets: Annotated[
        int,
        typer.Option(help="Largest random offset of the Abacus embeddings in training."),
        Ge(0),
        Le(1000),
    ] = 8


@dataclass(frozen=True)
class Lm(Scratch):
    """The flags of `tape lm`."""

    layers: Layers = 3
    train_length: TrainLength = 128
    lengths: Lengths = (64, 128, 256, 512)
    text: Text = "pydoc_data.topics"


@dataclass(frozen=True)
class Finetune(Size):
    """The flags of `tape finetune`."""

    layers: Layers = 2
    task: Annotated[
        Literal["pointer-recall", "passkey", "lm"],
        typer.Option(
            help="pointer-recall: questions by position and by content. passkey: a key of 4 digits "
            "in filler. lm: characters of --text."
        ),
    ] = "pointer-recall"
    methods: Annotated[
        tuple[str, ...],
        typer.Option(
            help="Ways to adapt; embnorm (embedding and norms only) must be among them.",
            autocompletion=methods,
        ),
    ] = ("interp", "embnorm", "tape", "lora", "lora-matched", "longlora", "theta", "full")
    n: Annotated[
        int,
        typer.Option(help="Length N of pre-training, a multiple of 16; adaptation is to 2 N."),
        Ge(32),
        Le(32_768),
    ] = 32
    pretrain: Annotated[int, typer.Option(help="Pre-training steps."), Ge(1), Le(10_000_000)] = 1600
    batch: Annotated[
        int, typer.Option(help="Sequences of a pre-training step."), Ge(1), Le(65_536)
    ] = 32
    lr: Annotated[
        float, typer.Option(help="Learning rate of AdamW in pre-training."), Gt(0), Le(1)
    ] = 3e-3
    steps: Annotated[int, typer.Option(help="Adaptation steps."), Ge(1), Le(10_000_000)] = 120
    adapt_batch: Annotated[
        int, typer.Option(help="Sequences of an adaptation step."), Ge(1), Le(65_536)
    ] = 32
    rank: Annotated[
        int,
        typer.Option(
            help="Rank of LoRA. lora-matched takes the one that adds as many parameters as TAPE."
        ),
        Ge(1),
        Le(1024),
    ] = 8
    rate_scale: Annotated[
        float,
        typer.Option(
            help="Factor on the learning rates of adaptation: 0.01, for longlora 0.003, for full "
            "0.001."
        ),
        Gt(0),
        Le(100),
    ] = 1.0
    tune: Annotated[
        bool,
        typer.Option(
            help="Let each method take the best of a third, one and three times its learning rate, "
            "by its loss on validation data of length 2 N."
        ),
    ] = False
    tape_lr_mult: Annotated[
        float,
        typer.Option(help="Factor on the learning rate of TAPE's own matrices."),
        Gt(0),
        Le(100),
    ] = 1.0
    tests: Annotated[int, typer.Option(help="Test sequences at each length."), Ge(1), Le(2_000)] = (
        250
    )
    text: Text = "pydoc_data.topics"


@dataclass(frozen=True)
class Defects(Size):
    """The flags of `tape defects`."""

    layers: Layers = 2
    train_length: Annotated[
        int, typer.Option(help="Most digits of an operand in training."), Ge(1), Le(100)
    ] = 2
    grid: Annotated[
        int, typer.Option(help="Operands are tested up to so many digits."), Ge(1), Le(100)
    ] = 3
    steps: Annotated[int, typer.Option(help="Training steps."), Ge(1), Le(10_000_000)] = 1200
    batch: Annotated[int, typer.Option(help="Sequences of a step."), Ge(1), Le(65_536)] = 32
    lr: Annotated[float, typer.Option(help="Learning rate of AdamW."), Gt(0), Le(1)] = 4e-3
    tape_lr_mult: Annotated[
        float,
        typer.Option(help="Factor on the learning rate of TAPE's own matrices."),
        Gt(0),
        Le(100),
    ] = 3.0
    tests: Annotated[
        int, typer.Option(help="Test sums for each pair of lengths."), Ge(1), Le(2_000)
    ] = 100


@dataclass(frozen=True)
class Checkpoint:
    """A Llama checkpoint on this machine."""

    source: Annotated[
        str,
        typer.Option(
            help="Directory of a Llama checkpoint that transformers saved; nothing is downloaded. "
            "random: a tiny one with random weights."
        ),
    ] = "random"
    position_size: PositionSize = 0
    kv_heads: Annotated[
        int,
        typer.Option(help="Key-value heads of the random checkpoint, which has 4 heads."),
        Ge(1),
        Le(4),
    ] = 2
    length: Annotated[int, typer.Option(help="Tokens of a sequence."), Ge(8), Le(2_048)] = 24


@dataclass(frozen=True)
class HfCheck(Checkpoint):
    """The flags of `tape hf-check`."""

    spread: Annotated[
        float,
        typer.Option(
            help="Standard deviation of the weights of TAPE's matrices, for facts that hold "
            "for any weights."
        ),
        Gt(0),
        Le(10),
    ] = 0.1


@dataclass(frozen=True)
class HfConvert(Checkpoint):
    """The flags of `tape hf-convert`."""


@dataclass(frozen=True)
class HfFinetune(Checkpoint):
    """The flags of `tape hf-finetune`."""

    length: Annotated[int, typer.Option(help="Tokens of a sequence."), Ge(8), Le(65_536)] = 128
    factor: Annotated[
        float,
        typer.Option(help="Positions are divided by it: linear interpolation."),
        Ge(1),
        Le(64),
    ] = 1.0
    steps: Annotated[int, typer.Option(help="Training steps."), Ge(1), Le(10_000_000)] = 100
    batch: Annotated[int, typer.Option(help="Sequences of a step."), Ge(1), Le(4096)] = 8
    lr: Annotated[float, typer.Option(help="Learning rate of AdamW."), Gt(0), Le(1)] = 3e-3
    tests: Annotated[int, typer.Option(help="Test windows."), Ge(1), Le(2_000)] = 16
    text: Text = "pydoc_data.topics"
