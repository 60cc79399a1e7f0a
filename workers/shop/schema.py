"""The schema of the shop's data files. People edit these, so a mistake names the file and the place."""

from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from service.contracts.errors import ConfigError

DATA = Path(__file__).parent / "data"
Tier = Literal["value", "mid", "premium"]
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster where libyaml is there


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class BrandEntry(_File):
    """An invented brand."""

    name: str
    tier: Tier


class KindEntry(_File):
    """A product type: what people call the thing, and how they type it."""

    name: str
    weight: float = Field(gt=0)
    words: list[str] = Field(min_length=1)


class ChineseEntry(_File):
    """A category's words in Chinese; lists have the length and the order of the English ones."""

    name: str
    head: list[str] = Field(min_length=1)
    types: list[str]
    attributes: dict[str, list[str]]
    use_cases: list[str]


class CategoryEntry(_File):
    """A leaf category."""

    id: str
    name: str
    group: str
    popularity: float = Field(gt=0)
    brands: list[str] = Field(min_length=1)
    types: list[KindEntry] = Field(min_length=1)
    head: list[str] = Field(min_length=1)
    attributes: dict[str, list[str]] = Field(min_length=1)
    specs: list[str] = Field(min_length=1)
    use_cases: list[str] = Field(min_length=1)
    gift_for: list[str]
    price: tuple[float, float] = Field(strict=False)
    season: str | None
    consumable: bool
    repurchase_days: float | None
    complements: list[str]
    substitutes: list[str]
    zh: ChineseEntry | None = None

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.consumable and not self.repurchase_days:
            raise ValueError(f"{self.id}: a consumable needs repurchase_days")
        if self.zh is None:
            return self
        if len(self.zh.types) != len(self.types) or len(self.zh.use_cases) != len(self.use_cases):
            raise ValueError(f"{self.id}: zh types or use_cases differ in number from the English ones")
        for axis, values in self.attributes.items():
            if len(self.zh.attributes.get(axis, ())) != len(values):
                raise ValueError(f"{self.id}: zh attribute {axis!r} differs in number from the English one")
        return self


class DepartmentEntry(_File):
    """A department file."""

    id: str
    name: str
    name_zh: str
    brands: list[BrandEntry] = Field(min_length=1)
    categories: list[CategoryEntry] = Field(min_length=1)

    @model_validator(mode="after")
    def _brands_exist(self) -> Self:
        known = {brand.name for brand in self.brands}
        for category in self.categories:
            if unknown := set(category.brands) - known:
                raise ValueError(f"{category.id}: brands {sorted(unknown)} are not among the department's")
        return self


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds.

    Raises:
        ConfigError: missing or not YAML; names the file and the place.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)  # noqa: S506  (both are safe loaders)
    except FileNotFoundError:
        raise ConfigError(f"{path}: missing") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error


def read_departments(folder: Path) -> list[DepartmentEntry]:
    """Return the departments of `folder` in the order of their file names.

    Raises:
        ConfigError: a file breaks the schema, or a category is defined twice or refers to one that does not exist.
    """
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise ConfigError(f"{folder}: has no department files")
    departments = []
    owner: dict[str, Path] = {}
    for path in paths:
        try:
            department = DepartmentEntry.model_validate(read_yaml(path))
        except ValidationError as error:
            raise ConfigError(f"{path}: {error}") from error
        for category in department.categories:
            if category.id in owner:
                raise ConfigError(f"{path}: category {category.id!r} is already in {owner[category.id]}")
            owner[category.id] = path
        departments.append(department)
    for department in departments:
        for category in department.categories:
            if unknown := {*category.complements, *category.substitutes} - owner.keys():
                raise ConfigError(f"{owner[category.id]}: {category.id} refers to {sorted(unknown)}, unknown")
    return departments
