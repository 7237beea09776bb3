"""Models and data sets by name, composed at run time."""

from .command_line import (
    MODEL_KEYS,
    add_allow_random,
    add_config_arguments,
    read_config,
    require_data,
)
from .compose import CompositionError, compose
from .data_files import MissingDataError, check_data_files
from .names import (
    ConfigError,
    UnknownConfigError,
    find_config,
    find_data,
    read_config_file,
    require_model,
    shipped_data,
    shipped_models,
)
from .options import ConfigOptions, OptionError, apply_options, parse_value

__all__ = [
    'MODEL_KEYS',
    'CompositionError',
    'ConfigError',
    'ConfigOptions',
    'MissingDataError',
    'OptionError',
    'UnknownConfigError',
    'add_allow_random',
    'add_config_arguments',
    'apply_options',
    'check_data_files',
    'compose',
    'find_config',
    'find_data',
    'parse_value',
    'read_config',
    'read_config_file',
    'require_model',
    'require_data',
    'shipped_data',
    'shipped_models',
]
