"""Trains a model: `python examples/train.py examples/configs/synthetic.yaml --seeds 1111 1112`.

On several processes: `accelerate launch --config_file <file> examples/train.py …`; see docs/training.md.
"""

from modeling_hfr_ame.training import main

if __name__ == "__main__":
    main()
