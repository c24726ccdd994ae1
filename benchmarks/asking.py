"""What the benchmarks' command lines have in common: in which number format, on which machine."""

from __future__ import annotations

import argparse

import torch

from loralab.engine.precision import Precision, choose_precision
from loralab.measure import environment
from table import told

PROCESSOR = torch.device("cpu")


def command_line(description: str | None) -> argparse.ArgumentParser:
    """Return a parser that asks for the number format: the one that training takes here, unless one is named."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    return parser


def precision_of(given: argparse.Namespace) -> Precision:
    """Return the format that was asked for, or the processor's own."""
    return choose_precision(given.precision, PROCESSOR)


def machine_here(precision: Precision) -> str:
    """Return what figures of this machine were taken with."""
    return told(environment(PROCESSOR, precision).model_dump())
