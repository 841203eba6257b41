"""Written down once: the names of every table's runs. A change to one orphans the records that have it."""

import hashlib

import pytest

from rigl.campaign import experiments

DIGESTS = {
    ("paper", "cifar10", None): (894, "fd2730cdfea95c0f"),
    ("paper", "cifar100", None): (894, "4ddd8272a20a2489"),
    ("tenth", "cifar10", None): (894, "4fc9295b44c86284"),
    ("tenth", "cifar100", None): (894, "02d6708f914d7b90"),
    ("laptop", "fashion-mnist", None): (993, "060d958f7befdd11"),
    ("laptop", "fashion-mnist", "wrn-10-1"): (993, "ff8dbb89f3dc63a5"),
    ("laptop", "cifar10", None): (999, "1a3ef7fbe83f9b06"),
    ("laptop", "cifar100", None): (999, "d60b6e07120d180c"),
    ("smoke", "digits", None): (894, "7dff535d0d9c1017"),
}


def digest(protocol, dataset, model):
    names = [
        config.name
        for table in experiments.TABLES
        if table != "later-methods"
        for seed in experiments.SEEDS
        for config in experiments.configs(table, protocol=protocol, dataset=dataset, model=model, seed=seed)
    ]
    return len(names), hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


@pytest.mark.parametrize("asked", DIGESTS)
def test_names_of_all_tables_under_all_protocols(asked):
    assert digest(*asked) == DIGESTS[asked]
