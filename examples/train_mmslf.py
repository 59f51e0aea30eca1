"""Trains MMSLF teachers and then their students: `python examples/train_mmslf.py --dataset … --prompts … --seeds 1111`.

Takes the arguments of train.py without model, variant and teacher. Two YAML files at the start are the teacher's and
the student's arguments, one is both's; see docs/training.md.
"""

from modeling_hfr_ame.training import train_teacher_and_student

if __name__ == "__main__":
    train_teacher_and_student()
