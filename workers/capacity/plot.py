"""The cost and the parts of it, over the number of shoppers."""

from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from workers.capacity.model import Measured, Plant, Shop, needs

_COSTS = ("cost: memory", "cost: service", "cost: accelerators")
_COUNTS = (("Redis memory", "GB of Redis"), ("service cores", "service cores"), ("accelerators", "vLLM replicas"))
_POINTS = 40


def draw(shop: Shop, plant: Plant, measured: Measured, path: Path) -> None:
    """Write an image (its suffix says which kind): needs and monthly cost, from a hundredth of `shop` to ten times."""
    mpl.rcParams["svg.hashsalt"] = "aigq"  # the same figures make the same file
    sizes = np.geomspace(shop.shoppers / 100, shop.shoppers * 10, _POINTS)
    found = [{one.what: one.amount for one in needs(replace(shop, shoppers=size), plant, measured)} for size in sizes]
    figure = Figure(figsize=(10, 4), layout="constrained")
    counts, costs = figure.subplots(1, 2)
    for name, label in _COUNTS:
        counts.plot(sizes, [one[name] for one in found], label=label)
    counts.set(xscale="log", yscale="log", xlabel="shoppers", title="What is needed")
    costs.stackplot(sizes, [[one[name] for one in found] for name in _COSTS], labels=_COSTS, alpha=0.8)
    costs.set(xscale="log", yscale="log", xlabel="shoppers", ylabel="a month", title="What it costs (stacked)")
    for axes in (counts, costs):
        axes.axvline(shop.shoppers, color="grey", linestyle=":", linewidth=1)
        axes.grid(visible=True, alpha=0.3)
        axes.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
