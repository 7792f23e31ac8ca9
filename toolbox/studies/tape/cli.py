"""TAPE, a contextualised positional encoding: exact facts, comparisons, fine-tuning, overhead."""

from toolbox.core.cli import command, study_app
from toolbox.core.run import Run

from .flags import (
    Add,
    Check,
    Defects,
    Finetune,
    HfCheck,
    HfConvert,
    HfFinetune,
    Lm,
    Overhead,
    Passkey,
    Pointer,
)

app = study_app(__doc__)


@command(app)
def check(run: Run, p: Check) -> None:
    """Verify the exact facts: start, shift invariance, causality, fast form, cached decoding.

    Example: toolbox tape check --dim 96 --heads 6
    """
    from .check import check

    check(run, p)


@command(app)
def overhead(run: Run, p: Overhead) -> None:
    """Count parameters and FLOPs by formula, beside counted ones and measured times.

    Example: toolbox tape overhead --length 1024
    """
    from .overhead import overhead

    overhead(run, p)


@command(app)
def pointer(run: Run, p: Pointer) -> None:
    """Train encodings to find symbols by their distance from a marker; test them on longer texts.

    Example: toolbox tape pointer --pe rope,tape --repeats 8
    """
    from .compare import pointer

    pointer(run, p)


@command(app)
def passkey(run: Run, p: Passkey) -> None:
    """Train encodings to repeat a key that is hidden in filler; test them on longer texts.

    Example: toolbox tape passkey --pe rope,tape,alibi
    """
    from .compare import passkey

    passkey(run, p)


@command(app)
def add(run: Run, p: Add) -> None:
    """Train encodings to add reversed numbers; test every pair of operand lengths.

    Example: toolbox tape add --pe rope,tape,abacus --train-length 3 --grid 6 --steps 5000
    """
    from .compare import add

    add(run, p)


@command(app, files=("text",))
def lm(run: Run, p: Lm) -> None:
    """Train encodings on characters of a text; perplexity against the length of the context.

    Example: toolbox tape lm --pe rope,tape,alibi --text data/alice.txt
    """
    from .compare import lm

    lm(run, p)


@command(app, files=("text",))
def finetune(run: Run, p: Finetune) -> None:
    """Adapt a pre-trained RoPE model to twice its length: TAPE, LoRA and others on equal terms.

    Example: toolbox tape finetune --methods embnorm,tape,lora --repeats 6
    """
    from .finetune import finetune

    finetune(run, p)


@command(app)
def defects(run: Run, p: Defects) -> None:
    """Show what faults of the public code do: unused rotations, transposed averages, a frozen W_a.

    Example: toolbox tape defects --steps 3000
    """
    from .defects import defects

    defects(run, p)


@command(app)
def hf_check(run: Run, p: HfCheck) -> None:
    """Verify a Llama checkpoint made a TAPE one: start, shift, padding, cache, save and reload.

    Example: toolbox tape hf-check --source DIR
    """
    from .hf import check

    check(run, p)


@command(app)
def hf_convert(run: Run, p: HfConvert) -> None:
    """Make a TAPE checkpoint of a Llama one; the run's folder then is a checkpoint directory.

    Example: toolbox tape hf-convert --source DIR
    """
    from .hf import convert

    convert(run, p)


@command(app, files=("text",))
def hf_finetune(run: Run, p: HfFinetune) -> None:
    """Fine-tune a Llama checkpoint as TAPE, and its embedding and norms alone; perplexity.

    Example: toolbox tape hf-finetune --source DIR --text data/alice.txt --factor 2
    """
    from .hf import finetune

    finetune(run, p)
