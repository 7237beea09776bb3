"""The teacher outside the model."""

import torch
from mmengine.model import BaseModule

from mmseg_ovs.models.utils import FrozenTeacher
from tests.tiny import BACKBONES


class Student(BaseModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)
        self.teacher = FrozenTeacher(BACKBONES['DINOv2'], input_size=(56, 28))


def test_the_teacher_is_no_part_of_the_student():
    student = Student()
    assert student.teacher._network is None
    features = student.teacher(torch.randn(2, 3, 100, 60))
    assert features.shape == (2, 16, 4, 2)
    assert not features.requires_grad
    assert set(student.state_dict()) == {'layer.weight', 'layer.bias'}
    assert len(list(student.parameters())) == 2


def test_the_teacher_is_built_once_and_stays_in_evaluation():
    student = Student()
    image = torch.randn(1, 3, 56, 28)
    first = student.teacher(image)
    student.train()
    assert torch.equal(student.teacher(image), first)
    assert not student.teacher.network('cpu').training
