"""What the forkserver imports once, so that no trial has to: some seconds saved each time.

Importing must do no tensor work: a process that has started PyTorch's threads leaves forked children that can hang.
"""

import accelerate
import peft
import sklearn.metrics
import torch
import transformers

import loralab.train

__all__ = ["accelerate", "loralab", "peft", "sklearn", "torch", "transformers"]
