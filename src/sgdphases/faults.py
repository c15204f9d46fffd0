"""What is wrong with a configuration or a card, in words that help to mend it."""

from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from sgdphases.choices import one_of

Model = TypeVar("Model", bound=BaseModel)


class ConfigError(ValueError):
    """What the user wrote cannot be run; the message names the file, the key and the allowed values."""


def checked(model: type[Model], values: dict[str, Any], source: str) -> Model:
    """Read values as a model, or say what is wrong with them.

    Args:
        model: What they should be.
        values: The keys and values.
        source: Where they come from, for messages.

    Returns:
        The model.

    Raises:
        ConfigError: If a key is unknown or missing or a value is not allowed; one line for each fault.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [explained(model, detail) for detail in error.errors(include_url=False)]
        raise ConfigError("\n".join(f"{source}: {line}" for line in lines)) from None


def explained(model: type[BaseModel], detail: Any) -> str:
    """One line for one fault: where, what, and what is allowed.

    Args:
        model: What was read.
        detail: One of pydantic's errors.

    Returns:
        The line.
    """
    where = ".".join(str(part) for part in detail["loc"] if not str(part).startswith(("list[", "function", "bool")))
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        known = _keys_at(model, detail["loc"][:-1])
        try:
            one_of(str(detail["loc"][-1]), known, "key")
        except ValueError as error:
            message = str(error)
    elif detail["type"] == "missing":
        message = "this key is missing"
    elif detail["type"] != "value_error":
        message = f"{message[0].lower()}{message[1:]}, not {detail['input']!r}"
    return f"{where}: {message}" if where else message


def _keys_at(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """Known keys of the block at `location`."""
    for part in location:
        field = model.model_fields.get(str(part))
        words = () if field is None else (field.annotation, *get_args(field.annotation))
        blocks = [word for word in words if isinstance(word, type) and issubclass(word, BaseModel)]
        if not blocks:
            break
        model = blocks[0]
    return list(model.model_fields)
