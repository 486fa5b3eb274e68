"""From factors and features to logits: the product, layers with an activation, a right operator."""

from ufm.maps.activated import Activated
from ufm.maps.base import AbstractGram, AbstractMap
from ufm.maps.product import Product
from ufm.maps.tied import Tied

__all__ = ["AbstractGram", "AbstractMap", "Activated", "Product", "Tied"]
