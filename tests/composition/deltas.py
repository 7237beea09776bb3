"""What a data set changes in a model's config, as a digest."""

import hashlib
import json

# Names of variables of config files, which nothing reads from a composed config.
_HELPERS = {'test_pipeline', 'data_root', 'dataset_type', 'metainfo', 'resize'}


def delta(composed, model):
    """Settings that differ from the model's, by key; None where one is gone."""
    if not (isinstance(composed, dict) and isinstance(model, dict)):
        return composed
    keys = set(composed) | set(model)
    return {
        key: delta(composed.get(key), model.get(key))
        for key in sorted(keys)
        if composed.get(key) != model.get(key)
    }


def digest(composed, model):
    """Short digest of the difference between two configs (plain dicts)."""
    tables = {'data_overrides', 'train_overrides'}
    change = {
        key: value
        for key, value in delta(composed, model).items()
        if key not in _HELPERS | tables
    }
    text = json.dumps(change, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
