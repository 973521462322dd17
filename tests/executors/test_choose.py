"""Executors by their names on the command line."""

import pytest

from motivation.errors import ArgumentError
from motivation.executors import Executor, LocalExecutor, SlurmExecutor
from motivation.executors.choose import make_executor
from motivation.registry import EXECUTORS
from motivation.utils.named_fields import read_fields, split_name


def test_text_names_the_executor_and_its_fields():
    assert isinstance(make_executor('local'), LocalExecutor)
    made = make_executor("slurm:partition=gpu,hours=0.5,parameters={'qos': 'high', 'nodelist': 'a,b'}")
    assert isinstance(made, SlurmExecutor) and (made.of_slurm['partition'], made.hours) == ('gpu', 0.5)
    assert made.parameters == {'qos': 'high', 'nodelist': 'a,b'}


def test_registered_executor_is_found_by_its_name():
    @EXECUTORS.register_module(name='mine', force=True)
    class Mine(Executor):
        def __init__(self, queue='short'):
            self.queue = queue

        def open(self, script, environment, folder):
            pass

        def submit(self, requests):
            return []

    try:
        assert make_executor('mine:queue=long').queue == 'long'
    finally:
        EXECUTORS.module_dict.pop('mine')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('slrum', "'slrum' is not a registered executor; did you mean 'slurm'"),
        ('', "'' is not a registered executor"),
        ('slurm:gpu=1', "'slurm:gpu=1': gpu is not an argument of slurm; did you mean 'gpus'"),
        ('slurm:gpus=-1', "'slurm:gpus=-1': gpus must be at least 0, got -1"),
        ('slurm:gpus', "'slurm:gpus': 'gpus' is not of the form KEY=VALUE; write it like"),
        ('slurm:cluster=local,partition=a', 'partition changes nothing with cluster=local; leave it out'),
        ('slurm:hours=0.01', 'warning is 120 s, which must be less than the time limit, hours=0.01'),
        ('slurm:parameters=3', "parameters must be .*write {'qos': 'high'}"),
    ],
)
def test_mistake_is_one_sentence(text, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        make_executor(text)
    assert caught.value.argument == 'executor' and '\n' not in str(caught.value)


def test_name_may_have_a_double_colon_and_values_are_literals_or_text():
    assert split_name('motivation::a/b.py:x.y=1') == ('motivation::a/b.py', 'x.y=1')
    assert split_name('never') == ('never', '')
    assert read_fields('a=1,b=[(5,10)],c=true,d=none,e=x,y,f=1.5') == {
        'a': 1, 'b': [(5, 10)], 'c': True, 'd': None, 'e': 'x,y', 'f': 1.5,
    }  # fmt: skip
