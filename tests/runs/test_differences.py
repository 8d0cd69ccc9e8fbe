"""What is said of two runs' options."""

from misodice.runs.differences import MOST, differences

RUN = {
    "seed_everything": 0,
    "run_dir": "a",
    "data": {"path": "x.h5", "k": 5},
    "value": {
        "class_path": "misodice.Value",
        "init_args": {"alpha": 0.5, "mixer": {"class_path": "A", "init_args": {"hidden": 64}}},
    },
    "trainer": {"max_epochs": None, "enable_progress_bar": True, "logger": False},
}


def changed(**blocks) -> list[str]:
    return differences(RUN, RUN | blocks)


def test_equal_runs():
    assert changed() == []
    assert changed(data=RUN["data"] | {"minibatches": 16}) == []  # how fast
    assert changed(run_dir="b", data={"path": "y.h5", "k": 5.0}, trainer={"max_epochs": None, "logger": True}) == []


def test_each_difference_is_named_with_both_values():
    assert changed(seed_everything=1, data={"k": 6}) == ["seed_everything is 1, was 0", "data.k is 6, was 5"]
    assert changed(
        value={"class_path": "misodice.Value", "init_args": {"alpha": 1, "mixer": RUN["value"]["init_args"]["mixer"]}}
    ) == ["value.alpha is 1, was 0.5"]


def test_another_class_is_one_difference():
    mixer = {"class_path": "B", "init_args": {"heads": 4}}
    assert changed(value={"class_path": "misodice.Value", "init_args": {"alpha": 0.5, "mixer": mixer}}) == [
        "value.mixer is B, was A"
    ]
    assert changed(value={"class_path": "CloneWeights", "init_args": {}}) == [
        "value is CloneWeights, was misodice.Value"
    ]


def test_the_length_of_the_training_counts_unless_it_may_grow():
    longer = RUN | {"trainer": {"max_epochs": 9}}
    assert differences(RUN, longer) == ["trainer.max_epochs is 9, was None"]
    assert differences(RUN, longer, longer=True) == []
    # Steps of an episode are no length of the training.
    other = RUN | {"preference": {"max_steps": 5}}
    assert differences(RUN, other, longer=True) == ["preference.max_steps is 5, was None"]


def test_many_differences_are_counted():
    said = changed(data={f"option_{i}": i for i in range(20)} | {"k": 5})
    assert len(said) == MOST + 1
    assert said[-1] == f"and {20 - MOST} more"
